"""The stages of the parity ladder as one table; each is compared with the previous one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from spikeport.backends import run as run_backend
from spikeport.errors import UnsupportedError
from spikeport.export import FloatNetwork
from spikeport.ladder.config import LadderConfig
from spikeport.ladder.parts import Part
from spikeport.network import DeployedNetwork, Input
from spikeport.parity import Criterion, Sampled
from spikeport.runs import Probe, Run
from spikeport.simulators import recompute_neurons, sample_probes
from spikeport.trainer.chip import AnyNetwork, QATNetwork
from spikeport.trainer.loop import digest
from spikeport.trainer.measure import evaluate, evaluate_ann, evaluate_deployed
from spikeport.trainer.network import SpikingNetwork

LadderNetwork = SpikingNetwork | QATNetwork | FloatNetwork | DeployedNetwork
"""Networks that a ladder can start from."""
StageProgress = Callable[[str, int, int], None]
"""Called with (stage, samples done, total samples): (stage, 0, 0) at the start, more if slow."""
SPIKES = ("spikes",)
TIE_TOLERANCE = 1e-9
NEURONS = 20
"""Random neurons of each population that are recomputed, besides those at borders."""
MOST_OUTPUTS = 1000
"""Most neurons of a readout that are recomputed; scores need all."""
TRAINING_TOLERANCE = 1e-5
"""Training computes in float32, the simulators of its NIR file in float64."""


def interface_of(network: LadderNetwork) -> tuple[tuple[Input, ...], int]:
    """The inputs of a network, and its number of outputs."""
    if isinstance(network, SpikingNetwork | QATNetwork):
        return (network.input,), network.classes
    return network.inputs, network.output_count


@dataclass(frozen=True, slots=True)
class Forms:
    """One network in all forms used by the stages.

    Attributes:
        trained: None for a network that was not trained here.
        graph: as stored in `float.nir`; None for a network without a float form.
        deployed: as stored in `network.spikeport`.
        read_back: as stored in `deployed.nir`.
        ann: what the network was converted from; None without one.
    """

    trained: AnyNetwork | None
    graph: FloatNetwork | None
    deployed: DeployedNetwork
    read_back: DeployedNetwork
    ann: SpikingNetwork | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the ladder.

    Attributes:
        networks: types of starting networks whose ladders have this stage.
        run: (forms, samples, options of the backend) -> Run with a trace of spikes.
        criterion: how the run may differ from the previous one; after an ANN, CONVERSION counts.
        backend: the required backend; the stage is skipped if it is not installed or refuses
            this network.
        is_training: whether later stages are also compared with this one.
        tolerance: for TIES, relative to the threshold.
        samples: number of first samples for a slow stage, None for all. A slow stage is
            compared with native on these samples.
        sampled: it recomputes sampled neurons of a run of native, with which it is compared:
            (forms, samples, that run) -> Run.
    """

    title: str
    networks: tuple[type[LadderNetwork], ...]
    run: Callable[..., Run]
    criterion: Criterion = Criterion.EXACT
    backend: str = "native"
    is_training: bool = False
    tolerance: float = 0.0
    samples: Callable[[LadderConfig], int] | None = None
    sampled: bool = False


def run_ann(forms: Forms, part: Part) -> Run:
    """The ANN that the network was converted from."""
    assert forms.ann is not None  # only ladders that start from one have this stage
    run = evaluate_ann(forms.ann, next(iter(part.floats.values())))
    return replace(run, network_hash=digest(forms.ann))


def run_trained(forms: Forms, part: Part) -> Run:
    """The spiking pass of training."""
    assert forms.trained is not None  # only ladders of trained networks have this stage
    record = SPIKES if forms.graph is None else ("spikes", "v_charged")
    return evaluate(forms.trained, part.floats, record)


def run_native(forms: Forms, part: Part) -> Run:
    """The network after NIR write and read, on native."""
    return run_backend("native", forms.read_back, part.integers, record=SPIKES)


def run_probed(forms: Forms, part: Part) -> Run:
    """The same, with the states of sampled neurons, among them all of the readouts."""
    network = forms.read_back
    read = dict.fromkeys(readout.population for readout in network.readouts)
    record = *sample_probes(network, NEURONS), *map(Probe, read)
    return run_backend("native", network, part.integers, record=record)


def sampled_of(network: DeployedNetwork, run: Run) -> Sampled:
    """The neurons that were recomputed, as numbers."""
    return Sampled(
        sum(counts.size for counts in run.spike_counts.values()),
        sum(part.size for part in network.populations),
    )


def _recomputed(forms: Forms, part: Part, above: Run) -> Run:
    network = forms.read_back
    for readout in network.readouts:
        if (outputs := network.by_name[readout.population].size) > MOST_OUTPUTS:
            raise UnsupportedError(
                f"readout '{readout.population}': has {outputs:,} neurons, recomputed one by one "
                f"are at most {MOST_OUTPUTS:,}; check_neurons recomputes any"
            )
    return recompute_neurons(network, part.integers, above)


def _deployed(forms: Forms, part: Part) -> Run:
    return run_backend("native", forms.deployed, part.integers, record=SPIKES)


def _in_trainer(forms: Forms, part: Part) -> Run:
    return evaluate_deployed(forms.deployed, part.integers, SPIKES)


def _graph_on(backend: str, *record: str) -> Callable[..., Run]:
    def run(forms: Forms, part: Part, **options: Any) -> Run:
        assert forms.graph is not None  # only ladders of float networks have these stages
        return run_backend(backend, forms.graph, part.floats, record=record, **options)

    return run


def _read_back_on(backend: str) -> Callable[..., Run]:
    def run(forms: Forms, part: Part, **options: Any) -> Run:
        return run_backend(backend, forms.read_back, part.integers, record=SPIKES, **options)

    return run


REFERENCE, SAMPLED = "scalar reference", "scalar reference, sampled neurons"
QUANTIZED, DEPLOYED = "quantized, native", "deployed, native"
FLOAT = (SpikingNetwork, FloatNetwork)
INTEGER = (QATNetwork, DeployedNetwork)
ANN = "ANN"
STAGES = (
    Stage(ANN, FLOAT + INTEGER, run_ann),
    Stage("float, as trained", (SpikingNetwork,), run_trained, Criterion.TIES, is_training=True),
    Stage(
        "float NIR graph",
        FLOAT,
        _graph_on("float", "spikes", "v", "v_charged"),
        Criterion.TIES,
        backend="float",
        tolerance=TRAINING_TOLERANCE,
    ),
    Stage(
        "same file in Norse",
        FLOAT,
        _graph_on("norse", "spikes", "v"),
        Criterion.TIES,
        backend="norse",
        tolerance=TIE_TOLERANCE,
    ),
    Stage(QUANTIZED, FLOAT, _deployed, Criterion.CHANGE),
    Stage("quantized, in the trainer", FLOAT, _in_trainer),
    Stage("chip arithmetic, as trained", (QATNetwork,), run_trained, is_training=True),
    Stage(DEPLOYED, INTEGER, _deployed),
    Stage("after NIR write and read", FLOAT + INTEGER, run_native),
    Stage(
        REFERENCE,
        FLOAT + INTEGER,
        _read_back_on("reference"),
        backend="reference",
        samples=lambda config: config.reference_samples,
    ),
    Stage(
        SAMPLED,
        FLOAT + INTEGER,
        _recomputed,
        backend="reference",
        samples=lambda config: config.reference_samples,
        sampled=True,
    ),
    Stage(
        "Lava",
        FLOAT + INTEGER,
        _read_back_on("lava"),
        backend="lava",
        samples=lambda config: config.lava_samples,
    ),
)


def stages_of(
    network: type[LadderNetwork], *, ann: bool = False, large: bool = False
) -> tuple[Stage, ...]:
    """The stages of the ladder of such a network.

    Args:
        ann: whether the ANN that it was converted from is given.
        large: whether the reference refuses it, so that sampled neurons take its place.
    """
    absent = {REFERENCE if large else SAMPLED, *(() if ann else (ANN,))}
    found = (stage for stage in STAGES if issubclass(network, stage.networks))
    return tuple(stage for stage in found if stage.title not in absent)
