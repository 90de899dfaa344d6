"""What exits gain: one recipe trained with and without them, from several seeds.

`python -m benchmarks.exits [RECIPE] [--seeds N] [--set KEY=VALUE ...] [--json FILE]`

The weights of the loss are those of the recipe or of `--set training.exits.weight=0.5`, otherwise
the defaults. For each seed, both networks start from the same weights, see the same batches and
differ only in `training.exits`. A row is the accuracy on test samples after the last epoch. The
gain is the mean over seeds of the difference of both, with its standard error; the time is that of
training one network. The JSON contains every run. Neither network has exits when it is tested, so
both cost the same on a chip, up to the number of their spikes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
from collections.abc import Sequence
from typing import Any

from spikeport.storage import parse_change, write_text
from spikeport.trainer import (
    Dataset,
    ExitConfig,
    TrainConfig,
    load_dataset,
    load_recipe,
    measure_accuracy,
    train,
)


def trained(config: TrainConfig, data: Dataset, workers: int | None) -> dict[str, Any]:
    """Train one network; its accuracy on test samples in percent, and what it cost."""
    result = train(config, data, workers=workers)
    last = result.history[-1]
    return {
        "seed": config.seed,
        "exits": config.exits and dataclasses.asdict(config.exits),
        "test_percent": 100 * measure_accuracy(result.model, data.test_x, data.test_y),
        "training_percent": 100 * last.accuracy,
        "loss": last.loss,
        "firing_rate": last.firing_rate,
        "seconds": sum(record.seconds for record in result.history),
    }


def gain(rows: Sequence[dict[str, Any]]) -> tuple[float, float | None]:
    """Mean over seeds of the gain in test accuracy, in points, and its standard error."""
    by_seed: dict[int, dict[bool, float]] = {}
    for row in rows:
        by_seed.setdefault(row["seed"], {})[row["exits"] is not None] = row["test_percent"]
    gains = [found[True] - found[False] for found in by_seed.values()]
    error = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else None
    return statistics.mean(gains), error


def print_summary(rows: Sequence[dict[str, Any]]) -> None:
    """Means over seeds, and the gain."""
    print(f"\n{'':8}{'test %':>8}{'± (seeds)':>11}{'training %':>12}{'rate':>8}{'s/run':>8}")
    for name, wanted in (("without", False), ("with", True)):
        part = [row for row in rows if (row["exits"] is not None) == wanted]
        spread = statistics.stdev(row["test_percent"] for row in part) if len(part) > 1 else 0.0
        means = [
            statistics.mean(row[key] for row in part)
            for key in ("test_percent", "training_percent", "firing_rate", "seconds")
        ]
        print(
            f"{name:8}{means[0]:8.2f}{spread:11.2f}{means[1]:12.2f}{means[2]:8.3f}{means[3]:8.1f}"
        )
    mean, error = gain(rows)
    print(f"gain    {mean:+8.2f}" + ("" if error is None else f" ± {error:.2f} (standard error)"))


def main() -> None:
    """Train, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recipe", nargs="?", default="fashion-mnist")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--json")
    args = parser.parse_args()
    recipe = load_recipe(args.recipe, dict(map(parse_change, args.set)))
    data = load_dataset(recipe.data, recipe.training.steps)
    options = recipe.training.exits or ExitConfig()
    rows: list[dict[str, Any]] = []
    for seed in range(args.seeds):
        for exits in (None, options):
            config = dataclasses.replace(recipe.training, seed=seed, exits=exits)
            rows.append(trained(config, data, args.workers))
            row = rows[-1]
            print(
                f"seed {seed} {'with' if exits else 'without':8}{row['test_percent']:8.2f} % "
                f"{row['seconds']:8.1f} s",
                flush=True,
            )
    print_summary(rows)
    if args.json:
        mean, error = gain(rows)
        document = {
            "recipe": args.recipe,
            "set": args.set,
            "train_samples": len(data.train_x),
            "test_samples": len(data.test_x),
            "gain_points": mean,
            "standard_error": error,
            "runs": rows,
        }
        write_text(args.json, json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
