"""`compare` as a gate: every limit, the files it writes, and the page that describes it."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import re
import shlex
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import spikeport
from spikeport import (
    Coding,
    Comparison,
    Dense,
    DeployedNetwork,
    Gate,
    GateCase,
    GateOutcome,
    GateSuite,
    Input,
    InputError,
    Population,
    Readout,
    Run,
    Tolerances,
    load_tolerances,
    save_network,
)
from spikeport.report.junit import render_junit
from spikeport.report.markdown import render_gate
from tests.helpers.command import Spikeport, call, one_line
from tests.helpers.pages import page, table
from tests.helpers.quantize_networks import affine, chain, integrate_and_fire, spikes_in

RNG = np.random.default_rng(3)
X = RNG.integers(0, 2, (8, 6))
LABELS = np.array([0, 1, 0, 0, 0, 1, 2, 0])
EVIL = "a\x00b\x1b[31m\ud800\ufffe]]><&\"' \n|`$x$"


def deployed(weight: int = 4, vth: int = 8, neurons: int = 3) -> DeployedNetwork:
    matrix = np.random.default_rng(1).integers(-1, 4, (neurons, 6)).astype(np.int16) * 2
    matrix[0] = weight
    return DeployedNetwork(
        (Input("x", (6,), Coding.SPIKES),),
        (Population("out", (neurons,), vth=vth, decay_v=1024),),
        (Dense("x", "out", matrix),),
        (Readout("out"),),
        steps=5,
    )


def on_images(seed: int, vth: int = 500) -> DeployedNetwork:
    weights = np.random.default_rng(seed).integers(-20, 30, (3, 16)) * 2
    return DeployedNetwork(
        (Input("x", (1, 4, 4)),),
        (Population("out", (3,), vth=vth, decay_v=512),),
        (Dense("x", "out", weights.astype(np.int16)),),
        (Readout("out"),),
        steps=8,
    )


def compare(
    tolerances: Tolerances,
    network: DeployedNetwork | None = None,
    other: DeployedNetwork | None = None,
    **options: Any,
) -> Gate:
    backends = ["native", "reference"] if other is None else ["native"]
    others = None if other is None else {"b": other}
    found = spikeport.compare_backends(
        network or deployed(), X, LABELS, backends, others=others, tolerances=tolerances, **options
    )
    assert found.gate is not None
    assert found.problem == found.gate.problem
    return found.gate


def case(gate: Gate, name: str, suite: int = -1) -> GateCase:
    (found,) = (one for one in gate.suites[suite].cases if one.name == name)
    return found


def outcomes(gate: Gate) -> dict[str, str]:
    return {one.name: str(one.outcome) for one in gate.suites[-1].cases}


def test_equal_runs_pass_with_nothing_tolerated() -> None:
    gate = compare(Tolerances(), trace=True)
    assert gate.passed
    assert [suite.name for suite in gate.suites] == ["native", "reference against native"]
    assert outcomes(gate) == dict.fromkeys(
        (
            *("network", "differing spikes", "score difference", "event counts"),
            *("difference of u", "difference of v", "spikes"),
        ),
        "passed",
    )
    assert json.loads(json.dumps(gate.as_dict()))["counts"]["passed"] == 8
    assert gate.summary == "8 checks passed"


@pytest.fixture(scope="module")
def pair() -> tuple[Run, Run]:
    return tuple(
        spikeport.run("native", deployed(weight), X, record=("spikes", "u", "v"))
        for weight in (4, 1)
    )  # type: ignore[return-value]


def measured(pair: tuple[Run, Run]) -> dict[str, float]:
    """The differences of the two runs, from their arrays."""
    one, other = pair
    assert one.trace is not None
    assert other.trace is not None
    spikes = np.count_nonzero(one.trace.spikes["out"] != other.trace.spikes["out"])
    right = [(run.predictions == LABELS).mean() for run in pair]
    gaps = {
        name: np.abs(one.trace[name]["out"].astype(int) - other.trace[name]["out"]).max()
        for name in ("u", "v")
    }
    return {
        "differing spikes": spikes,
        "share of differing spikes": spikes / one.trace.spikes["out"].sum(),
        "score difference": np.abs(one.scores["out"] - other.scores["out"]).max(),
        "agreement": (one.predictions == other.predictions).mean(),
        "accuracy": right[1],
        "accuracy loss": 100 * (right[0] - right[1]),
        "difference of u": gaps["u"],
        "difference of v": gaps["v"],
    }


LIMITS: Mapping[str, Callable[[float], dict[str, Any]]] = {
    "differing spikes": lambda x: {"max_differing_spikes": int(x)},
    "share of differing spikes": lambda x: {"max_differing_spike_share": min(x, 1)},
    "score difference": lambda x: {"max_score_difference": x},
    "agreement": lambda x: {"min_agreement": min(x, 1)},
    "accuracy": lambda x: {"min_accuracy": min(x, 1)},
    "accuracy loss": lambda x: {"max_accuracy_loss_points": min(x, 100)},
    "difference of u": lambda x: {"max_state_difference": {"u": x}},
    "difference of v": lambda x: {"max_state_difference": {"v": x}},
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_holds_at_the_value_and_fails_beyond_it(name: str, pair: tuple[Run, Run]) -> None:
    value = float(measured(pair)[name])
    least = name in ("agreement", "accuracy")
    step = 1 if name == "differing spikes" else 1e-9
    for offset, fails in ((0, False), (step, least), (-step, not least)):
        if not 0 <= value + offset <= (1 if least else np.inf):
            assert offset  # the value itself is a valid limit
            continue
        tolerances = Tolerances(different_network=True, **LIMITS[name](value + offset))
        gate = compare(tolerances, other=deployed(1), trace="difference" in name)
        found = case(gate, name)
        assert found.failed == fails, found
        assert gate.passed != fails
        if not least and not fails and value:
            assert found.outcome is GateOutcome.TOLERATED


def test_without_limits_another_network_is_shown_in_full(pair: tuple[Run, Run]) -> None:
    gate = compare(Tolerances(different_network=True), other=deployed(1), trace=True)
    assert gate.passed
    wanted = measured(pair)
    for name in ("differing spikes", "score difference", "difference of u", "difference of v"):
        found = case(gate, name)
        assert (found.outcome, found.limit) == (GateOutcome.TOLERATED, "")
        assert float(found.value) == wanted[name] > 0
    assert case(gate, "network").outcome is GateOutcome.TOLERATED
    assert gate.summary.endswith("checks passed, 5 tolerated")


def test_another_network_fails_unless_it_is_allowed() -> None:
    gate = compare(Tolerances(), other=deployed(1))
    assert outcomes(gate) == {
        **dict.fromkeys(("network", "differing spikes", "score difference"), "FAILED"),
        "event counts": "FAILED",
        "spikes": "passed",
    }
    first, second = deployed().content_hash[:12], deployed(1).content_hash[:12]
    assert gate.problem == (
        f"4 of 6 checks failed; native, b against native: network: {second} against {first}, "
        "limit the same"
    )
    assert case(gate, "differing spikes").details.startswith("first at sample ")


def test_populations_that_cannot_be_compared_break_a_limit_only_if_there_is_one() -> None:
    tolerances = Tolerances(different_network=True)
    gate = compare(tolerances, other=deployed(neurons=4))
    assert gate.passed
    assert case(gate, "differing spikes").value == "cannot be compared"
    limited = dataclasses.replace(tolerances, max_differing_spikes=9, max_score_difference=9)
    gate = compare(limited, other=deployed(neurons=4))
    assert case(gate, "differing spikes").failed
    assert case(gate, "score difference").failed


def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference changes one spike, one v and one score."""
    honest: Callable[..., Run] = spikeport.run

    def run(name: str, *arguments: Any, **options: Any) -> Run:
        done = honest(name, *arguments, **options)
        if name == "native" or done.trace is None or done.counts is None:
            return done
        spikes, scores = done.trace.spikes["out"].copy(), done.scores["out"].copy()
        spikes[2, 1, 0] ^= 1
        scores[1, 0] += 2
        counts = dataclasses.replace(done.counts, spikes={"out": done.counts.spikes["out"] + 1})
        trace = dataclasses.replace(done.trace, spikes={"out": spikes})
        return dataclasses.replace(done, trace=trace, scores={"out": scores}, counts=counts)

    monkeypatch.setattr("spikeport.workflow.comparison.run_backend", run)


def test_what_is_tolerated_between_backends_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch)
    assert outcomes(compare(Tolerances())) == {
        **dict.fromkeys(("differing spikes", "score difference", "event counts"), "FAILED"),
        **dict.fromkeys(("network", "spikes"), "passed"),
    }
    gate = compare(Tolerances(max_differing_spikes=1))
    assert gate.passed
    assert [str(one) for one in gate.suites[1].cases][1:4] == [
        "differing spikes: 1, limit 1; "
        f"first at {case(gate, 'differing spikes').details.removeprefix('first at ')}",
        "score difference: 2",
        "event counts: spikes differ",
    ]
    assert outcomes(gate)["event counts"] == "tolerated"
    assert not compare(Tolerances(max_differing_spikes=1, max_score_difference=1)).passed


def test_a_silent_network_proves_nothing() -> None:
    silent = deployed(vth=10_000)
    gate = compare(Tolerances(min_agreement=1), silent)
    assert [one.name for one in gate.suites[1].cases if one.failed] == ["agreement", "spikes"]
    assert gate.problem == (
        "3 of 7 checks failed; native: spikes: 0, limit at least 1; no neuron fires, so that "
        "equality proves nothing"
    )
    gate = compare(Tolerances(min_agreement=1, allow_silent=True), silent)
    assert gate.passed
    assert gate.counts()["inconclusive"] == 3


def test_energy_latency_cores_and_fit_are_those_of_the_verbs() -> None:
    network = deployed()
    counts = spikeport.run("native", network, X).counts
    assert counts is not None
    profile = spikeport.load_profile("loihi1")
    estimate = spikeport.estimate_energy(network, counts, profile)
    energy = estimate.total_per_sample.high / 1e6
    time = estimate.time_ns.nominal / len(X) / 1e3
    cores = len(spikeport.map_network(network, "loihi1").cores)
    given: dict[str, Any] = {
        "max_energy_high_uj": energy, "max_latency_nominal_us": time, "fits": ["loihi1"],
        "max_cores": {"loihi1": cores},
    }  # fmt: skip
    names = "high energy", "nominal latency", "fits loihi1", "cores of loihi1"
    gate = compare(Tolerances(**given), network)
    assert gate.passed
    assert {one.name for one in gate.suites[0].cases} == {*names, "spikes"}
    assert case(gate, "high energy", 0).value == f"{energy:.6g} µJ"
    for key, less in (
        ("max_energy_high_uj", energy * 0.999),
        ("max_latency_nominal_us", time * 0.999),
        ("max_cores", {"loihi1": cores - 1}),
    ):
        assert not compare(Tolerances(**{**given, key: less}), network).passed
    mapped = spikeport.workflow.estimate_mapped_energy(network, counts, profile)
    tolerances = Tolerances(max_energy_nominal_uj=1, energy_mapped=True)
    value = case(compare(tolerances, network), "nominal energy", 0).value
    assert value == f"{mapped.total_per_sample.nominal / 1e6:.6g} µJ"


def test_what_a_chip_cannot_run_fails_with_the_reason() -> None:
    graded = deployed().replace(inputs=(Input("x", (6,), Coding.GRADED, 0, 255),))
    gate = compare(Tolerances(fits=("loihi1", "native")), graded)
    assert case(gate, "fits loihi1", 0).failed
    assert case(gate, "fits native", 0).outcome is GateOutcome.PASSED
    assert "graded" in case(gate, "fits loihi1", 0).details


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_state_difference": {"v": 1}}, "'max_state_difference' needs traces (--trace)"),
        (
            {"fits": ["loihi7"]},
            "target 'loihi7' is unknown, must be one of native, cuda, reference",
        ),
        ({"energy_profile": "gone"}, "profile 'gone'"),
        ({"max_cores": {"native": 3}}, "target 'native' is unknown"),
    ],
)
def test_what_cannot_be_measured_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        compare(Tolerances(**given))


WRONG: list[tuple[str, str]] = [
    ("max_differing_spike = 1",
     "unknown key 'max_differing_spike'; did you mean 'max_differing_spikes'?"),
    ("max_differing_spikes = 1.5",
     "'max_differing_spikes' is 1.5, must be an integer of at least 0"),
    ("max_differing_spikes = true",
     "'max_differing_spikes' is True, must be an integer of at least 0"),
    ("min_accuracy = 97", "'min_accuracy' is 97, must be a share, a number in 0..1"),
    ("min_accuracy = nan", "'min_accuracy' is nan, must be a share, a number in 0..1"),
    ("max_score_difference = inf",
     "'max_score_difference' is inf, must be a finite number of at least 0"),
    ("max_accuracy_loss_points = 101",
     "'max_accuracy_loss_points' is 101, must be percentage points, a number in 0..100"),
    ("different_network = 1", "'different_network' is 1, must be true or false"),
    ("fits = 'loihi2'", "'fits' is 'loihi2', must be a list of names"),
    ("energy_profile = ''", "'energy_profile' is '', must be a name"),
    ("max_state_difference = 1",
     "'max_state_difference' is 1, must be a table of variables, such as { v = 1 }"),
    ("max_state_difference = { w = 1 }",
     "'max_state_difference': unknown variable 'w', must be one of u, v, theta, r"),
    ("max_cores = { loihi2 = -1 }",
     "'max_cores': 'loihi2' is -1, must be an integer of at least 0"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_tolerances_are_read_strictly(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "gate.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_tolerances(path)
    assert str(caught.value) == f"tolerances '{path}': {message}"


def test_tolerances_from_python_are_checked_alike() -> None:
    with pytest.raises(InputError, match=r"^tolerances: 'min_accuracy' is 97, must be a share"):
        Tolerances(min_accuracy=97)
    assert Tolerances(fits=["a", "a"]).fits == ("a",)  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [None, b"\xff", b"a = ", b"a" * 100])
def test_tolerances_that_cannot_be_read(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "gate.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"^tolerances '{re.escape(str(path))}': "):
        load_tolerances(path)


# The form of junit-10.xsd of Jenkins' xUnit plugin: attributes, the required ones, and children.
FORM: dict[str, tuple[set[str], set[str], set[str]]] = {
    "testsuites": ({"name", "time", "tests", "failures", "errors"}, set(), {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "time", "skipped"},
        {"name", "tests", "failures", "errors"},
        {"properties", "testcase"},
    ),
    "properties": (set(), set(), {"property"}),
    "property": ({"name", "value"}, {"name", "value"}, set()),
    "testcase": ({"name", "classname"}, {"name"}, {"failure", "skipped", "system-out"}),
    "failure": ({"type", "message"}, set(), set()),
    "skipped": ({"type", "message"}, set(), set()),
    "system-out": (set(), set(), set()),
}
TIME = re.compile(r"(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\.[0-9]*)?")


def check_form(element: Element) -> None:
    allowed, required, children = FORM[element.tag]
    assert required <= set(element.attrib) <= allowed
    assert TIME.fullmatch(element.get("time", "0"))
    for child in element:
        assert child.tag in children
        check_form(child)


TEXTS = st.text(max_size=20)
CASES = st.builds(GateCase, TEXTS, st.sampled_from(GateOutcome), TEXTS, TEXTS, TEXTS)
SUITES = st.builds(
    GateSuite, TEXTS, TEXTS, TEXTS, TEXTS, st.integers(0), st.floats(0, 1e6),
    st.lists(CASES, max_size=4).map(tuple),
)  # fmt: skip
HOSTILE = GateCase(EVIL, GateOutcome.FAILED, EVIL, EVIL, EVIL)


@example([GateSuite(EVIL, EVIL, EVIL, EVIL, 1, 0.5, (HOSTILE,))], {EVIL: EVIL})
@given(st.lists(SUITES, max_size=3), st.dictionaries(TEXTS, TEXTS, max_size=2))
def test_any_gate_is_legal_xml_of_the_form(
    suites: list[GateSuite], properties: dict[str, str]
) -> None:
    root = ElementTree.fromstring(render_junit(Gate(tuple(suites)), properties))
    check_form(root)
    cases = [one for suite in suites for one in suite.cases]
    assert root.get("tests") == str(len(cases))
    assert root.get("failures") == str(len(root.findall(".//failure")))
    assert len(root.findall(".//failure")) == sum(one.failed for one in cases)
    assert len(root.findall(".//skipped")) == sum(
        one.outcome is GateOutcome.INCONCLUSIVE for one in cases
    )


def test_hostile_names_stay_in_their_cells_of_markdown() -> None:
    text = render_gate(Gate((GateSuite(EVIL, EVIL, EVIL, EVIL, 1, 0.5, (HOSTILE,)),)))
    heading, empty, *rows = text.splitlines()
    assert heading == "## ✗ Spikeport gate: 1 of 1 checks failed"
    assert not empty
    assert {row.count("|") for row in rows} == {7}
    assert not set("\x00\x1b<>`$") & set(text)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network and data that give it no reason to fail."""
    made = tmp_path_factory.mktemp("gate")
    network = on_images(1)
    spikeport.save_network(network, made / "network.spikeport")
    spikeport.save_network(on_images(2), made / "other.spikeport")
    x = np.random.default_rng(4).integers(0, 2, (40, 4, 4)).astype(np.uint8) * 255
    encoded = spikeport.encode_samples(network.inputs, network.steps, x[:, None] / 255)
    y = spikeport.run("native", network, encoded).predictions
    np.savez(made / "test.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    return made


def test_the_verb_writes_files_and_exits_with_the_result(
    place: Path, tmp_path: Path, spikeport: Spikeport
) -> None:
    limits, xml, text = (tmp_path / name for name in ("gate.toml", "r.xml", "r.md"))
    limits.write_text("min_accuracy = 1\nmax_state_difference = { v = 0 }\n")
    command = ["compare", place / "network.spikeport", "--data", place / "test.npz"]
    written = ["--junit", xml, "--markdown", text]
    code, out, err = spikeport(*command, "--tolerances", limits, "--trace", *written)
    assert (code, err) == (0, "")
    assert "Gate: 10 checks passed" in out
    root = ElementTree.parse(xml).getroot()
    check_form(root)
    stated = {one.get("name"): one.get("value") for one in root[0].iter("property")}
    assert stated["network"] == on_images(1).content_hash
    assert len(stated["sha256 of gate.toml"] or "") == 64
    assert stated["sha256 of network.spikeport"] != stated["sha256 of test.npz"]
    assert text.read_text().startswith("## ✓ Spikeport gate: 10 checks passed\n")

    command.insert(2, place / "other.spikeport")
    code, out, err = spikeport(*command, "-b", "native", *written, "--json")
    assert code == 1
    assert one_line(err).startswith("spikeport: compare: 4 of 6 checks failed; native, other")
    assert json.loads(out)["gate"]["counts"]["FAILED"] == 4
    assert ElementTree.parse(xml).getroot().get("failures") == "4"
    assert "| FAILED |" in text.read_text()


def test_only_a_gate_fails_where_no_neuron_fires(
    place: Path, tmp_path: Path, spikeport: Spikeport
) -> None:
    silent, text = tmp_path / "silent.spikeport", tmp_path / "s.md"
    save_network(on_images(1, vth=131071), silent)
    command = ["compare", silent, "--data", place / "test.npz"]
    code, out, _ = spikeport(*command)
    assert code == 0
    assert "no neuron fires: inconclusive" in out
    assert spikeport(*command, "--markdown", text)[0] == 1
    assert "no neuron fires, so that equality proves nothing" in text.read_text()


def test_files_of_one_name_are_told_apart(
    place: Path, tmp_path: Path, spikeport: Spikeport
) -> None:
    xml, second = tmp_path / "r.xml", tmp_path / "network.spikeport"
    second.write_bytes((place / "other.spikeport").read_bytes())
    first = place / "network.spikeport"
    command = ["compare", first, second, "--data", place / "test.npz", "-b", "native"]
    assert spikeport(*command, "--junit", xml)[0] == 1
    root = ElementTree.parse(xml).getroot()
    stated = {one.get("name"): one.get("value") for one in root[0].iter("property")}
    for name, path in (("network.spikeport", first), (str(second), second)):
        assert stated[f"sha256 of {name}"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_difference_that_is_allowed_is_no_failure_in_the_table(
    place: Path, tmp_path: Path, spikeport: Spikeport
) -> None:
    limits = tmp_path / "gate.toml"
    limits.write_text("different_network = true\nmax_differing_spikes = 100000\n")
    files = place / "network.spikeport", place / "other.spikeport"
    command = ["compare", *files, "-b", "native", "--data", place / "test.npz"]
    code, out, err = spikeport(*command, "--tolerances", limits)
    assert (code, err) == (0, "")
    assert "FAILED" not in out
    assert "tolerated" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tolerances", "GONE"], "tolerances 'GONE': cannot be read: [Errno 2] No such file"),
        (["--junit", "r.toml"], "--junit r.toml: suffix '.toml', must be .xml"),
        (["--markdown", "r.xml"], "--markdown r.xml: suffix '.xml', must be .md"),
        (["--junit", "NO/r.xml"], "NO/r.xml: cannot be written: No such file or directory"),
    ],
)
def test_bad_files_are_refused_before_anything_is_run(
    place: Path, spikeport: Spikeport, options: list[str], message: str
) -> None:
    code, out, err = spikeport("compare", place / "network.spikeport", *options)
    assert (code, out) == (2, "")
    assert one_line(err).startswith(f"spikeport: {message}")


def test_trace_files_have_no_gate(tmp_path: Path, spikeport: Spikeport) -> None:
    code, _, err = spikeport("compare", "--trace", "a.h5", "b.h5", "--junit", tmp_path / "r.xml")
    assert code == 2
    assert one_line(err) == (
        f"spikeport: --junit {tmp_path / 'r.xml'}: of no use for trace files; compare networks"
    )


def test_float_networks_have_limits_too() -> None:
    parts = {"fc": affine(np.eye(2)), "if": integrate_and_fire((2,))}
    network = chain(parts, spikes_in(2), steps=4)
    samples, labels = np.eye(2)[[0, 1, 1]], [0, 1, 0]

    def gate(**limits: Any) -> Gate:
        tolerances = Tolerances(**limits)
        others = {"b": network}
        found = spikeport.compare_backends(
            network, samples, labels, ["float"], others=others, tolerances=tolerances
        )
        assert found.gate is not None
        return found.gate

    found = gate(min_agreement=1)
    assert outcomes(found) == dict.fromkeys(
        ("differing spikes", "score difference", "agreement", "spikes"), "passed"
    )
    assert case(found, "differing spikes").limit == "ties only"
    assert not gate(min_accuracy=0.7).passed
    for name, limit in {"max_energy_high_uj": 1, "fits": ["native"]}.items():
        with pytest.raises(InputError, match=f"'{name}' is for deployed networks, not float"):
            gate(**{name: limit})


def test_the_page_lists_every_key() -> None:
    rows = table(page("ci.md"), "key", "limits", "if left out")
    fields = dataclasses.fields(Tolerances)
    assert [row["key"].strip("`") for row in rows] == [field.name for field in fields]
    for row, field in zip(rows, fields, strict=True):
        if field.default in (False, spikeport.energy.DEFAULT_PROFILE):
            assert row["if left out"].strip("`") == str(field.default).lower()


def test_the_workflow_of_the_page_runs(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = page("ci.md")
    (tolerances,) = re.findall(r"```toml\n(.*?)```", text, re.S)
    (written,) = re.findall(r"```yaml\n(.*?)```", text, re.S)
    yaml = importlib.import_module("yaml")
    workflow = yaml.safe_load(written)
    (job,) = workflow["jobs"].values()
    for name in ("network.spikeport", "test.npz"):
        (tmp_path / name).symlink_to(place / name)
    (tmp_path / "gate.toml").write_text(tolerances)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    ran = []
    for command in (step["run"] for step in job["steps"] if "run" in step):
        program, *arguments = shlex.split(command)
        ran.append(program)
        if program == "spikeport":
            assert call(arguments) == 0
        elif program != "pip":
            subprocess.run(["bash", "-ec", command], check=True)
    assert ran == ["pip", "spikeport", "cat"]
    assert (tmp_path / "summary.md").read_text().startswith("## ✓ Spikeport gate: ")
    (upload,) = (step for step in job["steps"] if "upload" in step.get("uses", ""))
    for name in upload["with"]["path"].split():
        assert (tmp_path / name).is_file()
    (command,) = re.findall(r"```sh\n(spikeport .*?)\n```", text, re.S)
    assert call(shlex.split(command)[1:]) == 0


def test_a_comparison_without_tolerances_has_no_gate() -> None:
    found = spikeport.compare_backends(deployed(), X, LABELS)
    assert isinstance(found, Comparison)
    assert found.gate is None
    assert "gate" not in found.as_dict()
