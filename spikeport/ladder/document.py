"""Everything that the report of a ladder shows, collected from its results."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from spikeport.ladder.config import LadderConfig
from spikeport.ladder.run import Ladder
from spikeport.report.activity import activity_sections
from spikeport.report.confusion import confusion_sections
from spikeport.report.conversion import conversion_sections
from spikeport.report.core_figure import map_section, unmapped_section
from spikeport.report.document import Document, document_of
from spikeport.report.energy_stages import stages_section
from spikeport.report.fit import fit_section
from spikeport.report.origin import origin_sections
from spikeport.report.quantization import quantization_sections
from spikeport.report.ranges import range_sections
from spikeport.report.section import Section
from spikeport.trainer.data import Dataset
from spikeport.workflow import inspect_network


def ladder_document(ladder: Ladder, data: Dataset, config: LadderConfig) -> Document:
    """The document of a ladder that was run on `data`."""
    network = inspect_network(ladder.network).as_dict()
    return document_of(
        ladder.report,
        {**ladder.energy, **ladder.chip.energy},
        tuple(_sections(ladder, next(iter(ladder.deployed_energy), ""))),
        priced=next(iter(ladder.shown_energy), ""),
        fit=ladder.chip.fit,
        network={key: value for key, value in network.items() if key != "content_hash"},
        data={"name": data.name, "classes": data.classes, "test_samples": len(data.test_y)},
        limits=asdict(config.limits),
    )


def _sections(ladder: Ladder, stage: str) -> Iterator[Section]:
    network, observed = ladder.network, ladder.observed
    yield from conversion_sections(ladder.report, network.provenance)
    yield from origin_sections(network.provenance)
    chip = ladder.chip
    if chip.checked is not None:
        yield fit_section(chip.checked, chip.title)
    yield from confusion_sections(observed, stage, network.output_count)
    yield from activity_sections(network, observed)
    yield from range_sections(network, observed.recording)
    if chip.map is not None and chip.traffic is not None:
        yield map_section(chip.map, chip.traffic)
    else:
        yield unmapped_section(chip.title, chip.unmapped)
    yield stages_section(ladder.energy, chip.energy, chip.unmapped)
    if ladder.quantization is not None:
        yield from quantization_sections(ladder.quantization.as_dict())
