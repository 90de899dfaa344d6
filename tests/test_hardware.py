"""`target.toml`: limits and prices of a chip in one file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from spikeport.energy import SynapseKind, builtin_profiles, load_profile
from spikeport.energy.profile import parse_profile
from spikeport.errors import InputError
from spikeport.hardware import Basis, parse_target, read_target, target_text
from spikeport.plugins import PluginKind, plugins
from spikeport.storage import parse_toml
from spikeport.storage.toml_table import Table

TARGETS = plugins(PluginKind.TARGET)
LOIHI1 = target_text(TARGETS["loihi1"])
OLD = (Path(__file__).parent / "files" / "prices_only.toml").read_text("utf-8")


def test_prices_of_loihi_1_are_those_of_the_file_before_targets() -> None:
    now, then = load_profile("loihi1"), parse_profile(OLD, "old")
    since = SynapseKind.SPARSE
    energies, times = ({**prices} for prices in (now.energy_pj, now.time_ns))
    for prices in (energies, times):
        del prices[f"synapse_{since}"]
    zeros = {**now.counts_zeros, since: then.counts_zeros[since]}
    assert then == dataclasses.replace(now, energy_pj=energies, time_ns=times, counts_zeros=zeros)


def test_a_target_file_is_read_by_path_like_by_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(LOIHI1, "utf-8")
    assert load_profile(path) == load_profile("loihi1")


@pytest.mark.parametrize("name", TARGETS)
def test_every_limit_has_a_cited_source(name: str) -> None:
    file = read_target(TARGETS[name])
    assert {"cores", "neurons", "neurons_per_core", "delay_max"} <= set(file.limits.by_name)
    for limit in file.limits.by_name.values():
        assert len(limit.source.citation) > 15
        assert limit.source.basis is Basis.PUBLISHED or not limit.verified


def test_loihi_2_has_limits_and_no_prices() -> None:
    assert read_target(TARGETS["loihi2"]).prices is None
    assert builtin_profiles() == ("loihi1",)
    with pytest.raises(InputError) as caught:
        load_profile("loihi2")
    assert str(caught.value) == (
        "profile 'loihi2': Intel Loihi 2 has no prices: no energy per event of Loihi 2 has been "
        "published (metered networks give totals only, and Intel states speeds relative to "
        "Loihi 1); price on another target (loihi1) or write a profile file"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("schema = 2", "schema = 3", "schema is 3, a target's is 2"),
        ("[limits]", "[limit]", "unknown key 'limit'; did you mean 'limits'"),
        ("[prices]\n", "[price]\n", "unknown key 'price'; did you mean 'prices'"),
        ('title = "Intel Loihi, 14 nm"\n', "", "key 'title' is missing"),
        ("cores = { value = 128,", "cores = { valeu = 128,", "did you mean 'value'"),
        ("value = 128,", 'value = "128",', "limits: cores: 'value' is '128', must be of type int"),
        ("value = 128,", "value = 1.5,", "'value' is 1.5, must be of type int"),
        ('"nengo_loihi_block", verified = true', '"nengo_loihi_block"', "'verified' is missing"),
        ('source = "brian2_loihi"', 'source = "brian"', "source 'brian' is unknown"),
        ('basis = "published"', 'basis = "rumour"', "basis 'rumour' must be one of"),
        ('arithmetic = "loihi"', "arithmetic = 8", "'arithmetic' is 8, must be of type str"),
        ('arithmetic = "loihi"', 'arithmetic = "8 bit"', "arithmetic '8 bit' must be 1 to 64 let"),
        ('title = "', 'no_prices = "none"\ntitle = "', "must have either"),
    ],
)
def test_a_wrong_target_file_is_refused_by_name(old: str, new: str, message: str) -> None:
    assert old in LOIHI1
    with pytest.raises(InputError, match=f"^target 'edited': .*{message}"):
        parse_target(parse_toml(LOIHI1.replace(old, new), "target 'edited'"), "target 'edited'")


def test_an_integer_beyond_a_float_is_one_error() -> None:
    table = Table({"value": 10**400}, "limits", ("value",))
    with pytest.raises(InputError, match=r"^limits: 'value' is 1000.*, must fit a 64-bit float$"):
        table.number("value")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[prices.energy_pj.visit]", "[prices.energy_pj.visits]", "did you mean 'visit'"),
        ("[prices.static_mw]", "[prices.static_mv]", "did you mean 'static_mw'"),
        ("value = 51.2", "value = -1", "value is -1.0, must be finite and not negative"),
        ("cores = {", "coers = {", "limits: 'cores' is missing; did you mean 'coers'"),
        ("value = 128,", "value = 0,", "cores is 0, must be at least 1"),
    ],
)
def test_wrong_prices_of_a_target_are_refused_by_name(old: str, new: str, message: str) -> None:
    assert old in LOIHI1
    with pytest.raises(InputError, match=f"^profile 'edited': .*{message}"):
        parse_profile(LOIHI1.replace(old, new), "profile 'edited'")
