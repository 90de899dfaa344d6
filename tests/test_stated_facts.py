"""Facts in the tables and lists of README and docs, checked against the code."""

from __future__ import annotations

import dataclasses
import math
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import typer
from hypothesis import example, given, settings

from benchmarks import networks as benchmark
from spikeport import check, errors
from spikeport.backends import Limitation, UnsupportedFeature
from spikeport.backends.lava import supervise
from spikeport.backends.lava.backend import CHUNK_BYTES, TIMEOUT_S
from spikeport.backends.lava.connections import CONV_EXACT_SUM, CONV_FIELD_MAX
from spikeport.backends.lava.limitations import LIMITATIONS
from spikeport.backends.lava.schedule import MOST_PROCESSES
from spikeport.backends.targets import Target, load_target
from spikeport.cli._app import VERBS, app
from spikeport.ladder.stages import MOST_OUTPUTS, NEURONS
from spikeport.network import (
    LOIHI,
    ATRLIFPopulation,
    BiasInjection,
    Coding,
    Conv2d,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    Reset,
    SumPool2d,
)
from spikeport.plugins import PluginKind, plugins
from spikeport.simulators.reference import MOST_SYNAPSES
from spikeport.trainer import PUBLISHED
from spikeport.trainer.data.catalogue import NAMES
from spikeport.trainer.diagnosis.diagnosis import PROBE
from spikeport.trainer.energy.loss import AIM
from spikeport.trainer.rules import GradientRule
from tests.helpers.layout import ROOT
from tests.helpers.pages import Row, match, number, page, table
from tests.helpers.strategies import networks
from tests.helpers.target_networks import chain, dense, everything, plain

README, CHECK, LAVA = page("README.md"), page("check.md"), page("lava.md")
CHIPS = {name: load_target(one) for name, one in plugins(PluginKind.TARGET).items()}
LOIHI1, LOIHI2 = CHIPS["loihi1"], CHIPS["loihi2"]
TARGETS = {"Lava": "lava", "Loihi 1": "loihi1", "Loihi 2": "loihi2"}
UNSUPPORTED = {row["construct"]: row for row in table(CHECK, "construct", *TARGETS)}


# ------------------------------------------------------------------------------- docs/check.md


def limit(chip: Target, name: str) -> int:
    return chip.limits[name].value


def with_graded(low: int, high: int) -> DeployedNetwork:
    return plain().replace(inputs=(Input("x", (5,), Coding.GRADED, low, high),))


def with_digits() -> DeployedNetwork:
    return plain().replace(inputs=(Input("x", (5,), Coding.BINARY, 0, 255),))


def parallel(connections: int) -> DeployedNetwork:
    """One population, with so many connections from its input."""
    made = (dense("x", "a", 4, 5, name=f"c{number}") for number in range(connections))
    return plain().replace(connections=tuple(made))


def delayed() -> DeployedNetwork:
    """One population, with a connection of each delay from its input."""
    most = limit(LOIHI1, "synapse_formats_per_core")
    made = (dense("x", "a", 4, 5, name=f"c{delay}", delay=delay) for delay in range(most + 1))
    return plain().replace(connections=tuple(made))


def adaptive() -> DeployedNetwork:
    return plain().replace(populations=(ATRLIFPopulation("a", (4,), theta_0=9),))


def narrower() -> DeployedNetwork:
    return plain().replace(arithmetic=dataclasses.replace(LOIHI, name="narrow", state_bits=16))


def with_injection() -> DeployedNetwork:
    network = plain()
    return network.replace(
        inputs=(*network.inputs, Input("b", (4,), Coding.BIAS, -5, 5)),
        connections=(*network.connections, BiasInjection("b", "a")),
    )


def with_weights(value: int, exponent: int) -> DeployedNetwork:
    return plain().replace(connections=(dense("x", "a", 4, 5, value=value, exponent=exponent),))


def convolved(kernel: int = 1, *, high: int = 1, value: int = 2, **more: Any) -> DeployedNetwork:
    """A column of inputs, all of it under the kernel wherever that stands."""
    groups = more.get("groups", 1)
    weight = np.full((groups, 1, kernel, 1), value, np.int16)
    part = Conv2d("x", "a", weight, **more)
    coding = Coding.SPIKES if high == 1 else Coding.GRADED
    source = (groups, 400, 1)
    return DeployedNetwork(
        (Input("x", source, coding, 0, high),),
        (Population("a", part.output_shape(source), vth=9),),
        (part,),
        (Readout("a"),),
        1,
    )


def beyond_float64() -> DeployedNetwork:
    weight = np.full((1, 2, 125, 125), 255, np.int16)
    pool = SumPool2d((16, 16), (16, 16))
    return DeployedNetwork(
        (Input("x", (2, 16, 16), Coding.GRADED, -(2**23), 2**23 - 1),),
        (Population("a", (1, 1, 1), vth=1),),
        (Conv2d("x", "a", weight, padding=(62, 62), pool=pool),),
        (Readout("a"),),
        1,
    )


def short_cycle() -> DeployedNetwork:
    return DeployedNetwork(
        (Input("x", (1,)),),
        tuple(Population(name, (1,), vth=1) for name in "ab"),
        (dense("x", "a", 1, 1), dense("a", "b", 1, 1), dense("b", "a", 1, 1, delay=1)),
        (Readout("a"),),
        2,
    )


def of_size(neurons: int) -> DeployedNetwork:
    return DeployedNetwork(
        (Input("x", (1,)),),
        (Population("a", (neurons,), vth=9),),
        (dense("x", "a", neurons, 1),),
        (Readout("a"),),
        1,
    )


def reading(*shape: int) -> DeployedNetwork:
    sources = math.prod(shape)
    return DeployedNetwork(
        (Input("x", shape),),
        (Population("a", (1,), vth=9),),
        (dense("x", "a", 1, sources, value=255),),
        (Readout("a"),),
        1,
    )


@dataclass(frozen=True)
class Construct:
    """Networks that have a construct of the table, one within the limits it names and one beyond.

    Attributes:
        told: what `check` calls it.
    """

    told: str
    within: Callable[[], DeployedNetwork]
    beyond: Callable[[str], DeployedNetwork] | None = None


CONSTRUCTS = {
    "graded input beyond 0..1": Construct("graded values", partial(with_graded, 0, 2)),
    "input of binary digits": Construct("graded values", with_digits),
    "reset by subtraction": Construct(
        "reset subtract", partial(plain, reset=Reset.SUBTRACT)
    ),
    "`v_init` other than 0": Construct("v_init", partial(plain, v_init=-1)),
    "refractory time": Construct(
        "refractory", partial(plain, refractory=LOIHI.refractory_max)
    ),
    "ATRLIF neurons": Construct("neurons ATRLIF|state at a sample's start", adaptive),
    "bias per step": Construct("bias per step", with_injection),
    "`decay_u` 0": Construct("decay_u 0", partial(plain, decay_u=0)),
    "`decay_v` 4096": Construct("decay_v 4096", partial(plain, decay_v=4096)),
    "bias mantissa -4096": Construct(
        "bias mantissa", partial(plain, bias=np.array(-4096))
    ),
    "weight exponent below 0, weights that would lose bits": Construct(
        "weights that exponent -[0-9]+ cuts", partial(with_weights, 3, -1)
    ),
    "weight exponent -8": Construct("weight exponent -8", partial(with_weights, 0, -8)),
    "weight exponent of a convolution": Construct(
        "weight exponent", partial(convolved, exponent=1)
    ),
    "sums of a convolution beyond 32 bits": Construct(
        "(largest )?sum of a step",
        partial(convolved, 3, high=2**23 - 1, value=254),
        lambda target: beyond_float64(),
    ),
    "sums that can exceed 2^15 - 1 in a step": Construct(
        "(largest )?sum of a step", partial(convolved, 3, high=10**5, value=254)
    ),
    "delays; paths of unequal depth, balanced by delays": Construct(
        "delay|wait|steps that its messages wait",
        partial(chain, 3, delay=61),
        lambda target: chain(limit(CHIPS[target], "delay_max") + 3),
    ),
    "cycle with less delay than steps": Construct("delay", short_cycle),
    "kernel, stride, padding, dilation or groups above 127": Construct(
        "(kernel|stride|padding|dilation|groups) ", partial(convolved, CONV_FIELD_MAX + 1)
    ),
    "more than 900 inputs, populations, connections, delay lines and pools together": Construct(
        "Lava processes", partial(parallel, MOST_PROCESSES)
    ),
    "numbers narrower than Loihi's": Construct("arithmetic", narrower),
    "more cores than a chip": Construct(
        "cores", partial(of_size, limit(LOIHI2, "neurons") + 1)
    ),
    "more sources per neuron than input axons of a core": Construct(
        "input axons of a neuron", partial(reading, 16_001)
    ),
    "more synapses per neuron than the memory of a core": Construct(
        "bits of synapse memory of a neuron", partial(reading, 200, 1000)
    ),
    "more formats of synapses per neuron (exponent, bits, sign mode, delay) than a core": Construct(
        "formats of synapses of a neuron", delayed
    ),
    "more neurons than a chip": Construct(
        "neurons [0-9]", partial(of_size, limit(LOIHI2, "neurons") + 1)
    ),
}  # fmt: skip


def told(construct: Construct, network: DeployedNetwork, target: str) -> list[UnsupportedFeature]:
    (found,) = check(network, [target])
    return [feature for feature in found.unsupported if re.match(construct.told, feature.construct)]


def nothing_told(cell: str) -> bool:
    return cell == "-" or cell.startswith("has ")


def test_the_table_has_the_constructs_that_are_tried() -> None:
    assert set(UNSUPPORTED) == set(CONSTRUCTS)


@pytest.mark.parametrize("column", TARGETS)
@pytest.mark.parametrize("name", CONSTRUCTS)
def test_the_table_says_what_check_says(name: str, column: str) -> None:
    construct, cell, target = CONSTRUCTS[name], UNSUPPORTED[name][column], TARGETS[column]
    found = told(construct, construct.within(), target)
    for feature in found:
        tool = match(r"lava-nc|lava-dl|Davies|nengo-loihi|brian2_loihi|WikiChip", feature.source)[0]
        assert tool in UNSUPPORTED[name]["source"] or "see the next row" in cell
    if nothing_told(cell):
        assert found == []
    else:
        assert found
        assert all(feature.stops == cell.startswith("stops") for feature in found)
    if "more stop" in cell:
        assert construct.beyond is not None
        beyond = construct.beyond(target)
        assert any(feature.stops for feature in told(construct, beyond, target))


@settings(max_examples=60, deadline=None)
@given(networks())
@example(everything())
def test_everything_check_reports_has_a_row(network: DeployedNetwork) -> None:
    for column, target in TARGETS.items():
        for feature in check(network, [target])[0].unsupported:
            rows = [
                UNSUPPORTED[name][column]
                for name, construct in CONSTRUCTS.items()
                if re.match(construct.told, feature.construct)
            ]
            assert any(
                not nothing_told(cell) or "more stop" in cell or "see" in cell for cell in rows
            ), feature


SHORT = {
    "graded": "graded input beyond 0..1",
    "reset by subtraction": "reset by subtraction",
    "v_init": "`v_init` other than 0",
    "rest,|refractory time": "refractory time",
    "ATRLIF neurons|other than LIF": "ATRLIF neurons",
    "a bias per step": "bias per step",
    "decay_u 0": "`decay_u` 0",
    "decay_v 4096": "`decay_v` 4096",
    "bias mantissa of -4096": "bias mantissa -4096",
    "negative weight exponent": "weight exponent below 0, weights that would lose bits",
    "weight exponent -8": "weight exponent -8",
    "weight exponents": "weight exponent of a convolution",
    "sums beyond": "sums of a convolution beyond 32 bits",
    "sums beyond 21 bits": "sums that can exceed 2^15 - 1 in a step",
    "delays": "delays; paths of unequal depth, balanced by delays",
    "cycles whose delays add up": "cycle with less delay than steps",
    "kernel, .* above 127": "kernel, stride, padding, dilation or groups above 127",
    "networks that need more than 900 processes": (
        "more than 900 inputs, populations, connections, delay lines and pools together"
    ),
    "numbers of other widths": "numbers narrower than Loihi's",
    "neurons, which need several chips": "more neurons than a chip",
    "cores, which need several chips": "more cores than a chip",
    "formats of synapses,": (
        "more formats of synapses per neuron (exponent, bits, sign mode, delay) than a core"
    ),
    "sources or targets": "more sources per neuron than input axons of a core",
    "neurons with more synapses": "more synapses per neuron than the memory of a core",
}


@pytest.mark.parametrize(
    ("column", "limitations"),
    [("Lava", LIMITATIONS), ("Loihi 1", LOIHI1.limitations), ("Loihi 2", LOIHI2.limitations)],
)
def test_what_backends_lists_of_a_target_is_what_the_table_has(
    column: str, limitations: tuple[Limitation, ...]
) -> None:
    text = "\n".join(one.text for one in limitations)
    listed = {row for words, row in SHORT.items() if re.search(words, text)}
    cells = {name: row[column] for name, row in UNSUPPORTED.items()}
    missing = {name for name, cell in cells.items() if not nothing_told(cell)}
    some = {name for name, cell in cells.items() if "more stop" in cell}
    assert listed == missing | some


@pytest.mark.parametrize("column", TARGETS)
def test_every_limitation_is_one_that_a_network_of_the_table_meets(column: str) -> None:
    target = TARGETS[column]
    limitations = LIMITATIONS if target == "lava" else CHIPS[target].limitations
    tried = [one.within() for one in CONSTRUCTS.values()]
    tried += [one.beyond(target) for one in CONSTRUCTS.values() if one.beyond and target in CHIPS]
    for one in limitations:
        assert any(list(one.find(network)) for network in tried), one.text


@pytest.mark.parametrize("field", ["stride", "padding", "dilation", "groups"])
def test_every_field_of_the_row_for_large_convolutions_stops(field: str) -> None:
    large = CONV_FIELD_MAX + 1
    value: Any = large if field == "groups" else (large, 1) if field != "padding" else (large, 0)
    found = check(convolved(3 if field == "dilation" else 1, **{field: value}), ["lava"])[0]
    assert [feature.construct for feature in found.unsupported if feature.stops] == [
        f"{field} {large}"
    ]


def test_the_limits_of_the_table_are_those_of_the_code() -> None:
    delays = UNSUPPORTED["delays; paths of unequal depth, balanced by delays"]
    neurons = UNSUPPORTED["more neurons than a chip"]
    for column, one in (("Loihi 1", LOIHI1), ("Loihi 2", LOIHI2)):
        assert number(delays[column]) == limit(one, "delay_max")
        assert number(neurons[column].removeprefix("reported: ")) == limit(one, "neurons")
        text = "\n".join(listed.text for listed in one.limitations)
        assert number(match(r"delays beyond .*", text)[0]) == limit(one, "delay_max")
        assert number(match(r"more than .* neurons", text)[0]) == limit(one, "neurons")
    assert number(UNSUPPORTED["refractory time"]["Loihi 1"]) == LOIHI.refractory_max
    assert f"above {CONV_FIELD_MAX}" in "".join(UNSUPPORTED)
    assert match(r"2\^(\d+) and more stop", CHECK)[1] == str(CONV_EXACT_SUM.bit_length() - 1)
    sums = UNSUPPORTED["sums that can exceed 2^15 - 1 in a step"]["Loihi 1"]
    assert f"accumulator of {limit(LOIHI1, 'sum_bits')} bits and sign" in sums
    assert limit(LOIHI1, "sum_bits") == 15 + 6


# -------------------------------------------------------------------------------- docs/lava.md


def test_processes_of_ours_are_those_of_the_code() -> None:
    """The limitations, the rows of both pages and what `check` says name the same processes."""
    ours = set(re.findall(r"Spikeport's (\w+)", "\n".join(one.text for one in LIMITATIONS)))
    rows = table(LAVA, "construct", "Lava process", "whose")
    listed = {row["Lava process"].split("`")[1] for row in rows if row["whose"] == "ours"}
    cells = [row["Lava"].removeprefix("Spikeport's ") for row in UNSUPPORTED.values()]
    made = {match(r"runs on Spikeport's (\w+)", one.remedy)[1] for one in workarounds()}
    assert ours == listed == made
    assert ours == {cell.split("`")[1] for cell in cells if cell.startswith("`")}


def workarounds() -> list[UnsupportedFeature]:
    tried = [one.within() for one in CONSTRUCTS.values()]
    found = [feature for one in tried for feature in check(one, ["lava"])[0].unsupported]
    return [feature for feature in found if not feature.stops]


def test_limits_of_lava() -> None:
    assert f"`timeout_s`, default {TIMEOUT_S:.0f})" in LAVA
    assert f"exceed {CHUNK_BYTES >> 20} MiB" in LAVA
    assert "uses no processor time for\n  a minute" in LAVA
    assert supervise.IDLE_LOOKS * supervise.LOOK_S == 60
    assert f"or groups exceed {CONV_FIELD_MAX} (`Conv` keeps them in int8)" in LAVA
    assert f"sums of 2^{CONV_EXACT_SUM.bit_length() - 1} and more" in LAVA
    assert f"networks that need more than {MOST_PROCESSES} processes" in LAVA


def test_limits_of_the_scalar_reference() -> None:
    report = page("report.md")
    assert f"refuses networks of more than {MOST_SYNAPSES:,}; " in report
    assert f"recomputes {NEURONS} random neurons" in report
    assert f"Readouts of more than {MOST_OUTPUTS:,} neurons" in report
    assert f"networks beyond {MOST_SYNAPSES // 10**6} million synapses" in README


# -------------------------------------------------------------------------------------- README


def test_extras() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    listed = match(r"the extras are (.*?)\.", README)[1]
    extras = set(project["optional-dependencies"]) - {"all", "dev"}
    assert set(re.findall(r"`(\w+)`", listed)) == extras
    everything = project["optional-dependencies"]["all"]
    assert set(re.findall(r"\w+", match(r"\[(.*)\]", everything[0])[1])) == extras


def test_exit_codes() -> None:
    """README and the fault table name the code of every error that Spikeport raises."""
    known = {
        one.exit_code
        for one in vars(errors).values()
        if isinstance(one, type) and issubclass(one, errors.SpikeportError)
    }
    readme = match(r"Exit codes: (.*?)\.\n", README)[1]
    faults = match(r"Exit codes: (.*?)\. ", page("faults.md"))[1]
    for text in (readme, faults):
        assert known <= {int(code) for code in re.findall(r"\b(\d+) \w", text)}


def test_every_verb_has_help_and_json() -> None:
    assert "every verb takes `--help` and `--json`" in README
    commands = vars(typer.main.get_command(app))["commands"]
    assert len(commands) == len(VERBS)
    for name, command in commands.items():
        assert any("--json" in option.opts for option in command.params), command.name
        assert " ".join(command.help.split("\n\n")[0].split()) == VERBS[name].summary


def test_every_page_that_is_linked_exists() -> None:
    pages = {"README.md": ROOT, **{p.name: p.parent for p in (ROOT / "docs").glob("*.md")}}
    for name, folder in pages.items():
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page(name)):
            assert target.startswith("http") or (folder / target).exists(), f"{name}: {target}"
    linked = set(re.findall(r"\]\(docs/([^)#]+)", README))
    assert {name for name in pages if name != "README.md"} <= linked


# ------------------------------------------------- docs/networks.md, training.md, benchmarks.md


def test_rules() -> None:
    listed = table(page("networks.md"), "rule", "spikes", "gradients")
    assert {name for row in listed for name in re.findall(r"`(\w+)`", row["rule"])} == set(
        GradientRule
    )


IMAGES: dict[str, tuple[int, int]] = {
    "dvs_net": (2, 48), "vgg16": (3, 224), "resnet34": (3, 224), "sew_resnet34": (3, 224),
    "preact_resnet34": (3, 224),
}  # fmt: skip


def parameters_stated() -> list[tuple[str, int, int]]:
    rows: list[Row] = table(page("networks.md"), "name", "parameters (classes)")
    found = []
    for row in rows:
        names = re.findall(r"`(\w+)`", row["name"])
        if row["parameters (classes)"] == "by widths":
            continue
        counts = re.findall(r"[\d,]{7,}", row["parameters (classes)"])
        (classes,) = re.findall(r"\((\d+)\)", row["parameters (classes)"])
        pairs = zip(names, counts, strict=True)
        found += [(name, int(count.replace(",", "")), int(classes)) for name, count in pairs]
    return found


@pytest.mark.parametrize(("name", "parameters", "classes"), parameters_stated())
def test_parameters_of_the_published_networks(name: str, parameters: int, classes: int) -> None:
    channels, side = IMAGES.get(name, (3, 32))
    shape = (channels, side, side)
    network = PUBLISHED[name](Input("x", shape, Coding.GRADED, 0, 255, scale=255.0), classes, 4)
    assert sum(one.numel() for one in network.parameters()) == parameters


def test_every_published_network_is_listed() -> None:
    assert {name for name, _, _ in parameters_stated()} == set(PUBLISHED)


def test_numbers_of_training() -> None:
    text = page("training.md")
    assert match(r"only where a batch spends more than (\d+) % of it", text)[1] == f"{AIM:.0%}"[:-1]
    assert f"\n- 2 to {LOIHI.weight_bits} bits." in text
    assert f"everything else on the first {PROBE}." in page("diagnosis.md")


def test_every_data_set_is_listed() -> None:
    rows = table(page("training.md"), "name", "files")
    listed = {name for row in rows for name in re.findall(r"`([\w-]+)`", row["name"])}
    assert listed == set(NAMES)


def test_networks_of_the_benchmarks() -> None:
    rows = table(page("benchmarks.md"), "name", "network", "T")
    listed = {name: row for row in rows for name in re.findall(r"`(\w+)`", row["name"])}
    assert set(listed) == set(benchmark.CASES)
    for name, row in listed.items():
        assert int(row["T"]) == benchmark.CASES[name].build().steps
