"""One hostile name through every verb, table and page: it stays text in all of them.

Verbs, tables and pages are listed from the code, so a new one fails here until it has a case.
"""

from __future__ import annotations

import ast
import dataclasses
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from spikeport.backends import TargetCheck, UnsupportedFeature
from spikeport.cli import (
    _check,
    _conversion,
    _convert,
    _diagnose,
    _foreign,
    _front,
    _judge,
    _map,
    _sweep,
    _tables,
    _traces,
)
from spikeport.cli._app import VERBS
from spikeport.energy import HardwareProfile, MethodEstimate, estimate_by_method
from spikeport.export import Fidelity, Finding, NodeFidelity, Portability
from spikeport.mapping import map_network
from spikeport.network import load_network, require_lif, save_network, weighted_among
from spikeport.parity import Gate, GateCase, GateOutcome, GateSuite, ParityReport
from spikeport.report import energy_tables, screen, terminal
from spikeport.report.conversion_errors import render_conversions
from spikeport.report.diagnosis import render_diagnosis
from spikeport.report.document import document_of, to_json
from spikeport.report.fit import Fit
from spikeport.report.html import render_html
from spikeport.report.pareto import draw_pareto_front
from spikeport.report.terminal import render_section, render_terminal, render_verdict
from spikeport.runs import EventCounts
from spikeport.simulators import (
    ConversionDiagnosis,
    ErrorTally,
    LayerErrors,
    NetworkErrors,
    assumed_counts,
)
from spikeport.text import shown
from spikeport.workflow import Comparison
from tests.helpers.command import call
from tests.helpers.reports import broken, estimate, figured, ladder, quantization

ROOT = Path(__file__).parent.parent / "spikeport"
VERB_NAMES = list(VERBS)
EVIL = (
    "[red]x[link=http:y] :smile: \\[b] \x1b[2J\x1b]0;t\x07\nspikeport: done\r\t\x9b31m\u202e"
    "\u200b $x$ %s {0} <script>&lt;\"' \udcff \\"
)
NAME = EVIL.replace("\udcff", "")
"""Without invalid UTF-8, which TOML and the names in safetensors files cannot hold."""
HARMLESS = "§" * len(EVIL)
CELLS = re.compile(r"[\s│┃─━╇╈┏┓┗┛┡┩└┘┌┐├┤┼]")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
CURSOR = re.compile(r"\x1b\[\?25[lh]|\x1b\[\d*[AKG]|\x1b\[2K|\r")
"""What a progress bar sends besides colours."""
WIDE, NARROW = 5000, 100


class Terminal(io.TextIOWrapper):
    """A stream that is a terminal, or is not."""

    def __init__(self, tty: bool) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", newline="")
        self.tty = tty

    def isatty(self) -> bool:
        return self.tty

    @property
    def text(self) -> str:
        self.flush()
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode("utf-8")


@dataclasses.dataclass
class Output:
    """What a command or `screen.show` wrote."""

    tty: bool
    width: int
    out: Terminal
    err: Terminal
    code: int = 0

    def check(self, *expected: str) -> str:
        """Nothing but text, colours and a bar; all that is expected is there, however wrapped."""
        both = COLOUR.sub("", self.out.text) + CURSOR.sub("", COLOUR.sub("", self.err.text))
        if not self.tty:
            assert "\x1b" not in self.out.text + self.err.text
        assert [line for line in both.split("\n") if shown(line) != line] == []
        assert not re.search(r"^\W*spikeport: done", both, re.M)
        assert "😄" not in both
        if self.width == NARROW:  # Names are wrapped, beside others in the same lines.
            return both
        squashed = CELLS.sub("", both)
        for name in expected:
            assert CELLS.sub("", shown(name)) in squashed
        return both


@pytest.fixture(
    params=[(True, WIDE), (False, WIDE), (True, NARROW)], ids=["terminal", "pipe", "narrow"]
)
def capture(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Output]:
    """Call something with standard streams that are terminals, in colour, or pipes."""
    tty, width = request.param
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(screen, "WIDTH", width)
    monkeypatch.setenv("TERM", "xterm-256color")

    def run(action: Callable[[], int | None]) -> Output:
        output = Output(tty, width, Terminal(tty), Terminal(tty))
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", output.out)
            patched.setattr(sys, "stderr", output.err)
            output.code = action() or 0
        return output

    return run


# Verbs


@dataclasses.dataclass(frozen=True)
class Files:
    """The inputs of the verbs, each under a hostile name."""

    folder: Path
    data: Path
    checkpoint: Path
    ann: Path
    converted: Path
    graph_of_it: Path
    graph: Path
    chip: Path
    other: Path
    trace: Path
    recipe: Path
    profile: Path
    results: Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("text") / "a["
    folder.mkdir()
    names = {
        "data": "npz", "checkpoint": "safetensors", "ann": "ann.safetensors", "graph": "nir",
        "converted": "converted.safetensors", "graph_of_it": "converted.nir",
        "chip": "spikeport",
        "other": "other.spikeport", "trace": "h5", "recipe": "toml", "profile": "profile.toml",
        "results": "json",
    }  # fmt: skip
    found = Files(folder, **{n: folder / f"b]{NAME}.{suffix}" for n, suffix in names.items()})
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (40, 8, 8), dtype=np.uint8)
    labels = np.arange(40) % 4
    np.savez(found.data, x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    title = json.dumps(NAME)
    training = 'architecture = "mlp"\nwidths = [8]\nsteps = 2\nepochs = 1'
    found.recipe.write_text(f'title = {title}\n[data]\nname = "digits"\n[training]\n{training}\n')
    price = (
        resources.files("spikeport") / "backends" / "targets" / "loihi1" / "target.toml"
    ).read_text("utf-8")
    price = re.sub(r"^(title|name) = .*", lambda line: f"{line[1]} = {title}", price, flags=re.M)
    price = re.sub(r"^url = .*", 'url = "javascript:alert(1)"', price, flags=re.M)
    found.profile.write_text(price, "utf-8")
    told = document_of(tailed(broken(), NAME), {NAME: estimate()}, [figured(NAME)])
    found.results.write_text(to_json(told), "utf-8")
    train = [
        "train",
        str(found.recipe),
        "--data",
        str(found.data),
        "-o",
        str(found.checkpoint),
    ]
    assert call(train) == 0
    relu = ["training.activation=relu", "training.steps=1", "training.rule=bptt_m"]
    options = [word for each in relu for word in ("--set", each)]
    assert call([*train[:-1], str(found.ann), *options]) == 0
    convert = ["convert", str(found.ann), "--data", str(found.data), "--epochs", "0"]
    assert call([*convert, "-T", "2", "-o", str(found.converted)]) == 0
    assert call(["export", str(found.converted), "-o", str(found.graph_of_it)]) == 0
    assert call(["export", str(found.checkpoint), "-o", str(found.graph)]) == 0
    quantize = ["quantize", str(found.graph), "--data", str(found.data), "-o", str(found.chip)]
    assert call(quantize) == 0
    network = load_network(found.chip)
    network = network.replace(provenance={**network.provenance, EVIL: EVIL})
    save_network(network, found.chip)
    first, *rest = network.populations
    louder = dataclasses.replace(require_lif(first), vth=require_lif(first).vth // 2)
    save_network(network.replace(populations=(louder, *rest)), found.other)
    traced = ["run", str(found.chip), "--data", str(found.data), "--trace", str(found.trace)]
    assert call([*traced, "-n", "2"]) == 0
    return found


Case = tuple[int, list[object], tuple[object, ...]]
"""Exit code, arguments, and what must be in the output of tables and errors."""


def cases(f: Files, out: Path) -> Mapping[str, list[Case]]:
    """Per verb its commands: at least one that ends well and one that does not."""
    data: list[object] = ["--data", f.data]
    gone = f.folder / f"gone{EVIL}.spikeport"
    made = out / f"made{NAME}"
    lava = ["--lava-samples", 0, "--reference-samples", 1]
    return {
        "demo": [(0, ["-o", made], (made,)), (2, ["-o", f.chip / "x"], (f.chip,))],
        "train": [
            (0, [f.recipe, "--data", f.data, "-o", f"{made}.safetensors", "--lines"], (made,)),
            (2, [f.recipe, "--data", EVIL, "-o", made], (EVIL, "must be UTF-8")),
            (2, [f.recipe, "--data", f"{NAME}x", "-o", made], (f"{NAME}x",)),
            (2, [EVIL, "-o", made], (EVIL,)),
            (2, ["--set", f"training.{EVIL}=1", "-o", made], (EVIL.partition("=")[2],)),
            (2, ["--set", f"training.reset={EVIL}x", "-o", made], (f"{EVIL}x",)),
            (2, ["--set", f"training.widths=0x{'f' * 9000}", "-o", made], ("beyond 64 bits",)),
        ],
        "front": [
            (0, [f.recipe, "--set", f"data.name={f.data}", "--budgets", "5uJ,10uJ",
                 "-o", made], ()),
            (2, ["--budgets", EVIL, "-o", made], (EVIL,)),
        ],
        "diagnose": [
            (0, [f.checkpoint, *data, "-n", 8, "-T", "1,2", "-o", f"{made}.html"], (made,)),
            (0, [f.converted, f.graph_of_it, *data, "-n", 8, "-T", "2", "--ann", f.ann, "-o",
                 f"{made}.html"], (made, f.converted)),
            (2, [f.checkpoint, "--data", EVIL, "-o", made], (EVIL,)),
            (2, [f.graph, *data, "-o", f"{made}.html"], (f.graph, "add --conversion")),
            (2, [f.checkpoint, *data, "--conversion", "-o", f"{made}.html"], (f.checkpoint,)),
        ],
        "convert": [
            (0, [f.ann, *data, "-o", f"{made}.safetensors", "--epochs", 1], (made,)),
            (2, [f.checkpoint, *data, "-o", f"{made}.safetensors"], ()),
            (2, [f"{EVIL}.py:Net", *data, "-o", f"{made}.safetensors"], (EVIL,)),
        ],
        "quantize": [
            (0, [f.graph, *data, "-o", f"{made}.spikeport"], ()),
            (2, [f.chip, "-o", made], (f.chip,)),
        ],
        "export": [
            (0, [f.chip, "-o", f"{made}.nir"], (made,)),
            (2, [f.graph, "--reset", EVIL, "-o", f"{made}.nir"], (EVIL,)),
        ],
        "run": [
            (0, [f.chip, *data], ()),
            (0, [f.graph, *data], (f.graph,)),
            (0, [f.chip, f.other, *data], (f.chip, f.other)),
            (2, [gone], (gone,)),
            (2, [f.chip, *data, "--trace", made, "--probe", EVIL], (EVIL.split(":")[0],)),
            (2, [f.chip, *data, "-b", EVIL], (EVIL,)),
            (2, [f.chip, f"--{EVIL}"], ("No such option",)),
            (2, [f.chip, "-n", EVIL], ("'--samples'",)),
        ],
        "compare": [
            (0, [f.chip, *data], ()),
            (1, [f.chip, f.other, *data, "-b", "native"], (f.other.name,)),
            (1, [f.chip, f.other, *data, "-b", "native", "--trace"], (f.other.name,)),
            (0, ["--trace", f.trace, f.trace], (f.trace.name,)),
            (2, [f.chip, *data, "-b", EVIL], (EVIL,)),
        ],
        "ladder": [
            (0, [f.checkpoint, *data, "-n", 4, *lava, "-o", made], (made,)),
            (2, [gone], (gone,)),
            (2, [f.checkpoint, *data, "--ann", f.checkpoint, "-o", made], (f.checkpoint,)),
        ],
        "check": [(0, [f.chip, "-t", "native"], ()), (2, [f.chip, "-t", EVIL], (EVIL,))],
        "energy": [
            (0, [f.chip, *data, "--profile", f.profile], (f.chip.name,)),
            (2, [f.chip, *data, "--profile", EVIL], (EVIL,)),
        ],
        "inspect": [
            (0, [f.chip], (f.chip, EVIL)),
            (0, [f.graph], (f.graph,)),
            (2, [gone], (gone,)),
            (2, [f.folder / EVIL], (f.folder / EVIL,)),
        ],
        "backends": [(0, [], ())],
        "doctor": [(0, ["--quick"], ()), (2, [f"--{EVIL}"], ("No such option",))],
        "report": [(0, [f.results, "-o", f"{made}.md"], (made,)), (2, [gone], (gone,))],
        "map": [(0, [f.chip, "-t", "loihi2"], ()), (2, [f.chip, "-t", EVIL], (EVIL,))],
    }  # fmt: skip


def test_every_verb_has_cases(files: Files, tmp_path: Path) -> None:
    found = cases(files, tmp_path)
    assert set(found) == set(VERB_NAMES)
    for verb, commands in found.items():
        assert {code for code, _, _ in commands} >= ({0} if verb == "backends" else {0, 2})


@pytest.mark.parametrize(
    ("capture", "as_json"),
    [((True, WIDE), False), ((False, WIDE), False), ((False, WIDE), True)],
    ids=["terminal", "pipe", "json"],
    indirect=["capture"],
)
@pytest.mark.parametrize("verb", VERB_NAMES)
def test_every_verb_prints_names_as_text(
    verb: str,
    as_json: bool,
    files: Files,
    tmp_path: Path,
    capture: Callable[..., Output],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained: list[Path] = []
    if verb == "demo":
        monkeypatch.setattr("spikeport.ladder.run_demo", demo_of(files, trained))
    for code, arguments, expected in cases(files, tmp_path)[verb]:
        command = [verb, *map(str, arguments), *(["--json"] if as_json else [])]
        output = capture(lambda command=command: call(command))
        tables = expected if code or not as_json else ()
        both = output.check(*map(str, tables))
        assert output.code == code, both
        if as_json and code == 0:
            check_json(output.out.text, command)
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
    assert bool(trained) == (verb == "demo")


def demo_of(files: Files, called: list[Path]) -> Callable[..., Any]:
    """`run_demo` on the small network instead of one that takes a minute to train."""
    from spikeport.ladder import LadderConfig, write_ladder
    from spikeport.trainer import load_checkpoint, load_dataset

    def run(folder: Path, *, progress: Callable[[str, int, int], None], **_: object) -> Any:
        called.append(folder)
        model = load_checkpoint(files.checkpoint).model
        data = load_dataset(str(files.data), model.steps)
        config = LadderConfig(samples=4, lava_samples=0, reference_samples=1)
        return write_ladder(model, data, folder, config, f"demo {folder}", progress)

    return run


def check_json(text: str, command: list[str]) -> None:
    """The output is one JSON document with the original names."""
    values = list(strings(json.loads(text)))
    named = {"export": "-o", "diagnose": "-o", "quantize": "-o", "train": "-o"}
    if command[0] in named:
        assert command[command.index(named[command[0]]) + 1] in values
    if command[0] == "inspect" and command[1].endswith(".spikeport"):
        assert EVIL in values
    if command[0] == "run" and len(command) > 5:
        assert {command[1], command[2]} <= set(values)


def strings(data: Any) -> Iterator[str]:
    match data:
        case str():
            yield data
        case list():
            for item in data:
                yield from strings(item)
        case dict():
            for key, item in data.items():
                yield from (key, *strings(item))


def test_what_verbs_write_is_text_too(files: Files, tmp_path: Path) -> None:
    made = tmp_path / EVIL
    command = ["ladder", str(files.checkpoint), "--data", str(files.data), "-n", "4"]
    assert call([*command, "--lava-samples", "0", "-o", str(made)]) == 0
    text = (made / "ladder.json").read_text("utf-8")
    assert text.replace("\n", "").isprintable()
    (_, _, checkpoint, _, data, *_) = shlex.split(json.loads(text)["parity"]["command"])
    assert (checkpoint, data) == (str(files.checkpoint), str(files.data))
    page = Page((made / "report.html").read_text("utf-8"))
    assert "script" not in {event[1] for event in page.events}
    assert call(["energy", str(files.chip), "--profile", str(files.profile)]) == 0


@pytest.mark.parametrize("verb", ["", *VERB_NAMES])
def test_help_is_text(verb: str, capture: Callable[..., Output]) -> None:
    output = capture(lambda: call([*filter(None, [verb]), "--help"]))
    both = output.check()
    assert output.code == 0
    assert {c for c in both if not c.isascii()} <= set("µ–…θ≥")
    if verb == "run":
        assert "out:v:0,4-7" in both


def test_an_unknown_verb(capture: Callable[..., Output]) -> None:
    assert capture(lambda: call([f"x{EVIL}"])).check(
        "No such command 'x[red]x[link=http:y] :smile:"
    )


@pytest.mark.parametrize("capture", [(False, WIDE)], ids=["pipe"], indirect=True)
def test_names_that_are_not_utf8(
    files: Files, tmp_path: Path, capture: Callable[..., Output]
) -> None:
    """Files whose names are not valid UTF-8 can still be read, written and named."""
    data, graph, page = (tmp_path / f"{EVIL}.{suffix}" for suffix in ("npz", "nir", "html"))
    shutil.copy(files.data, data)
    for command, made, expected in (
        (["export", files.checkpoint, "-o", graph], graph, graph),
        (["inspect", graph], None, graph),
        (["run", graph, "--data", data], None, graph),
        (["diagnose", files.checkpoint, "--data", data, "-T", "1", "-o", page], page, page),
    ):
        for end in ((), ("--json",)):
            output = capture(lambda command=command, end=end: call([*map(str, command), *end]))
            output.check(*([] if end else [str(expected)]))
            assert output.code == 0
            assert made is None or made.is_file()
            if end and made is not None:
                assert str(made) in strings(json.loads(output.out.text))
    page.read_text("utf-8")


def test_a_standard_output_without_unicode(files: Files) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [
        sys.executable,
        "-c",
        "from spikeport.cli import main; main()",
        "inspect",
        str(files.chip),
    ]
    done = subprocess.run(command, env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"[red]x[link=http:y]" in done.stdout


# Tables and pages


def tailed(data: Any, tail: str) -> Any:
    """`data` with `tail` at the end of every string in it: names, keys, notes, everything."""
    match data:
        case Enum() | None | bool() | int() | float() | np.ndarray():
            return data
        case str():
            return data + tail
        case dict():
            return {tailed(key, tail): tailed(value, tail) for key, value in data.items()}
        case list() | tuple():
            return type(data)(tailed(item, tail) for item in data)
    assert dataclasses.is_dataclass(data), type(data)
    values = {f.name: tailed(getattr(data, f.name), tail) for f in dataclasses.fields(data)}
    return dataclasses.replace(data, **values)  # type: ignore[type-var]


def core_map() -> Any:
    """A map of populations whose names break the naming rules."""
    made = map_network(load_network_of_cases(), "loihi2")
    pieces = (dataclasses.replace(one, population=one.population + EVIL) for one in made.pieces)
    return dataclasses.replace(made, pieces=tuple(pieces))


def diagnosis() -> Any:
    from spikeport.parity import accuracy
    from spikeport.trainer.diagnosis import Diagnosis, GradientAgreement
    from spikeport.trainer.diagnosis.diagnosis import LayerActivity
    from spikeport.trainer.diagnosis.independence import Independence
    from spikeport.trainer.diagnosis.shuffle import ShuffleTest
    from spikeport.trainer.rules import GradientRule

    reached = accuracy(7, 8)
    return Diagnosis(
        steps=2,
        rule=GradientRule.RATE_M,
        shuffle=ShuffleTest(reached, reached, reached),
        probed=8,
        activity=tuple(LayerActivity(name, 0.5, 0.1, (0.5, 0.25, 0.25)) for name in ("a", "b")),
        agreement=tuple(
            GradientAgreement(n, k, 2, 0.9, 1.1) for k, n in enumerate(("all", "a", "b"))
        ),
        independence=tuple(Independence(name, "neurons", 0.1, 0.9) for name in ("a", "b")),
    )


def points() -> list[Any]:
    from spikeport.energy import Interval
    from spikeport.parity import accuracy
    from spikeport.trainer.pareto import ParetoPoint

    made: dict[str, Any] = {
        "budget_uj": 5.0, "accuracy": accuracy(7, 8), "spikes": 1.0, "synaptic_events": 2.0,
        "energy_uj": Interval(1.0, 2.0, 3.0), "checkpoint": EVIL,
    }  # fmt: skip
    return [ParetoPoint(**made)]


def by_method() -> MethodEstimate:
    network = load_network_of_cases()
    return estimate_by_method(network, assumed_counts(network, 0.1), "lemaire2022")


def counts() -> EventCounts:
    return EventCounts(
        samples=1, steps=1, spikes={"a": 1}, visits={"a": 1}, updates={"a": 1},
        input_events={"i": 1}, messages={"c": 1}, synaptic_events={"c": 1},
        synaptic_events_all={"c": 1},
    )  # fmt: skip


def compared() -> Any:
    from spikeport.traces import Divergence, TraceComparison
    from spikeport.traces.comparison import Moment, Total

    first = Divergence("a", (3, 1, 0), 5, 7, "spikes", (0.0, 1.0), 10)
    moment = Moment(0, {"u": (1.0, 2.0)})
    return TraceComparison(1, 1, first, (moment,), (Total("a", "u", 3, 1),), ("u of b",))


def gate() -> Gate:
    case = GateCase(EVIL, GateOutcome.FAILED, EVIL, EVIL, EVIL)
    return Gate((GateSuite(EVIL, EVIL, EVIL, EVIL, 1, 0.0, (case,)),))


def sweep() -> list[dict[str, Any]]:
    rate = {"accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6}
    numbers = {"spikes": 1.0, "synaptic_events": 2.0, "energy_pj": {"low": 1.0, "high": 2.0}}
    return [{"network": EVIL, **rate, **numbers}]


def backend_rows() -> list[dict[str, Any]]:
    row = dict.fromkeys(("name", "what", "takes", "reason", "fix"), EVIL)
    return [
        {**row, "version": "", "limitations": [EVIL]},
        {**row, "version": EVIL, "limitations": []},
    ]


def small_network(tail: str) -> Any:
    """Parts whose names break the naming rules, which no network allows today."""
    network = load_network_of_cases()
    found = {part.name: part.name + tail for part in (*network.inputs, *network.populations)}
    renamed = type("Network", (), {})()
    renamed.order = [found[name] for name in network.order]
    renamed.by_name = {found[name]: part for name, part in network.by_name.items()}
    renamed.connections = [
        dataclasses.replace(part, source=found[part.source], target=found[part.target])
        for part in network.connections
    ]
    renamed.weighted_connections = weighted_among(renamed.connections)
    return renamed


def load_network_of_cases() -> Any:
    from spikeport.network import Dense, DeployedNetwork, Input, Population, Readout

    return DeployedNetwork(
        (Input("x", (4,)),), (Population("p", (3,), vth=1),),
        (Dense("x", "p", np.ones((3, 4), np.int16)),), (Readout("p"),), steps=2,
    )  # fmt: skip


def all_unsupported(tail: str) -> Any:
    gap = UnsupportedFeature(
        "population 'a'", "delay", "many", "few", "shorten it", "source", stops=True, verified=False
    )
    return tailed(TargetCheck("t", (gap, dataclasses.replace(gap, stops=False))), tail)


def layer_errors(name: str) -> tuple[LayerErrors, ...]:
    tally = ErrorTally(name, [2], 1.0, 0.5)
    tally.add(np.ones((1, 1, 1)), np.ones((2, 1, 1)), np.ones((1, 1)))
    return tally.errors()


def conversion_result() -> Any:
    from spikeport.trainer.conversion import Conversion, ConversionConfig, TunedThreshold
    from spikeport.trainer.conversion.result import ConversionResult

    nothing: Any = None
    tuned = (TunedThreshold(EVIL, 1.0, 0.9, 0.1, 0.2),)
    made = Conversion(nothing, nothing, ConversionConfig(), nothing, tuned=tuned)
    return ConversionResult(made, 0.5, 0.5, 4, layer_errors(EVIL))


def conversions(tail: str, count: int) -> ConversionDiagnosis:
    """Networks with a layer that the ANN has, one that it does not have, and an inactive one."""
    from spikeport.parity import accuracy

    (compared,) = layer_errors(f"a{tail}")
    alone = dataclasses.replace(compared, layer=f"b{tail}", total=None, reference=None)
    silent = dataclasses.replace(compared, layer=f"c{tail}", activation=0.0)
    networks = tuple(
        NetworkErrors(f"n{place}{tail}", 2, (compared, alone, silent), {2: accuracy(1, 2)})
        for place in range(count)
    )
    return ConversionDiagnosis((2,), 2, 2, accuracy(1, 2), networks)


TABLES: dict[str, Callable[[], Any]] = {
    "_convert._layers": lambda: _convert._layers(conversion_result()),
    "_tables.layers_table": lambda: _tables.layers_table(EVIL, layer_errors(EVIL), {EVIL: 1.0}),
    "_conversion.conversion_tables": lambda: screen.stack(
        *_conversion.conversion_tables(conversions(EVIL, 1), {EVIL: {EVIL: EVIL}})
    ),
    "_conversion.summary_table": lambda: _conversion.summary_table(conversions(EVIL, 2)),
    "terminal.render_terminal": lambda: render_terminal(
        tailed(broken(), EVIL), {EVIL: tailed(estimate(), EVIL)}
    ),
    "terminal.render_section": lambda: render_section(tailed(quantization(), EVIL)),
    "terminal.render_verdict": lambda: render_verdict(
        document_of(tailed(broken(), EVIL), fit=Fit("chip", "Chip", (EVIL,), 0)).verdict
    ),
    "_map.populations_table": lambda: _map.populations_table(core_map()),
    "_map.cores_table": lambda: _map.cores_table(core_map()),
    "_judge._schedule": lambda: screen.stack(*_judge._schedule({EVIL: EVIL})),
    "terminal._ladder": lambda: terminal._ladder(tailed(ladder(), EVIL), 80),
    "terminal._spikes": lambda: terminal._spikes(tailed(ladder(), EVIL)),
    "energy_tables.render_energy": lambda: energy_tables.render_energy(
        EVIL, tailed(estimate(), EVIL), details=True
    ),
    "energy_tables.render_methods": lambda: energy_tables.render_methods(
        [tailed(by_method(), EVIL)]
    ),
    "energy_tables._details": lambda: screen.stack(
        *energy_tables._details(tailed(estimate(), EVIL))
    ),
    "energy_tables._levels": lambda: energy_tables._levels(EVIL),
    "energy_tables._terms": lambda: energy_tables._terms(tailed(estimate(), EVIL)),
    "energy_tables._quantities": lambda: energy_tables._quantities(tailed(estimate(), EVIL)),
    "energy_tables._layers": lambda: energy_tables._layers(tailed(estimate(), EVIL)),
    "energy_tables._devices": lambda: energy_tables._devices(tailed(estimate(), EVIL)),
    "energy_tables._notes": lambda: energy_tables._notes(tailed(estimate(), EVIL)),
    "_tables.facts_table": lambda: _tables.facts_table(EVIL, {f"{EVIL}_": EVIL}),
    "_tables.counts_table": lambda: _tables.counts_table(tailed(counts(), EVIL)),
    "_tables.populations_tables": lambda: screen.stack(
        *_tables.populations_tables(small_network(EVIL))
    ),
    "_tables.connections_table": lambda: _tables.connections_table(small_network(EVIL)),
    "_tables.backends_table": lambda: _tables.backends_table(backend_rows()),
    "_tables.limitations_table": lambda: _tables.limitations_table(backend_rows()),
    "_check._tables": lambda: screen.stack(*_check._tables((all_unsupported(EVIL),))),
    "_tables.unsupported_table": lambda: _tables.unsupported_table(all_unsupported(EVIL)),
    "_tables.fidelity_table": lambda: _tables.fidelity_table(read_elsewhere()),
    "_tables.readers_table": lambda: _tables.readers_table([read_elsewhere()]),
    "_sweep.sweep_table": lambda: _sweep.sweep_table(sweep()),
    "_foreign.origin_tables": lambda: screen.stack(
        *_foreign.origin_tables(load_network_of_cases().replace(provenance={"source": EVIL}))
    ),
    "_judge._comparison_table": lambda: _judge._comparison_table(
        Comparison(tailed(ladder(), EVIL).rows)
    ),
    "_tables.gate_table": lambda: _tables.gate_table(gate()),
    "_front._table": lambda: screen.stack(_front._table(points()), EVIL),
    "_diagnose._tables": lambda: screen.stack(*_diagnose._tables(tailed(diagnosis(), EVIL))),
    "_traces.comparison_tables": lambda: screen.stack(
        *_traces.comparison_tables(tailed(compared(), EVIL), EVIL, EVIL)
    ),
    "_traces._heading": lambda: _traces._heading(EVIL),
    "_traces._context_table": lambda: _traces._context_table(tailed(compared(), EVIL)),
    "screen.plain": lambda: screen.plain(EVIL, "bold"),
    "screen.assemble": lambda: screen.assemble(EVIL, (EVIL, "bold"), style="red"),
    "screen.lines": lambda: screen.lines([EVIL, screen.plain(EVIL)]),
    "screen.stack": lambda: screen.stack(EVIL),
    "screen._text": lambda: screen._text(EVIL),
}


def read_elsewhere() -> Portability:
    finding = Finding(Fidelity.UNSUPPORTED, EVIL, EVIL)
    return Portability(EVIL, EVIL, EVIL, (NodeFidelity(EVIL, EVIL, (finding,)),))


def table_functions() -> Iterator[str]:
    """Every function of the command line and the report that gives something to print."""
    for path in (*(ROOT / "report").glob("*.py"), *(ROOT / "cli").glob("*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.returns is not None:
                kind = ast.unparse(node.returns)
                if re.search(r"\b(Table|Text|Renderable|RenderableType)\b", kind):
                    yield f"{path.stem}.{node.name}"


def test_every_table_has_a_case() -> None:
    assert set(TABLES) == set(table_functions())


@pytest.mark.parametrize("name", TABLES)
def test_every_table_holds_text(name: str, capture: Callable[..., Output]) -> None:
    capture(lambda: screen.show(TABLES[name]())).check(EVIL)


def test_tables_of_any_kind_and_bars_hold_text(capture: Callable[..., Output]) -> None:
    def table(**options: bool) -> screen.Table:
        made = screen.Table(EVIL, **options)
        made.add_column(EVIL, justify="right", style="bold")
        made.add_column(screen.plain(EVIL), no_wrap=True, max_width=12)
        made.add_row(EVIL, screen.plain(EVIL), style="red")
        return made

    def show() -> None:
        screen.show(table(), table(framed=False, tight=True), table(header=False), EVIL)
        with screen.progress(EVIL) as update:
            update(EVIL, 1, 2)

    output = capture(show)
    output.check(EVIL)
    assert (shown(EVIL)[:20] in output.err.text) is output.tty


def test_a_long_text_on_the_screen_is_cut_with_its_length(capture: Callable[..., Output]) -> None:
    long = "a" * (screen.LONGEST_CELL + 1)
    both = capture(lambda: screen.show(long)).check()
    assert "(10,001 characters)" in both


class Page(HTMLParser):
    """A page as a list of its tags, attributes, texts and whatever else stands in it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.events: list[tuple[Any, ...]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.events.append(("start", tag, tuple(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.events.append(("end", tag))

    def handle_data(self, data: str) -> None:
        self.events.append(("text", data))

    def handle_comment(self, data: str) -> None:
        self.events.append(("comment", data))

    def handle_decl(self, decl: str) -> None:
        self.events.append(("declaration", decl))

    def handle_pi(self, data: str) -> None:
        self.events.append(("instruction", data))

    def unknown_decl(self, data: str) -> None:
        self.events.append(("unknown", data))


def parity_page(tail: str) -> str:
    report: ParityReport = tailed(broken(), tail)
    priced = with_urls(tailed(estimate(), tail), "https://a.example/")
    document = document_of(
        report,
        {f"native{tail}": priced},
        [tailed(quantization(), tail), figured(tail)],
        fit=Fit(f"chip{tail}", f"Chip{tail}", (f"part{tail}: feature{tail}",), 1),
        network={f"fact{tail}": f"value{tail}"},
        data={"name": f"data{tail}"},
    )
    return render_html(document, title=f"title{tail}")


def conversion_page(count: int) -> Callable[[str], str]:
    def page(tail: str) -> str:
        facts = {f"fact{tail}": f"value{tail}"}
        return render_conversions(conversions(tail, count), facts, {f"n0{tail}": facts})

    return page


def diagnosis_page(tail: str) -> str:
    return render_diagnosis(tailed(diagnosis(), tail), {f"fact{tail}": f"value{tail}"})


PAGES: dict[str, Callable[[str], str]] = {
    "page.html.j2": parity_page,
    "diagnosis.html.j2": diagnosis_page,
    "conversion_errors.html.j2": conversion_page(1),
    "conversion_errors.html.j2 of several networks": conversion_page(2),
}


def test_every_page_has_a_case() -> None:
    found = {
        path.name for path in (ROOT / "report").glob("*.j2") if "<!doctype" in path.read_text()
    }
    assert {name.partition(" ")[0] for name in PAGES} == found


@pytest.mark.parametrize("name", PAGES)
def test_names_change_only_the_text_of_a_page(name: str) -> None:
    """The page with hostile names equals the one with harmless names, except for their text."""
    harmless, evil = PAGES[name](HARMLESS), PAGES[name](EVIL)
    evil.encode("utf-8")
    assert [line for line in evil.split("\n") if shown(line) != line] == []
    swapped = [swap(event) for event in Page(harmless).events]
    assert Page(evil).events == swapped
    assert sum(HARMLESS in str(event) for event in Page(harmless).events) > 20


def swap(part: Any) -> Any:
    if isinstance(part, tuple):
        return tuple(map(swap, part))
    return part.replace(HARMLESS, shown(EVIL)) if isinstance(part, str) else part


@pytest.mark.parametrize(
    ("url", "links"), [("https://a.example/", True), ("javascript:alert(1)", False), ("", False)]
)
def test_only_web_addresses_become_links(url: str, links: bool) -> None:
    found = estimate()
    profile: HardwareProfile = with_urls(found.profile, url)
    page = Page(
        render_html(document_of(ladder(), {"e": dataclasses.replace(found, profile=profile)}))
    )
    hrefs = [value for _, _, attrs in starts(page) for key, value in attrs if key == "href"]
    assert {value for value in hrefs if not value.startswith("#")} == ({url} if links else set())
    assert links or url in "".join(event[1] for event in page.events if event[0] == "text")


def starts(page: Page) -> list[tuple[Any, ...]]:
    return [event for event in page.events if event[0] == "start"]


def with_urls(data: Any, url: str) -> Any:
    """`data` with every field called url changed."""
    if isinstance(data, dict):
        return {key: with_urls(value, url) for key, value in data.items()}
    if not dataclasses.is_dataclass(data) or isinstance(data, type):
        return data
    values = {f.name: with_urls(getattr(data, f.name), url) for f in dataclasses.fields(data)}
    return dataclasses.replace(data, **(values | ({"url": url} if "url" in values else {})))


def test_the_picture_of_a_front_is_xml_that_shows_its_title() -> None:
    picture = draw_pareto_front([point.as_dict() for point in points()], EVIL)
    root = ElementTree.fromstring(picture)
    assert {element.tag.rpartition("}")[2] for element in root.iter()} <= {
        *("svg", "rect", "text", "line", "polyline", "circle")
    }
    texts = [element.text or "" for element in root.iter() if element.tag.endswith("text")]
    assert any(shown(EVIL[:50]) in text for text in texts)
