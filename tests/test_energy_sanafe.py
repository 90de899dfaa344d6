"""Counts and energies that SANA-FE 2.2.9 gave for five networks, recorded in docs/energy.md."""

from __future__ import annotations

import pytest

from benchmarks.sanafe import COMPARED, estimated, made_networks
from tests.helpers.layout import ROOT
from tests.helpers.pages import table

RECORDED = {
    row["network"]: row
    for row in table((ROOT / "docs" / "energy.md").read_text("utf-8"), "network", *COMPARED)
}


@pytest.mark.parametrize("name", made_networks())
def test_counts_and_energy_are_those_of_sana_fe(name: str) -> None:
    found, recorded = estimated(made_networks()[name]), RECORDED[name]
    for key in COMPARED:
        assert found[key] == int(recorded[key].replace(",", "")), key
    assert found["energy_pj"] / 1e3 == pytest.approx(float(recorded["energy, nJ"]), rel=1e-5)
