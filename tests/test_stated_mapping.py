"""Facts of docs/mapping.md against the targets and the maps."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.networks import CASES
from spikeport import map_network
from spikeport.errors import CheckFailedError
from spikeport.hardware import read_target
from spikeport.mapping import Resource
from spikeport.mapping.placement import MOST
from spikeport.mapping.storage import INDEX_BITS, WEIGHT_BITS
from spikeport.plugins import PluginKind, plugins
from tests.helpers.pages import Row, match, number, page, table
from tests.helpers.pilotnet import CORES, FILE, WORDS, pilotnet

PAGE = page("mapping.md")

COLUMNS = {"Loihi 1": "loihi1", "Loihi 2": "loihi2"}
TARGETS = {name: read_target(plugins(PluginKind.TARGET)[name]) for name in COLUMNS.values()}
LIMITS = table(PAGE, "limit", *COLUMNS)
MAPS = table(PAGE, "network", "target", "cores", "hops per packet")
PILOTNET = table(PAGE, "layer", "cores that were used")
SLOW = ("VGG-11", "ResNet-18")


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("row", LIMITS, ids=lambda row: row["limit"])
def test_limits(row: Row, column: str) -> None:
    limits = TARGETS[COLUMNS[column]].limits
    key, cell = row["key in `[limits]`"].strip("`"), row[column]
    assert (key in limits) == (cell not in ("not known", "not limited"))
    if key in limits:
        assert limits[key].value == number(cell)
        assert limits[key].verified == ("*" not in cell)


def test_every_limit_of_the_targets_stands_on_the_page() -> None:
    others = {
        "neurons", "graded_payloads", "delay_max", "sum_bits", "bias_mantissa_min",
        "exponent_shifts_weights",
    }  # fmt: skip
    for target in TARGETS.values():
        for name in set(target.limits.by_name) - others:
            assert f"`{name}`" in PAGE, name


def test_numbers_in_the_text() -> None:
    assert number(match(r"at most \d+ positions of a core", PAGE)[0]) == (
        TARGETS["loihi1"].limits["axon_bases_per_core"].value
    )
    for stated in (r"\(up to [\d,]+ cores\)", r"Maps of more than\s+[\d,]+ cores"):
        assert number(match(stated, PAGE)[0]) == MOST
    assert (*range(1, 7), 8) == WEIGHT_BITS
    assert (0, *range(6, 13)) == INDEX_BITS
    for target in TARGETS.values():
        assert target.limits["synapse_word_bits"].value == 64
        assert target.limits["synapse_header_bits"].value == 10
        assert target.limits["cores_per_tile"].value == 4
        assert target.limits["tiles_per_row"].value == 8


def title(name: str) -> str:
    return CASES[name].title


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if title(n) in SLOW else n for n in CASES],
)
def test_maps_of_the_benchmark_networks(name: str) -> None:
    network = CASES[name].build()
    rows = {row["target"]: row for row in MAPS if row["network"] == title(name)}
    for target in TARGETS:
        if target not in rows:
            with pytest.raises(CheckFailedError, match="8192 input axons"):
                map_network(network, target)
            continue
        made, row = map_network(network, target), rows[target]
        assert (len(made.cores), made.chips, made.lower_bound) == tuple(
            int(number(row[column])) for column in ("cores", "chips", "lower bound")
        )
        traffic = made.traffic()
        assert f"{traffic.hops_per_packet:.2f}" == row["hops per packet"]
        assert traffic.least_hops is not None
        assert f"{traffic.least_hops / traffic.packets:.2f}" == row["at least"]
        if target == "loihi1" and title(name) in SLOW:
            apart = map_network(network, target, share_cores=False)
            where = rf"{title(name)} (?:takes )?([\d,]+)(?: cores of Loihi 1)?,\s+where "
            where += r"(?:the bound|it) is ([\d,]+)"
            assert [number(one) for one in match(where, PAGE).groups()] == [
                len(apart.cores), apart.lower_bound,
            ]  # fmt: skip
        if target == "loihi1" and title(name) == "ResNet-18":
            last = (p for p in made.pieces if p.population == "stage3_block1_b")
            share = max(piece.demand[Resource.MEMORY] for piece in last) / 2**20
            assert f"takes {share:.0%} of a core".replace("%", " %") in PAGE


def test_what_was_printed_for_pilotnet() -> None:
    assert {row["layer"]: int(number(row["cores that were used"])) for row in PILOTNET} == CORES
    printed = {row["layer"]: int(number(row["words that were printed"])) for row in PILOTNET}
    assert printed == {"layer0": 0, "layer7": 7253, **WORDS}


@pytest.mark.data
def test_the_map_of_pilotnet() -> None:
    file = Path(os.environ.get("SPIKEPORT_DATA", "")) / FILE
    if not file.exists():
        pytest.skip("SPIKEPORT_DATA has no lava-dl/pilotnet_snn")
    network = pilotnet(file)
    made = map_network(network, "loihi2", share_cores=False)
    for row in PILOTNET:
        pieces = [piece for piece in made.pieces if piece.population == row["layer"]]
        assert len(pieces) == number(row["cores, layers apart"])
        assert sum(piece.neurons for piece in pieces) == number(row["neurons"])
        words = max(piece.demand[Resource.MEMORY] for piece in pieces) / 64
        assert words == number(row["words"])
    used, apart, shared = sum(CORES.values()), len(made.cores), map_network(network, "loihi2")
    text = match(r"^(\d+) cores with layers apart, (\d+) % fewer .*?; (\d+) if layers share", PAGE)
    assert [int(one) for one in text.groups()] == [
        apart, round(100 * (1 - apart / used)), len(shared.cores),
    ]  # fmt: skip
