"""Figures in README and docs: each is owned by one table, and all other mentions agree with it.

`docs/results.md` owns accuracies and energies, `docs/benchmarks.md` speed and memory. Both were
measured once, with the commands that they name; nothing here measures again.
"""

from __future__ import annotations

import statistics

import pytest

from spikeport.trainer.measure.metrics import SPREAD
from tests.helpers.pages import Row, match, number, page, percentages, rounded, table

README, RESULTS, BENCHMARKS = page("README.md"), page("results.md"), page("benchmarks.md")
FLOATS = table(RESULTS, "data", "command", "T", "test accuracy")
CHIP = table(RESULTS, "data", "bits", "rounded", "trained")
RULES = table(RESULTS, "data", "rule", "to BPTT")
BUDGETS = table(RESULTS, "synaptic events", "energy")
SPEED = table(BENCHMARKS, "network", "against Lava", "against Norse")
TRAINED = match(r"^Trained on two cores:.*?\n\n", README)[0]


def accuracy(data: str) -> str:
    """Accuracy of the float network in percent, as printed in the table."""
    (row,) = (row for row in FLOATS if row["data"] == data or row["data"].startswith(f"{data},"))
    return row["test accuracy"].removesuffix(" %")


def chip_row(data: str, bits: int) -> Row:
    (row,) = (row for row in CHIP if (row["data"], row["bits"]) == (data, str(bits)))
    return row


def budget_row(start: str) -> Row:
    (row,) = (row for row in BUDGETS if row["Fashion-MNIST"].startswith(start))
    return row


FLOAT, FRUGAL_FLOAT = budget_row("floats, as above"), budget_row("floats, `--from")
WHOLE, FRUGAL = budget_row("chip, 8 bits, as above"), budget_row("chip, 8 bits, `--from")


def fewer(before: Row, after: Row) -> str:
    return rounded(number(before["synaptic events"]) / number(after["synaptic events"]), 1)


def test_readme_states_the_accuracies_of_the_results() -> None:
    text = " ".join(TRAINED.split())
    for stated in (
        f"Trained on two cores: MNIST {accuracy('MNIST')} %",
        f"Fashion-MNIST {accuracy('Fashion-MNIST')} %",
        f"CIFAR-10 (30,000 images) {accuracy('CIFAR-10')} %",
        f"N-MNIST {accuracy('N-MNIST')} %",
        f"MNIST keeps {number(chip_row('MNIST', 2)['trained']):.2f} % with 2-bit weights",
        f"Fashion-MNIST {number(FRUGAL['test accuracy']):.2f} % with {fewer(WHOLE, FRUGAL)} times "
        "fewer synaptic events",
    ):
        assert stated in text
    assert "[docs/results.md](docs/results.md)" in text
    assert len(percentages(text)) == 6


def test_every_percentage_of_the_readme_has_an_owner() -> None:
    """Those of the results, above, and the activity at which the benchmarks are quoted."""
    others = percentages(README.replace(TRAINED, ""))
    assert others == ["10"]
    assert "10 % of the inputs firing" in README


def test_differences_in_the_results_follow_from_their_rows() -> None:
    for row in CHIP:
        first = next(r for r in CHIP if r["data"] == row["data"])
        gained = number(row["trained"]) - number(first["float"])
        assert number(row["to float"]) == pytest.approx(gained, abs=0.0051)
    for row in RULES:
        through_time = next(r for r in RULES if (r["data"], r["rule"]) == (row["data"], "bptt_m"))[
            "test accuracy, mean ± sd"
        ]
        if row["rule"] != "bptt_m":
            more = number(row["test accuracy, mean ± sd"]) - number(through_time)
            assert number(row["to BPTT"]) == pytest.approx(more, abs=0.0051)


def test_rows_that_say_as_above_repeat_what_is_above() -> None:
    assert number(FLOAT["test accuracy"]) == float(accuracy("Fashion-MNIST"))
    assert number(WHOLE["test accuracy"]) == number(chip_row("Fashion-MNIST", 8)["trained"])
    for data in ("MNIST", "Fashion-MNIST", "CIFAR-10"):
        assert number(chip_row(data, 8)["float"]) == float(accuracy(data))


def test_events_saved_by_a_budget() -> None:
    assert fewer(FLOAT, FRUGAL_FLOAT) == fewer(WHOLE, FRUGAL) == "2.2"
    assert "\n2.2 times fewer synaptic events at no loss." in RESULTS
    for row in (FRUGAL_FLOAT, FRUGAL):
        assert number(row["energy"]) <= 86  # --energy-budget 86uJ
        assert "--energy-budget 86uJ" in row["Fashion-MNIST"]


def test_training_md_quotes_the_rounded_network() -> None:
    stated = match(r"rounded to those, accuracy stays at (\d+) %", page("training.md"))
    assert stated[1] == rounded(number(chip_row("MNIST", 4)["rounded"]), 0)


def test_digits_by_budget() -> None:
    """Each energy within its budget, and accuracies that 360 test samples can have."""
    text = page("training.md")
    assert "(360 test samples)" in text
    rows = {row["budget µJ"]: row for row in table(text, "budget µJ", "none")}
    energy, events = rows["energy µJ, estimate (loihi1)"], rows["synaptic events, thousands"]
    budgets = list(energy)[2:]
    for budget in budgets:
        assert float(energy[budget]) <= float(budget)
    for row in (energy, events):
        values = [float(row[budget]) for budget in ("none", *budgets)]
        assert values == sorted(values, reverse=True)
    possible = {rounded(hits / 3.6, 1) for hits in range(361)}
    assert set(list(rows["accuracy %"].values())[1:]) <= possible
    assert f"\nA digit is {rounded(100 / 360, 2)} points." in RESULTS


def test_samples_that_an_energy_is_counted_on() -> None:
    assert f"over {SPREAD:,} test\nsamples" in RESULTS


def column(name: str, activity: str | None = None) -> list[float]:
    """A column of ratios; bounds (>) are left out."""
    rows = [row for row in SPEED if activity in (None, row["input"])]
    return [number(row[name]) for row in rows if not row[name].startswith(">")]


def test_readme_states_the_benchmarks_ratios() -> None:
    text = " ".join(README.split())
    low, high = (round(end(column("against Lava")), -2) for end in (min, max))
    assert f"at {low:.0f} to {high:,.0f} times Lava's throughput" in text
    best = [
        min(number(row[name]) for name in ("against Norse", "snnTorch", "SpikingJelly"))
        for row in SPEED
        if row["input"] == "10 %"
    ]
    assert f"at {min(best):.0f} to {max(best):.0f} times that of the fastest of Norse" in text
    (million,) = (
        row
        for row in table(BENCHMARKS, "series", "seconds", "ns/event")
        if number(row["neurons"]) > 1e6
    )
    assert million["events"] == "943 M"
    assert rounded(number(million["seconds"]), 1) == "0.5"
    assert round(number(million["peak memory"]) * 2**20 / 1e6, -2) == 300
    assert "a million neurons and 10^9 synaptic events takes half a second and 300 MB" in text


def test_geometric_means_are_those_of_the_table() -> None:
    for activity in ("2 %", "10 %", "30 %"):
        ratios = [number(row["against Lava"]) for row in SPEED if row["input"] == activity]
        mean = statistics.geometric_mean(ratios)
        stated = match(rf"Geometric mean against Lava:.*?([\d,]+) at {activity}", BENCHMARKS)
        assert number(stated[1]) == pytest.approx(mean, rel=2e-3)


def test_where_the_limit_is_met() -> None:
    met = {
        activity: [
            row["network"]
            for row in SPEED
            if row["input"] == activity and number(row["of limit"]) >= 50
        ]
        for activity in ("2 %", "10 %")
    }
    names = [row["network"] for row in SPEED if row["input"] == "10 %"]
    assert met == {"2 %": ["VGG-11"], "10 %": [name for name in names if name != "20 x 128"]}
    assert "except by twenty layers of\n128; at 2 % only VGG-11 meets it" in BENCHMARKS


def test_the_limit_of_a_training_step_is_that_of_its_convolutions() -> None:
    limits = {steps: f"{3 * steps / (steps + 2):.1f}" for steps in (8, 16)}
    stated = match(r"a factor of ([\d.]+) at T = 8, ([\d.]+) at T = 16", BENCHMARKS)
    assert stated.groups() == (limits[8], limits[16])
    rows = table(BENCHMARKS, "network", "step M", "exact pass over float pass")
    shares = [number(row["exact pass over float pass"]) for row in rows if row["T"] == "1"]
    assert f"as long at T = 1 ({min(shares)} to {max(shares)};" in BENCHMARKS


def test_factors_of_training_steps_are_those_of_their_seconds() -> None:
    rows = table(BENCHMARKS, "T", "batch", "both sums")
    for row in rows:
        if row["BPTT, dense"]:
            expected = number(row["BPTT, dense"]) / number(row["rate-based, dense"])
            stated = number(row["BPTT over rate-based, both dense"])
            assert stated == pytest.approx(expected, rel=0.01)
        through_time, rates = number(row["BPTT, sums"]), number(row["rate-based, sums"])
        assert number(row["both sums"]) == pytest.approx(through_time / rates, rel=0.015)
