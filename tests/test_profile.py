from __future__ import annotations

from pathlib import Path

import pytest

from spikeport.energy import LEVELS, HardwareProfile, SynapseKind, builtin_profiles, load_profile
from spikeport.energy.prices import CountsZeros
from spikeport.energy.profile import parse_profile
from spikeport.energy.terms import MAC, TERMS, energy_keys, time_keys
from spikeport.errors import InputError
from spikeport.hardware import Basis

LOIHI1 = (Path(__file__).parent / "files" / "prices_only.toml").read_text("utf-8")
"""A file of prices only: the schema of version 0.1.0."""


def edited(old: str, new: str) -> HardwareProfile:
    assert old in LOIHI1
    return parse_profile(LOIHI1.replace(old, new), "profile 'edited'")


def test_loihi1_prices_every_event_and_says_what_it_does_not() -> None:
    profile = load_profile("loihi1")
    assert "loihi1" in builtin_profiles()
    # It cannot multiply a graded value.
    assert set(profile.energy_pj) == set(energy_keys(TERMS)) - {MAC}
    assert set(profile.time_ns) == set(time_keys(TERMS)) - {MAC}
    assert {name for name, _, _ in profile.prices()} >= {"static", "hops_per_packet", "int8_mac"}
    assert len(profile.unpriced) >= 4
    assert not profile.graded_payloads


@pytest.mark.parametrize("name", builtin_profiles())
def test_every_constant_has_a_cited_source_with_conditions(name: str) -> None:
    profile = load_profile(name)
    constants = [price.at(level) for _, _, price in profile.prices() for level in LEVELS]
    further = [profile.host_step_us, profile.neurons_on_core]
    for constant in [*constants, *filter(None, further)]:
        assert len(constant.source.citation) > 15
        assert constant.source.conditions
        assert constant.source.basis in list(Basis)


def test_low_is_davies_2018_and_nominal_is_sana_fe() -> None:
    energy = load_profile("loihi1").energy_pj
    low = {name: price.low.value for name, price in energy.items()}
    assert low["synapse_dense"] == low["synapse_conv"] == 23.6
    assert (low["visit"], low["visit"] + low["update"]) == (52, 81)
    assert low["packet"] == 1.7
    nominal = {name: price.nominal.value for name, price in energy.items()}
    assert nominal == {
        "synapse_dense": 35.5, "synapse_conv": 24.0, "synapse_sparse": 33.6, "visit": 51.2,
        "update": 21.6,
        "fire": 69.3, "packet": 111.0, "hop": 4.2, "hop_east_west": 3.0,
    }  # fmt: skip
    sources = {price.low.source.key for price in energy.values()}
    assert sources == {"davies2018"}


def test_high_is_dense_sana_fe_plus_a_quarter() -> None:
    profile = load_profile("loihi1")
    for prices in (profile.energy_pj, profile.time_ns):
        for name, price in prices.items():
            if name == "barrier":  # 29 tiles, 1.8 us
                assert price.high.value == 1.25 * 1800
                continue
            stored = prices["synapse_dense"] if name.startswith("synapse_") else price
            assert price.high.value == pytest.approx(1.25 * stored.nominal.value)


def test_zeros_are_charged_by_storage_format() -> None:
    rules = load_profile("loihi1").counts_zeros
    charged = {kind: [level for level in LEVELS if rules[kind].at(level)] for kind in SynapseKind}
    assert charged == {"dense": ["nominal", "high"], "conv": ["high"], "sparse": [*LEVELS]}


ONE_RULE = 'low = false\nnominal = true\nhigh = true\nreason = "as in 0.1.0"\n'


def with_zeros(table: str) -> HardwareProfile:
    """loihi1 with other text for `counts_zeros`."""
    before, after = LOIHI1.split("[counts_zeros.dense]")
    rest = after[after.index("# ----") :]
    return parse_profile(f"{before}{table}{rest}", "profile 'edited'")


def test_one_rule_for_all_storage_formats_is_still_read() -> None:
    rule = CountsZeros(low=False, nominal=True, high=True, reason="as in 0.1.0")
    assert with_zeros(f"[counts_zeros]\n{ONE_RULE}").counts_zeros == dict.fromkeys(
        SynapseKind, rule
    )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "key 'counts_zeros' is missing"),
        (f"[counts_zeros.dense]\n{ONE_RULE}", "counts_zeros: key 'conv' is missing"),
        (
            f"[counts_zeros]\n{ONE_RULE}[counts_zeros.conv]\n{ONE_RULE}",
            "counts_zeros: unknown key 'low'",
        ),
        (f"[counts_zeros]\n{ONE_RULE}[counts_zeros.con]\n{ONE_RULE}", "unknown key 'con'"),
        ("[counts_zeros]\nlow = false\n", "counts_zeros: key 'nominal' is missing"),
        ("counts_zeros = 3\n", "'counts_zeros' is 3, must be of type dict"),
        (
            f"[counts_zeros.conv]\n{ONE_RULE}[counts_zeros]\ndense = true\n",
            "'dense' is True, must be of type dict",
        ),
    ],
)
def test_rules_for_zeros_are_whole(table: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        with_zeros(table)


def test_a_path_is_read_like_a_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(LOIHI1.replace('name = "loihi1"', 'name = "mine"'), "utf-8")
    assert load_profile(path).name == "mine"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cores = 128", "coers = 128", "unknown key 'coers'; did you mean 'cores'"),
        ("[energy_pj.visit]", "[energy_pj.visits]", "'visits'; did you mean 'visit'"),
        ("nominal = { value = 51.2,", "nominl = { value = 51.2,", "did you mean 'nominal'"),
        ("{ value = 23.6, source", "{ valeu = 23.6, source", "did you mean 'value'"),
        ('citation = "M. Horowitz', 'quotation = "M. Horowitz', "did you mean 'citation'"),
        ("cores = 128\n", "", "key 'cores' is missing"),
        ("cores = 128", 'cores = "128"', "'cores' is '128', must be of type int"),
        ("cores = 128", "cores = true", "'cores' is True, must be of type int"),
        ("cores = 128", "cores = 0", "cores is 0, must be at least 1"),
        ("cores = 128", "cores = ", "is not TOML"),
        ("schema = 1", "schema = 9", "schema is 9, this version reads 1"),
        ("value = 51.2", "value = -1", "value is -1.0, must be finite and not negative"),
        ("value = 51.2", "value = inf", "value is inf, must be finite"),
        (', source = "pohoiki"', "", "key 'source' is missing"),
        ('source = "pohoiki"', 'source = "pohoki"', "'pohoki' is unknown; did you mean 'pohoiki'"),
        ('basis = "fitted"', 'basis = "guessed"', "basis 'guessed' must be one of simulated"),
        ('conditions = "voltage not stated"', 'conditions = " "', "'conditions' is empty"),
    ],
)  # fmt: skip
def test_a_wrong_profile_is_refused_by_name(old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        edited(old, new)


def test_nothing_is_added_to_an_all_in_constant() -> None:
    with pytest.raises(InputError, match=r"'synapse_dense' is an all-in constant .*visit.*twice"):
        edited('basis = "fitted"', 'basis = "all-in"')


def test_static_power_is_not_added_to_a_constant_that_includes_it() -> None:
    minimum = 'the synaptic figure is a minimum"\nincludes_static = '
    with pytest.raises(InputError, match=r"includes static power \(davies2018\), so static_mw"):
        edited(f"{minimum}false", f"{minimum}true")


def test_an_unknown_profile_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no built-in profile .*; did you mean 'digital'"):
        load_profile("digtal")
    with pytest.raises(InputError, match="cannot be read"):
        load_profile(tmp_path)
