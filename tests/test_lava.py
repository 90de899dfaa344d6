"""Lava against native, bit for bit; the schedule; what is refused before anything starts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st
from numpy.random import Generator
from numpy.typing import NDArray

from spikeport.backends.lava import backend as lava_backend
from spikeport.backends.lava import (
    create_environment,
    lava_status,
    run_lava,
    run_many,
)
from spikeport.backends.lava import schedule as lava_schedule
from spikeport.backends.lava.environment import lava_python
from spikeport.backends.lava.limitations import LIMITATIONS
from spikeport.backends.lava.program import build_program
from spikeport.backends.lava.schedule import schedule
from spikeport.backends.limitation import find_unsupported
from spikeport.errors import BackendUnavailableError, InputError
from spikeport.network import (
    LOIHI,
    BiasInjection,
    Coding,
    Conv1d,
    Conv2d,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    ReadoutKind,
    Reset,
    SumPool2d,
)
from spikeport.runs import Run, SampleSet, check_samples
from spikeport.simulators import run_native
from spikeport.traces import compare_files
from spikeport.workflow import record_trace
from tests.helpers.lava import needs_lava
from tests.helpers.run_comparison import assert_equal_runs
from tests.helpers.strategies import networks, samples_for

Case = tuple[DeployedNetwork, dict[str, NDArray[Any]]]


def weights(rng: Generator, *shape: int, largest: int = 120) -> NDArray[np.int16]:
    """Mixed signs mostly, sometimes one sign with odd values."""
    if rng.random() < 0.3:
        magnitude = rng.integers(0, largest, shape, np.int16)
        return magnitude if rng.random() < 0.5 else -magnitude
    return 2 * rng.integers(-largest // 2, largest // 2 + 8, shape, np.int16)


def population(rng: Generator, name: str, *shape: int, **fixed: Any) -> Population:
    drawn: dict[str, Any] = {
        "vth": int(rng.integers(20, 300)),
        "decay_u": int(rng.choice([0, 1, 1500, 4095, 4096])),
        "decay_v": int(rng.choice([0, 200, 4096])),
        "bias": rng.integers(-80, 250, shape),
        "bias_exponent": int(rng.integers(0, 5)),
        "reset": str(rng.choice(["zero", "subtract"])),
        "v_init": int(rng.choice([0, 0, -300, 4000])),
        "refractory": int(rng.choice([0, 0, 1, 3])),
    }
    return Population(name, shape, **(drawn | fixed))


def case(
    rng: Generator,
    inputs: tuple[Input, ...],
    populations: tuple[Population, ...],
    connections: tuple[Any, ...],
    steps: int,
    readout: ReadoutKind = ReadoutKind.SPIKES,
) -> Case:
    """A network with 1 to 3 samples, static or timed."""
    network = DeployedNetwork(
        inputs, populations, connections, (Readout(populations[-1].name, readout),), steps
    )
    count = int(rng.integers(1, 4))
    timed = (steps,) if rng.random() < 0.5 else ()
    samples = {
        part.name: rng.integers(
            part.low, part.high, (*timed, count, *part.shape), np.int32, endpoint=True
        )
        for part in inputs
    }
    return network, SampleSet(samples)


def dense(rng: Generator) -> Case:
    return case(
        rng,
        (Input("x", (9,)),),
        (population(rng, "a", 7), population(rng, "o", 4)),
        (
            Dense("x", "a", weights(rng, 7, 9), exponent=int(rng.integers(-3, 4))),
            Dense("a", "o", weights(rng, 4, 7), exponent=int(rng.integers(-3, 4)), weight_bits=8),
        ),
        steps=int(rng.integers(2, 12)),
    )


def beyond_int8(rng: Generator) -> Case:
    """More channels, groups apart, and pixels than Lava's own int8 geometry could be added to."""
    wide = Conv2d("x", "a", weights(rng, 130, 1, 1, 3), padding=(0, 30), dilation=(1, 29))
    return case(
        rng,
        (Input("x", (1, 2, 150)),),
        (population(rng, "a", 130, 2, 152), population(rng, "o", 128, 1, 76)),
        (
            wide,
            Conv2d("a", "o", weights(rng, 128, 65, 1, 1), groups=2, pool=SumPool2d((2, 2), (2, 2))),
        ),
        steps=2,
    )


def apart(rng: Generator) -> Case:
    """Parts that nothing joins, one of them without any connection."""
    return case(
        rng,
        (Input("x", (5,)), Input("y", (4,))),
        (population(rng, "a", 6), population(rng, "lone", 3), population(rng, "o", 4)),
        (
            Dense("x", "a", weights(rng, 6, 5)),
            Dense("a", "a", weights(rng, 6, 6), delay=1),
            Dense("y", "o", weights(rng, 4, 4), delay=2),
        ),
        steps=int(rng.integers(2, 8)),
    )


def stock(rng: Generator) -> Case:
    """Only processes of lava-nc itself, recorded."""
    fixed = {"reset": "zero", "v_init": 0, "refractory": 0}
    return case(
        rng,
        (Input("x", (2, 6, 5)),),
        (population(rng, "a", 3, 5, 4, **fixed), population(rng, "o", 4, **fixed)),
        (Conv2d("x", "a", weights(rng, 3, 2, 2, 2)), Dense("a", "o", weights(rng, 4, 60))),
        steps=int(rng.integers(4, 12)),
    )


def convolution(rng: Generator) -> Case:
    stride, dilation = ((int(a), int(b)) for a, b in rng.integers(1, 3, (2, 2)))
    padding = (int(rng.integers(0, 3)), int(rng.integers(0, 3)))
    groups = int(rng.choice([1, 2]))
    kernel = weights(rng, 4, 4 // groups, 3, 2)
    connection = Conv2d(
        "a", "b", kernel, stride, padding, dilation, groups, int(rng.choice([0, 2]))
    )
    return case(
        rng,
        (Input("x", (2, 7, 6), Coding.GRADED, -9, 9),),
        (
            population(rng, "a", 4, 7, 6),
            population(rng, "b", *connection.output_shape((4, 7, 6))),
            population(rng, "o", 3),
        ),
        (
            Conv2d("x", "a", weights(rng, 4, 2, 3, 3), padding=(1, 1)),
            connection,
            Dense("b", "o", weights(rng, 3, int(np.prod(connection.output_shape((4, 7, 6)))))),
        ),
        steps=int(rng.integers(3, 9)),
    )


def convolution1d(rng: Generator) -> Case:
    """Along one axis, grouped, dilated, delayed, from and to neurons that rest; flat ones too."""
    groups = int(rng.choice([1, 2, 4]))
    connection = Conv1d(
        "a",
        "b",
        weights(rng, 4, 4 // groups, 3),
        stride=int(rng.integers(1, 4)),
        padding=int(rng.integers(0, 3)),
        dilation=int(rng.integers(1, 3)),
        groups=groups,
        exponent=int(rng.choice([0, -2])),
    )
    made = connection.output_shape((4, 9))
    return case(
        rng,
        (Input("x", (2, 9), Coding.GRADED, -9, 9), Input("y", (5,))),
        (
            population(rng, "a", 4, 9, refractory=int(rng.integers(1, 4))),
            population(rng, "b", *made, refractory=int(rng.integers(1, 4))),
            population(rng, "o", 3),
        ),
        (
            Conv1d("x", "a", weights(rng, 4, 2, 3), padding=1),
            Conv1d("a", "a", weights(rng, 4, 1, 5), padding=2, groups=4, delay=1, name="loop"),
            Dense("y", "a", weights(rng, 36, 5)),
            connection,
            Dense("b", "o", weights(rng, 3, int(np.prod(made)))),
        ),
        steps=int(rng.integers(3, 9)),
    )


def pooled(rng: Generator) -> Case:
    """Pools that leave rows over and pad, before a padded convolution and before a Dense."""
    kernel = int(rng.integers(2, 4))
    stride, padding = kernel + int(rng.integers(0, 2)), int(rng.integers(0, kernel))
    pool = SumPool2d((kernel, kernel), (stride, stride), (padding, padding))
    inner = pool.output_shape((3, 8, 7))
    connection = Conv2d("a", "b", weights(rng, 2, 3, 3, 3), padding=(2, 2), pool=pool)
    return case(
        rng,
        (Input("x", (1, 8, 7)),),
        (
            population(rng, "a", 3, 8, 7),
            population(rng, "b", *connection.output_shape(inner)),
            population(rng, "o", 3),
        ),
        (
            Conv2d("x", "a", weights(rng, 3, 1, 3, 3), padding=(1, 1)),
            connection,
            Dense("a", "o", weights(rng, 3, int(np.prod(inner))), exponent=-2, pool=pool),
        ),
        steps=int(rng.integers(3, 9)),
    )


def residual(rng: Generator) -> Case:
    """Paths of unequal depth that meet, delays, and a population that nothing feeds."""
    return case(
        rng,
        (Input("x", (5,)), Input("y", (3,), Coding.GRADED, -40, 40)),
        tuple(population(rng, name, 5) for name in ("a", "b", "free", "o")),
        (
            Dense("x", "a", weights(rng, 5, 5)),
            Dense("a", "b", weights(rng, 5, 5)),
            Dense("b", "o", weights(rng, 5, 5)),
            Dense("a", "o", weights(rng, 5, 5), delay=int(rng.integers(0, 5))),
            Dense("x", "o", weights(rng, 5, 5), delay=int(rng.integers(0, 3))),
            Dense("y", "b", weights(rng, 5, 3), delay=2),
            Dense("free", "o", weights(rng, 5, 5)),
        ),
        steps=int(rng.integers(3, 9)),
    )


def recurrent(rng: Generator) -> Case:
    return case(
        rng,
        (Input("x", (6,)),),
        (population(rng, "a", 6), population(rng, "b", 5), population(rng, "o", 3)),
        (
            Dense("x", "a", weights(rng, 6, 6)),
            Dense("a", "a", weights(rng, 6, 6), delay=int(rng.integers(1, 4)), name="loop"),
            Dense("a", "b", weights(rng, 5, 6)),
            Dense("b", "a", weights(rng, 6, 5), delay=int(rng.integers(2, 4)), name="back"),
            Dense("b", "o", weights(rng, 3, 5)),
        ),
        steps=int(rng.integers(4, 10)),
    )


def overloaded(rng: Generator) -> Case:
    """The largest payloads and weights: sums beyond 32 bits, u that wraps, v that saturates."""
    return case(
        rng,
        (Input("x", (2, 5, 5), Coding.GRADED, LOIHI.payload_min, LOIHI.payload_max),),
        (
            population(rng, "a", 3, 5, 5, decay_v=0),
            population(rng, "d", 6, decay_v=0),
            population(rng, "o", 4),
        ),
        (
            Conv2d(
                "x",
                "a",
                weights(rng, 3, 2, 3, 3, largest=240),
                padding=(1, 1),
                pool=SumPool2d((1, 1), (1, 1)),
            ),
            Dense("x", "d", weights(rng, 6, 50, largest=240), exponent=3),
            Dense("a", "o", weights(rng, 4, 75), exponent=7),
            Dense("d", "o", weights(rng, 4, 6), exponent=7),
        ),
        steps=6,
        readout=ReadoutKind.MEMBRANE,
    )


def injected(rng: Generator) -> Case:
    return case(
        rng,
        (Input("x", (4,)), Input("b", (4,), Coding.BIAS, -500, 900)),
        (population(rng, "a", 4, v_init=LOIHI.state_max), population(rng, "o", 4)),
        (
            Dense("x", "a", weights(rng, 4, 4)),
            BiasInjection("b", "a"),
            Dense("a", "o", weights(rng, 4, 4)),
            BiasInjection("b", "o"),
        ),
        steps=int(rng.integers(2, 8)),
        readout=ReadoutKind.MEMBRANE,
    )


def one_step(rng: Generator) -> Case:
    network, samples = residual(rng)
    once = {name: a if a.ndim == 2 else a[:1] for name, a in samples.items()}
    return network.replace(steps=1), once


def constant(value: int) -> Callable[[Generator], Case]:
    """All inputs silent (0) or full (1)."""

    def make(rng: Generator) -> Case:
        network, samples = stock(rng)
        return network, {name: np.full_like(array, value) for name, array in samples.items()}

    return make


FAMILIES: dict[str, Callable[[Generator], Case]] = {
    "dense": dense,
    "apart": apart,
    "beyond_int8": beyond_int8,
    "stock": stock,
    "convolution": convolution,
    "convolution1d": convolution1d,
    "pooled": pooled,
    "residual": residual,
    "recurrent": recurrent,
    "overloaded": overloaded,
    "injected": injected,
    "one_step": one_step,
    "silent": constant(0),
    "full": constant(1),
}
PER_FAMILY = 2
DRAWN = 24
CASES: dict[str, Case] = {
    f"{name}-{seed}": family(np.random.default_rng([seed, *name.encode()]))
    for name, family in FAMILIES.items()
    for seed in range(PER_FAMILY)
}


def draw_cases(count: int) -> dict[str, Case]:
    """Networks of any kind that Lava can run."""
    drawn: dict[str, Case] = {}

    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def collect(data: st.DataObject) -> None:
        network = data.draw(networks())
        try:
            schedule(network)
        except InputError:
            reject()
        drawn[f"drawn-{len(drawn)}"] = network, data.draw(samples_for(network))

    collect()
    return drawn


CASES |= draw_cases(DRAWN)


@pytest.fixture(scope="module")
def lava_runs() -> dict[str, Run]:
    """Every case with spikes only (stock neurons where they can be), in one worker."""
    return dict(zip(CASES, run_many(list(CASES.values()), record=("spikes",)), strict=True))


@pytest.mark.slow
@needs_lava
@pytest.mark.parametrize("name", CASES)
def test_random_networks_equal_native(name: str, lava_runs: dict[str, Run]) -> None:
    network, samples = CASES[name]
    native = run_native(network, samples, record=("spikes",))
    assert_equal_runs(lava_runs[name], native)


def test_the_random_networks_cover_what_they_should() -> None:
    kinds, fired = set(), 0
    for network, samples in CASES.values():
        arrays = check_samples(network.inputs, network.steps, samples)
        made = build_program(network, schedule(network), arrays, 1, (), Path())
        kinds |= {node.kind for node in made.nodes.values()}
        fired += any(run_native(network, samples).counts.spikes.values())  # type: ignore[union-attr]
    assert kinds == {
        *("Source", "RecordedLIF", "SampleLIF", "Dense", "Conv", "WideConv"),
        *("Sparse", "DelayLine"),
    }
    assert len(CASES) == PER_FAMILY * len(FAMILIES) + DRAWN
    assert fired >= 24


@needs_lava
def test_states_equal_native_at_every_step() -> None:
    pairs = [CASES[f"{name}-0"] for name in ("dense", "pooled", "recurrent", "overloaded")]
    for run, (network, samples) in zip(
        run_many(pairs, record=("u", "v", "spikes")), pairs, strict=True
    ):
        assert_equal_runs(run, run_native(network, samples, record=("u", "v", "spikes")))


@needs_lava
def test_neurons_that_start_at_half_their_threshold_equal_native() -> None:
    """As networks converted from ANNs do: no leak, reset by subtraction, ties that fire."""
    rng = np.random.default_rng(3)
    halves = [
        {"vth": vth, "v_init": 32 * vth + 1, "decay_u": LOIHI.decay_unity, "decay_v": 0}
        for vth in (70, 133)
    ]
    fixed = {"reset": "subtract", "refractory": 0, "bias": 0}
    parts = [population(rng, n, 6, **own, **fixed) for n, own in zip("ao", halves, strict=True)]
    network = DeployedNetwork(
        (Input("x", (6,), Coding.GRADED, 0, 15),),
        tuple(parts),
        (
            Dense("x", "a", np.diag(rng.integers(1, 6, 6)).astype(np.int16)),
            Dense("a", "o", weights(rng, 6, 6)),
        ),
        (Readout("o"),),
        steps=12,
    )
    x = rng.integers(0, 16, (9, 6))
    record = ("spikes", "u", "v")
    native = run_native(network, x, record=record)
    assert_equal_runs(run_lava(network, x, record=record), native)
    assert native.trace is not None
    weight = np.diag(network.weighted_into("a")[0].weight)
    counts = np.clip((12 * x * weight + 35) // 70, 0, 12)
    assert np.array_equal(native.trace.spikes["a"].sum(0), counts)
    assert native.trace.spikes["o"].any()


@needs_lava
def test_chunks_and_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    network, _ = stock(rng)
    samples = rng.integers(0, 2, (5, 2, 6, 5))
    monkeypatch.setattr(lava_backend, "CHUNK_BYTES", 2 * network.steps * (64 + 4 * 60))
    seen: list[tuple[int, int]] = []
    run = run_lava(network, samples, record=("spikes", "v"), progress=lambda *a: seen.append(a))
    assert_equal_runs(run, run_native(network, samples, record=("spikes", "v")))
    assert seen[-1] == (5, 5)
    assert seen == sorted(seen)
    assert len(seen) > 1
    assert run.backend == "lava"
    assert run.version == lava_status().version


@needs_lava
def test_a_trace_in_parts_has_one_progress_and_one_limit(tmp_path: Path) -> None:
    network, _ = stock(np.random.default_rng(5))
    samples = np.ones((4, 2, 6, 5), int)
    seen: list[tuple[int, int]] = []
    record_trace(
        tmp_path / "lava.h5",
        network,
        samples,
        backend="lava",
        chunk=2,
        timeout_s=300,
        progress=lambda *at: seen.append(at),
    )
    assert seen == sorted(seen)
    assert {(0, 4), (2, 4), (4, 4)} <= set(seen)
    record_trace(tmp_path / "native.h5", network, samples)
    assert compare_files(tmp_path / "lava.h5", tmp_path / "native.h5").equal
    with pytest.raises(BackendUnavailableError, match=r"took longer than .* and was stopped"):
        record_trace(
            tmp_path / "late.h5",
            network,
            np.ones((200, 2, 6, 5), int),
            backend="lava",
            chunk=1,
            timeout_s=3,
        )
    assert not (tmp_path / "late.h5").exists()


@needs_lava
@pytest.mark.parametrize("steps", [1, 3])
def test_no_sample_of_many_reaches_the_next(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    network = recurrent(rng)[0].replace(steps=steps)
    samples = rng.integers(0, 2, (steps, 210, 6))
    neurons = sum(part.size for part in network.populations)
    monkeypatch.setattr(lava_backend, "CHUNK_BYTES", 100 * steps * (neurons + 4 * 6))
    native = run_native(network, samples, record=("spikes",))
    assert any(native.counts.spikes.values())  # type: ignore[union-attr]
    assert_equal_runs(run_lava(network, samples, record=("spikes",)), native)


@needs_lava
def test_no_rest_of_a_sample_reaches_the_next() -> None:
    """Every neuron fires in the last step of each sample; so does it in the first of the next."""
    network = DeployedNetwork(
        (Input("x", (2,)),),
        (Population("a", (2,), vth=1, refractory=2), Population("o", (2,), vth=1, refractory=9)),
        (Dense("x", "a", np.diag([2, 2])), Dense("a", "o", np.diag([2, 2]))),
        (Readout("o"),),
        steps=4,
    )
    samples = np.ones((3, 2), int)
    run = run_lava(network, samples, record=("spikes", "u", "v"))
    assert run.trace is not None
    for name, fired in (("a", [1, 0, 0, 1]), ("o", [1, 0, 0, 0])):
        assert (run.trace.spikes[name] == np.reshape(fired, (4, 1, 1))).all()
    assert_equal_runs(run, run_native(network, samples, record=("spikes", "u", "v")))


REFRACTORY_FLOAT = """
import sys
import numpy as np
from worker.fixes import import_lava
import_lava()
from lava.proc.lif.models import PyLifRefractoryModelFloat
model = object.__new__(PyLifRefractoryModelFloat)
model.refractory_period = int(sys.argv[1])
model.refractory_period_end = np.zeros(3, int)
model.u, model.v, model.vth = np.zeros(3), np.zeros(3), 1024 * 64.0
model.du, model.dv, model.bias_mant = 0.5, 0.0, 4 * np.array([4000.0, 2000.0, 50.0])
for step in range(20):
    model.time_step = step + 1
    model.subthr_dynamics(2.0**19 * (step == 0))
    spikes = model.spiking_activation()
    model.process_spikes(spikes)
    print(*spikes.astype(int), *model.v.astype(int))
"""


@needs_lava
@pytest.mark.parametrize("refractory", [0, 1, 2, 7])
def test_rest_is_that_of_lavas_own_float_model(refractory: int) -> None:
    """Its states stay whole here: u is 2^19, 2^18, ..., 1 in 20 steps."""
    network = DeployedNetwork(
        (Input("x", (1,)),),
        (
            Population(
                "p", (3,), vth=1024, decay_u=2048, bias=np.array([4000, 2000, 50]),
                bias_exponent=2, refractory=refractory,
            ),
        ),
        (Dense("x", "p", np.full((3, 1), 128), exponent=6),),
        (Readout("p"),),
        steps=20,
    )  # fmt: skip
    pulse = np.arange(20).reshape(20, 1, 1) == 0
    trace = run_native(network, pulse.astype(int), record=("spikes", "v")).trace
    assert trace is not None
    assert trace.spikes["p"].sum() >= 5
    python, folder = lava_python(), Path(lava_backend.__file__).parent
    done = subprocess.run(
        [str(python), "-c", REFRACTORY_FLOAT, str(refractory)],
        env={"PYTHONPATH": str(folder)}, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    theirs = np.array([line.split() for line in done.stdout.splitlines()], int)
    np.testing.assert_array_equal(theirs[:, :3], trace.spikes["p"][:, 0])
    np.testing.assert_array_equal(theirs[:, 3:], trace.v["p"][:, 0])


def test_samples_are_pipelined_in_one_run() -> None:
    network, _ = residual(np.random.default_rng(0))
    times, count = schedule(network), 1000
    samples = {part.name: np.zeros((count, *part.shape), np.int32) for part in network.inputs}
    made = build_program(network, times, samples, count, ("spikes",), Path())
    assert made.chip_steps == count * network.steps + times.last
    for part in network.populations:
        fields = made.nodes[part.name].fields
        assert fields["reset_interval"] == network.steps
        assert fields["reset_offset"] == times.depth[part.name] + 1


def test_schedule_counts_lava_steps() -> None:
    network, _ = residual(np.random.default_rng(0))
    times = schedule(network)
    assert times.depth == {"x": 0, "y": 0, "a": 1, "b": 2, "free": 0, "o": 3}
    assert times.delay["a_to_b"] == 0
    assert times.delay["free_to_o"] == 2
    assert times.delay["y_to_b"] == 3
    assert times.last == 3


def small(*connections: Any, steps: int = 4) -> DeployedNetwork:
    shapes = {
        "a": (1, 140, 2), "b": (1, 10, 2), "c": (3,), "d": (3,), "e": (1, 2, 2), "line": (1, 3),
    }  # fmt: skip
    return DeployedNetwork(
        (
            Input("x", (1, 140, 2)),
            Input("g", (1, 10, 2), Coding.GRADED, LOIHI.payload_min, LOIHI.payload_max),
        ),
        tuple(Population(name, shape, vth=5) for name, shape in shapes.items()),
        connections,
        (Readout("c"),),
        steps,
    )


def test_everything_that_lava_cannot_run_is_listed_at_once() -> None:
    ones = np.ones((3, 3), np.int16)
    network = small(
        Conv2d("x", "b", np.ones((1, 1, 131, 1), np.int16)),
        Conv1d("line", "line", np.ones((1, 1, 1), np.int16), stride=128, padding=129, delay=1),
        Dense("c", "d", ones),
        Dense("d", "c", ones, delay=1),
        Dense("e", "e", np.ones((4, 1), np.int16), delay=1, pool=SumPool2d((2, 2), (2, 2))),
    )
    with pytest.raises(InputError, match="cannot run this network") as caught:
        run_lava(network, {"x": np.zeros((1, 1, 140, 2), int), "g": np.zeros((1, 1, 10, 2), int)})
    message = str(caught.value)
    for part, field, value in (
        ("x_to_b", "kernel", 131), ("line_to_line", "stride", 128), ("line_to_line", "padding", 129)
    ):  # fmt: skip
        assert (
            f"- connection '{part}': {field} {value} (limit: 127); lower its {field} to 127, or "
            "replace the convolution by several"
        ) in message
    assert "cycle 'c' -> 'd' -> 'c'" in message or "cycle 'd' -> 'c' -> 'd'" in message
    assert (
        "- cycle 'e' -> 'e' over 'e_to_e': delay 1 (limit: 2 or more, the steps that it takes "
        "Lava); add 1 to the delay of 'e_to_e'"
    ) in message


def test_sums_beyond_float64_are_refused() -> None:
    largest = np.full((1, 2, 125, 125), 255, np.int16)
    network = DeployedNetwork(
        (Input("x", (2, 16, 16), Coding.GRADED, LOIHI.payload_min, LOIHI.payload_max),),
        (Population("a", (1, 1, 1), vth=1),),
        (Conv2d("x", "a", largest, padding=(62, 62), pool=SumPool2d((16, 16), (16, 16))),),
        (Readout("a"),),
        steps=1,
    )
    with pytest.raises(
        InputError, match=r"'x_to_a': sum of a step .* float64, exact only up to this limit"
    ):
        schedule(network)


@pytest.mark.parametrize("name", CASES)
def test_more_processes_than_lava_compiles_are_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, samples = CASES[name]
    arrays = check_samples(network.inputs, network.steps, samples)
    made = build_program(network, schedule(network), arrays, 1, (), Path())
    monkeypatch.setattr(lava_schedule, "MOST_PROCESSES", len(made.nodes))
    schedule(network)
    monkeypatch.setattr(lava_schedule, "MOST_PROCESSES", len(made.nodes) - 1)
    message = rf"network: Lava processes {len(made.nodes)} \(limit: {len(made.nodes) - 1}\)"
    with pytest.raises(InputError, match=message):
        schedule(network)


def test_what_is_not_stock_is_said() -> None:
    rng = np.random.default_rng(0)
    assert find_unsupported(stock(rng)[0], LIMITATIONS) == ()
    network = DeployedNetwork(
        (Input("x", (1, 4, 4)), Input("b", (3,), Coding.BIAS, -5, 5)),
        (
            Population("a", (1, 3, 3), vth=9),
            Population("o", (3,), vth=9, reset=Reset.SUBTRACT, v_init=7),
            Population("z", (3,), vth=9, refractory=5),
        ),
        (
            Conv2d("x", "a", weights(rng, 1, 1, 2, 2), exponent=1),
            Dense("a", "o", weights(rng, 3, 9)),
            Dense("x", "o", weights(rng, 3, 16), name="skip"),
            BiasInjection("b", "o"),
            Dense("o", "z", weights(rng, 3, 3)),
        ),
        (Readout("z", ReadoutKind.MEMBRANE),),
        steps=3,
    )
    found = find_unsupported(network, LIMITATIONS)
    assert [str(gap) for gap in found] == [
        f"{feature}); nothing to do: it runs on Spikeport's {own} instead of Lava's {stock}"
        for feature, stock, own in (
            ("population 'o': reset subtract (limit: zero", "LIFReset", "SampleLIF"),
            ("population 'o': bias per step (limit: constant", "LIFReset", "SampleLIF"),
            ("population 'z': refractory 5 (limit: 0", "LIFReset", "SampleLIF"),
            ("population 'o': v_init 7 (limit: 0", "LIFReset", "SampleLIF"),
            ("connection 'skip': wait 1 (limit: 0", "Dense", "DelayLine"),
            ("connection 'x_to_a': weight exponent 1 (limit: 0", "Conv", "WideConv"),
        )
    ]
    assert not any(gap.stops for gap in found)


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_invalid_time_limits(seconds: float) -> None:
    with pytest.raises(InputError, match="must be above 0"):
        run_lava(*CASES["dense-0"], timeout_s=seconds)


@needs_lava
def test_bad_samples_are_refused_before_lava_starts() -> None:
    network, samples = CASES["dense-0"]
    with pytest.raises(InputError, match=r"must lie in 0\.\.1"):
        run_lava(network, samples["x"] + 2)
    with pytest.raises(InputError, match="'w' cannot be recorded"):
        run_lava(network, samples, record=("w",))


@needs_lava
def test_a_working_environment_is_left_alone() -> None:
    python = lava_python()
    assert python is not None
    folder = python.parent.parent
    before = (folder / "pyvenv.cfg").stat().st_mtime_ns
    assert create_environment(folder) == python
    assert (folder / "pyvenv.cfg").stat().st_mtime_ns == before


def test_the_environment_program_says_what_it_wants() -> None:
    command = [sys.executable, "-m", "spikeport.backends.lava.environment"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "usage: python -m spikeport.backends.lava.environment PATH\n"
