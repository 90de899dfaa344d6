"""`diagnose --conversion`: the errors of converted networks, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikeport.cli import _io
from spikeport.cli._foreign import Foreign, origin_facts
from spikeport.cli._tables import facts_table, layers_table, number_cell
from spikeport.errors import ConversionError, OptionError
from spikeport.report.origin import origins as origins_of
from spikeport.report.screen import Renderable, Table
from spikeport.runs import check_classes

if TYPE_CHECKING:
    from spikeport.export.nir import FloatNetwork
    from spikeport.simulators import ConversionDiagnosis
    from spikeport.trainer.data import Dataset
    from spikeport.trainer.network import SpikingNetwork

MOST_NETWORKS = 7
"""Networks side by side: as many as a chart has colours."""


def diagnose_conversions(
    paths: Sequence[Path],
    ann: Path | None,
    data: str,
    changes: Sequence[str] | None,
    samples: int | None,
    steps: Sequence[int] | None,
    foreign: Foreign,
) -> tuple[ConversionDiagnosis, dict[str, dict[str, str]]]:
    """Open the networks and measure them; also what was stated and assumed of each NIR file."""
    from spikeport.trainer.conversion.source import open_ann
    from spikeport.trainer.network import SpikingNetwork
    from spikeport.workflow import diagnose_conversion
    from spikeport.workflow.conversions import STEPS

    _check_paths(paths, foreign)
    reference = None if ann is None else open_ann(str(ann), None)
    assert reference is None or isinstance(reference, SpikingNetwork)  # a file is no module
    most = max(steps or STEPS)
    opened = {str(path): _open(path, foreign, most) for path in paths}
    dataset = _io.open_data(data, 1, changes)
    networks = {name: _fitting(name, one, data, dataset) for name, one in opened.items()}
    with _io.progress("diagnosis") as update:
        found = diagnose_conversion(
            networks,
            dataset.test_x[:samples],
            dataset.test_y[:samples],
            steps,
            ann=reference,
            progress=update,
        )
    origins = {
        name: facts
        for name, one in networks.items()
        if not isinstance(one, SpikingNetwork) and (facts := origin_facts(one))
    }
    return found, origins


def _check_paths(paths: Sequence[Path], foreign: Foreign) -> None:
    if len(paths) > MOST_NETWORKS:
        raise OptionError(f"diagnose: {len(paths)} networks, at most {MOST_NETWORKS} side by side")
    for place, path in enumerate(paths):
        if path in paths[:place]:
            raise OptionError(f"{path}: is given twice")
    if foreign.words() and all(path.suffix not in _io.NIR for path in paths):
        raise OptionError(f"{foreign.words()[0]}: describes NIR files, but no .nir file is given")


def _open(path: Path, foreign: Foreign, steps: int) -> SpikingNetwork | FloatNetwork:
    """A checkpoint, or a NIR graph, whose T is `steps` if the file does not state it."""
    if path.suffix in _io.CHECKPOINT:
        from spikeport.trainer.loop import load_checkpoint
        from spikeport.trainer.network import SpikingNetwork

        model = load_checkpoint(path).model
        if not isinstance(model, SpikingNetwork):
            raise ConversionError(f"{path}: is in chip arithmetic, must be a float network")
        return model
    if path.suffix in _io.NIR:
        from spikeport.export.nir import FloatContents
        from spikeport.workflow import open_contents

        found = open_contents(path, **foreign.given())
        if isinstance(found, FloatContents):
            return replace(found, steps=found.steps or steps).network()
    raise ConversionError(
        f"{path}: must be a converted network in float units: a checkpoint (.safetensors), or a "
        "NIR graph (.nir) without chip integers"
    )


def _fitting(
    name: str, network: SpikingNetwork | FloatNetwork, data: str, dataset: Dataset
) -> SpikingNetwork | FloatNetwork:
    """The network, compared with the data set, whose input it has if its file declares none."""
    from spikeport.trainer.network import SpikingNetwork

    subject = f"{name}: data set '{dataset.name}'"
    if isinstance(network, SpikingNetwork):
        _io.check_default(data, (network.input,), dataset)
        check_classes(subject, dataset.classes, network.classes)
        _io.compare_ranges((network.input,), dataset)
        return network
    _io.check_default(data, network.inputs, dataset)
    check_classes(subject, dataset.classes, network.output_count)
    return _io.declared(network, dataset)


def conversion_tables(
    found: ConversionDiagnosis, origins: Mapping[str, Mapping[str, Any]]
) -> Iterator[Renderable]:
    """A row for each T and network; of a single network also all layers, after its own T."""
    for name, facts in origins.items():
        for title, part in origins_of(facts).items():
            yield facts_table(f"{name}: {title}", part)
    if found.ann_accuracy is not None:
        facts = {"accuracy": found.ann_accuracy.rate, "test_samples": found.ann_accuracy.n}
        yield facts_table("ANN", facts)
    yield summary_table(found)
    yield from found.notes
    if len(found.networks) == 1:
        (network,) = found.networks
        steps = found.steps_of(network)
        title = f"Errors after {steps} steps, relative to the activation"
        yield layers_table(title, network.after(steps))


def summary_table(found: ConversionDiagnosis) -> Table:
    """The rms over layers of each relative error, networks side by side."""
    table = Table(
        f"Relative errors, rms over layers, {found.error_samples} samples; "
        f"accuracy on {found.samples}"
    )
    several = len(found.networks) > 1
    compared = ("total",) if found.ann_accuracy is not None else ()
    sizes = ("quantization", "deviation", "conversion", *compared, "input_sigma")
    table.add_column("T", justify="right")
    if several:
        table.add_column("network")
    for name in ("accuracy", *sizes[:-1], "σ / θ"):
        table.add_column(name, justify="right")
    table.add_column("limited by, most in")
    for steps in found.steps:
        for network in found.networks:
            mean, limit = network.summary(steps), network.limit(steps)
            table.add_row(
                str(steps),
                *((network.name,) if several else ()),
                f"{100 * network.accuracy[steps].rate:.2f} %",
                *(number_cell(getattr(mean, name)) for name in sizes),
                "–" if limit is None else f"{limit.error}, {limit.layer}",
            )
    return table
