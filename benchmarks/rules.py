"""Rate-based training versus BPTT: test accuracy after equal epochs, from equal starts.

`python -m benchmarks.rules mnist [--set KEY=VALUE ...] [--rules ...] [--seeds 0 1 2] --out FOLDER`

Every rule trains the same network on the same batches of the same recipe; a seed determines initial
weights, order and augmentation for all of them. Each run writes a line of JSON to the folder;
running the same command again continues with the missing runs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.table import print_table
from spikeport.storage import parse_change, write_text
from spikeport.trainer import load_dataset, load_recipe, measure_accuracy, train
from spikeport.trainer.rules import GradientRule

RULES = (GradientRule.RATE_M, GradientRule.RATE_S, GradientRule.BPTT_M)
COLUMNS = ("rule", "runs", "test accuracy", "to BPTT", "seconds", "peak memory")
NOTES = """
test accuracy  after the last epoch, %, mean and standard deviation over the seeds
to BPTT        points above BPTT in multi-step mode, mean over equal seeds
seconds        of training, mean; peak memory of the process after the run
""".strip()


def measure(
    recipe: str, changes: Mapping[str, Any], rule: GradientRule, seed: int
) -> dict[str, Any]:
    """Train and test one network."""
    chosen = load_recipe(recipe, {**changes, "training.rule": str(rule), "training.seed": seed})
    data = load_dataset(chosen.data, chosen.training.steps)
    result = train(chosen.training, data)
    return {
        "recipe": recipe,
        "changes": dict(changes),
        "rule": str(rule),
        "seed": seed,
        "test_accuracy": measure_accuracy(result.model, data.test_x, data.test_y),
        "train_loss": result.history[-1].loss,
        "seconds": sum(record.seconds for record in result.history),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "config": json.loads(json.dumps(dataclasses.asdict(chosen.training), default=str)),
    }


def main(arguments: Sequence[str]) -> int:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rules", description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument(
        "--rules", nargs="+", type=GradientRule, default=RULES, choices=list(GradientRule)
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    chosen = parser.parse_args(arguments)
    changes = dict(parse_change(change) for change in chosen.changes)
    chosen.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in chosen.seeds:
        for rule in chosen.rules:
            path = chosen.out / f"{rule}-{seed}.json"
            if not path.exists():
                write_text(path, json.dumps(measure(chosen.recipe, changes, rule, seed)) + "\n")
            rows.append(json.loads(path.read_text()))
            if (rows[-1]["recipe"], rows[-1]["changes"]) != (chosen.recipe, changes):
                sys.exit(f"{path}: is from another recipe or other changes; choose another --out")
            print(f"{rule} seed {seed}: {100 * rows[-1]['test_accuracy']:.2f} %", file=sys.stderr)
    print_table(COLUMNS, list(cells(rows)))
    print(NOTES)
    return 0


def cells(rows: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    """Rows of the table, one per rule."""
    found = {(row["rule"], row["seed"]): 100 * row["test_accuracy"] for row in rows}
    for rule in dict.fromkeys(row["rule"] for row in rows):
        mine = [row for row in rows if row["rule"] == rule]
        points = [found[rule, row["seed"]] for row in mine]
        apart = [
            found[rule, row["seed"]] - found[GradientRule.BPTT_M, row["seed"]]
            for row in mine
            if (GradientRule.BPTT_M, row["seed"]) in found
        ]
        spread = f" ± {statistics.stdev(points):.2f}" if len(points) > 1 else ""
        yield [
            rule,
            str(len(mine)),
            f"{statistics.mean(points):.2f}{spread}",
            f"{statistics.mean(apart):+.2f}" if apart else "",
            f"{statistics.mean(row['seconds'] for row in mine):.0f}",
            f"{max(row['peak_mib'] for row in mine):.0f} MiB",
        ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
