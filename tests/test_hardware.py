"""`target.toml`: limits and prices of a chip in one file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from spikeport.energy import LEVELS, Interval, SynapseKind, builtin_profiles, load_profile
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
    assert energies.pop("hop_east_west").low.value == 3
    # The file says of a hop only that it is the dearer direction.
    assert then.energy_pj["hop"].interval == energies["hop"].interval
    energies["hop"] = then.energy_pj["hop"]
    zeros = {**now.counts_zeros, since: then.counts_zeros[since]}
    assert then == dataclasses.replace(
        now,
        energy_pj=energies,
        time_ns=times,
        counts_zeros=zeros,
        host=None,
        synapse_bits_per_core=None,
    )


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


def test_prices_of_loihi_2_are_derived_from_whole_networks_and_say_so() -> None:
    """No energy per event has been published, so none is measured, simulated or fitted."""
    assert builtin_profiles() == ("loihi1", "loihi2", "digital")
    profile = load_profile("loihi2")
    assert profile.all_in
    for prices in (profile.energy_pj, profile.instead_pj):
        for price in prices.values():
            for level in LEVELS:
                source = price.at(level).source
                assert (source.basis, source.all_in) == (Basis.DERIVED, True)
    assert all(price.low.source.basis is not Basis.MEASURED for price in profile.time_ns.values())


def test_prices_of_loihi_2_follow_from_the_metered_run() -> None:
    """Total of PilotNet-SNN less each metered static power, over its synaptic events or visits."""
    profile = load_profile("loihi2")
    assert profile.static_mw is not None
    static = profile.static_mw.interval
    assert static == Interval(120, 232, 282)
    total_mj, dynamic_mj, seconds = 1.661103, 1.093544, 16 * 152.8e-6
    dynamic = (total_mj - static.high * seconds, dynamic_mj, total_mj - static.low * seconds)
    assert dynamic_mj == pytest.approx(total_mj - static.nominal * seconds, rel=1e-3)
    for price, events in (
        (profile.energy_pj["synapse_dense"], 3.632e7),
        (profile.energy_pj["synapse_conv"], 3.632e7),
        (profile.energy_pj["synapse_sparse"], 3.632e7),
        (profile.instead_pj["visit"], 158_509 * 16),
    ):
        expected = [energy * 1e9 / events for energy in dynamic]
        assert [price.at(level).value for level in LEVELS] == pytest.approx(expected, rel=2e-3)


def test_times_of_loihi_2_are_those_of_loihi_1_over_the_stated_factors() -> None:
    one, two = load_profile("loihi1").time_ns, load_profile("loihi2").time_ns
    factors = dict.fromkeys(("synapse_dense", "synapse_conv", "synapse_sparse"), 5)
    factors |= {"visit": 2, "update": 2, "fire": 10, "packet": 1, "receive": 1}
    for name, factor in factors.items():
        for level in LEVELS:
            expected = one[name].at(level).value / factor
            assert two[name].at(level).value == pytest.approx(expected)
    assert two["barrier"].interval == Interval(200, 200, one["barrier"].high.value)


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
