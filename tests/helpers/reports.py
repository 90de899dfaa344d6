"""Rows, ladders and estimates to report, and a reader of the page."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser

from spikeport.energy import (
    ConnectionInfo,
    EnergyReport,
    Interval,
    SynapseKind,
    Topology,
    estimate_energy,
    load_profile,
)
from spikeport.parity import Criterion, LadderRow, ParityReport, SkippedStage, accuracy
from spikeport.parity.report import Difference
from spikeport.report.figures import Cores, Histogram, Mark, Matrix, Raster
from spikeport.report.section import Section, Topic, section_of
from spikeport.runs import EventCounts
from spikeport.traces import Divergence

HASH = "4f2ac9d17be0" + "5" * 52

CHANGED = "changed by quantization (expected)"


def row(
    stage: str, backend: str, version: str, correct: int, n: int,
    rule: Criterion | None, verdict: str,
    differing: tuple[int, int, int] = (0, 0, 0), answers: int = 0, ties: int | None = None,
    wall_s: float = 0.8,
) -> LadderRow:  # fmt: skip
    spikes = {"conv1": 812 * n, "conv2": 604 * n, "out": 31 * n + 7}
    return LadderRow(
        stage=stage, backend=backend, version=version,
        network_hash="" if rule in (None, Criterion.TIES) else HASH,
        accuracy=accuracy(correct, n), spikes=spikes, synaptic_events=61_250 * n,
        energy_pj=Interval(2.1e6, 9.4e6, 21.7e6), rule=rule,
        difference=None if rule is None else Difference(
            compared=n, network=HASH, spikes=dict(zip(spikes, differing, strict=True)),
            spikes_before=sum(spikes.values()), predictions=answers, extra_errors=0, scores=0,
            counts=(), ties=ties, unexplained=None if ties is None else 0, first=None),
        verdict=verdict, passed=not verdict.startswith("FAILED"), wall_s=wall_s,
    )  # fmt: skip


def ladder() -> ParityReport:
    return ParityReport(
        rows=(
            row("Float, in training", "spikeport trainer", "0.1.0", 354, 360, None,
                "start of the ladder", wall_s=1.9),
            row("Float NIR graph", "float", "0.1.0", 354, 360, Criterion.TIES,
                "identical except for 3 ties", (2, 1, 0), ties=3),
            row("Norse", "norse", "1.1.0", 354, 360, Criterion.TIES, "identical",
                ties=0, wall_s=4.1),
            row("Quantized", "native", "0.1.0", 352, 360, Criterion.CHANGE, CHANGED,
                (9120, 7033, 411), answers=4, wall_s=0.21),
            row("After NIR write and read", "native", "0.1.0", 352, 360, Criterion.EXACT,
                "identical", wall_s=0.2),
            row("Lava", "lava", "0.10.0", 32, 32, Criterion.EXACT, "identical", wall_s=14.2),
            row("Scalar reference", "reference", "0.1.0", 4, 4, Criterion.EXACT, "identical",
                wall_s=8.8),
        ),
        network_hash=HASH, samples=360, steps=16,
        environment={"spikeport": "0.1.0", "python": "3.11.7", "numpy": "2.4.6", "nir": "1.0.8",
                     "norse": "1.1.0", "lava-nc": "0.10.0"},
        command="spikeport demo --seed 0",
    )  # fmt: skip


def broken() -> ParityReport:
    found = Divergence("conv2", (3, 1, 0), 5, 7, "spikes", (0.0, 1.0), 10)
    verdict = f"FAILED: spikes differ, 12 in 'conv2'; first at {found}"
    lava = row("Lava", "lava", "0.10.0", 30, 32, Criterion.EXACT, verdict, (0, 12, 3), answers=2)
    skipped = SkippedStage("Norse", "norse", "norse is not installed", "pip install norse")
    rows = (*ladder().rows[:5], lava)
    return dataclasses.replace(ladder(), rows=rows, skipped=(skipped,))


def with_ann(report: ParityReport) -> ParityReport:
    """The ladder below the ANN that its network was converted from."""
    ann = dataclasses.replace(
        row("ANN", "spikeport trainer", "0.1.0", 355, 360, None, "start of the ladder"),
        spikes={}, synaptic_events=None, macs=250_000,
    )  # fmt: skip
    first, *rest = report.rows
    found = row(first.stage, first.backend, first.version, 354, 360, Criterion.CONVERSION,
                "changed by conversion (expected)", answers=3)  # fmt: skip
    return dataclasses.replace(report, rows=(ann, found, *rest))


def estimate() -> EnergyReport:
    connections = {
        "input_to_conv1": ConnectionInfo(SynapseKind.CONV, "input", "conv1"),
        "conv1_to_conv2": ConnectionInfo(SynapseKind.CONV, "conv1", "conv2"),
        "conv2_to_out": ConnectionInfo(SynapseKind.DENSE, "conv2", "out"),
    }
    n, steps, sizes = 360, 16, {"conv1": 1024, "conv2": 512, "out": 10}
    messages = {"input_to_conv1": 420 * n, "conv1_to_conv2": 812 * n, "conv2_to_out": 604 * n}
    nonzero = {
        "input_to_conv1": 31_000 * n,
        "conv1_to_conv2": 84_000 * n,
        "conv2_to_out": 5_400 * n,
    }
    counts = EventCounts(
        samples=n, steps=steps, spikes={"conv1": 812 * n, "conv2": 604 * n, "out": 31 * n},
        visits={name: size * steps * n for name, size in sizes.items()},
        updates={name: size * steps * n * 3 // 4 for name, size in sizes.items()},
        input_events={"input": 420 * n}, messages=messages, synaptic_events=nonzero,
        synaptic_events_all={**nonzero, "conv2_to_out": 6_040 * n},
    )  # fmt: skip
    topology = Topology(connections, graded_inputs=("input",), macs=250_000)
    return estimate_energy(topology, counts, load_profile("loihi1"))


def quantization() -> Section:
    return section_of(
        "Quantization, layer by layer",
        [
            {"layer": "conv1", "scale": 181.33, "exponent": 0, "weights clipped": 0,
             "rounded to zero": 12, "rms error": 0.00213},
            {"layer": "conv2", "scale": 96.5, "exponent": 1, "weights clipped": 3,
             "rounded to zero": 2041, "rms error": 0.00391},
            {"layer": "out", "scale": 143.0, "exponent": 0, "weights clipped": 0,
             "rounded to zero": 8, "rms error": None},
        ],
        note="Weights clipped to the grid and weights that rounding made zero.",
    )  # fmt: skip


def figured(tail: str = "", classes: int = 10) -> Section:
    """A section with a figure of each kind, whose names end in `tail`."""
    cells = ((0, 0, 30), (0, 3, 2), (classes - 1, classes - 1, 31))
    marks = (Mark(f"threshold{tail}", 9),)
    return section_of(
        f"Figures{tail}",
        [{f"layer{tail}": f"conv1{tail}", f"rate{tail}": 0.25}],
        f"One of each{tail}",
        topic=Topic.ACTIVITY,
        figures=[
            Raster(f"conv1{tail}", (0, 7), 512, 16, 16, ("0-2,5", "")),
            Histogram(f"conv1{tail}", -256, 254, 128, (1, 0, 40, 3), marks),
            Cores(
                f"Chip 1{tail}", 10, 4, 2, (f"conv1{tail}",), ((0, 0, 0, 0, 97), (1, 1, 1, 0, 4))
            ),
            Matrix(f"Predictions{tail}", f"class{tail}", f"prediction{tail}", classes, cells),
        ],
    )


class Page(HTMLParser):
    """What a page loads, whether its tags close in order, and its text."""

    void = frozenset({"meta", "link", "img", "br", "hr", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.anchors: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.void:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "srcset", "data", "poster") or (name == "href" and tag != "a"):
                self.loads.append(f"{tag} {value}")
            if name == "id":
                self.ids.append(value or "")
            if name == "href" and (value or "").startswith("#"):
                self.anchors.append((value or "")[1:])

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data
