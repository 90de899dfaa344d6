"""Convert a trained ANN in every way, and measure accuracy and errors after every number of steps.

Every result is stored as soon as it is there, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.conversion.anns import AUGMENT
from spikeport.simulators import summarize_errors
from spikeport.storage import write_text
from spikeport.trainer import Dataset, SpikingNetwork, TrainingCallbacks, measure_accuracy
from spikeport.trainer.conversion import (
    Conversion,
    ConversionConfig,
    ConversionMethod,
    ConversionProgress,
    Shortcuts,
    accuracy_by_steps,
    conversion_errors,
    convert,
)

STEPS = (3, 4, 7, 8, 16, 32, 64)
ERROR_IMAGES, ERROR_BATCH = 64, 8


@dataclass(frozen=True, slots=True)
class Way:
    """A way to convert.

    Attributes:
        name: of the row.
        method: of the conversion.
        levels: L by T: that of the largest key up to T; empty for a method without training. With
            `tuned`, thresholds are also searched for that T before they are trained.
        shortcuts: of the blocks.
        steps: the numbers of steps that it is measured after.
    """

    name: str
    method: ConversionMethod
    levels: Mapping[int, int]
    shortcuts: Shortcuts = Shortcuts.ANALOG
    steps: tuple[int, ...] = STEPS

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Numbers of steps that are measured with the same thresholds."""
        if self.method is ConversionMethod.TUNED:
            return tuple((steps,) for steps in self.steps)
        starts = sorted(self.levels) or [0]
        chosen = [max(s for s in starts if s <= steps or s == starts[0]) for steps in self.steps]
        return tuple(
            tuple(n for n, at in zip(self.steps, chosen, strict=True) if at == start)
            for start in dict.fromkeys(chosen)
        )

    def trained_for(self, steps: int) -> tuple[int, int | None]:
        """T and L of the training whose network is used for `steps`; L None without training."""
        if not self.levels:
            return steps, None
        start = max((n for n in self.levels if n <= steps), default=min(self.levels))
        return start, self.levels[start]


def ways(restructured: Shortcuts = Shortcuts.ACTIVATED) -> tuple[Way, ...]:
    """All rows of the table of a network with analog shortcuts."""
    matched = {3: 3, 7: 7}
    tuned = {4: 4, 16: 8}
    return (
        Way("data-based", ConversionMethod.DATA_BASED, {}),
        Way("initial potential", ConversionMethod.INITIAL_POTENTIAL, {}),
        Way("QCFS, L = 4", ConversionMethod.QCFS, {3: 4}),
        Way("QCFS, L = 8", ConversionMethod.QCFS, {3: 8}),
        Way("quantized ANN, L = T", ConversionMethod.QUANTIZED_ANN, matched, steps=(3, 7)),
        Way("tuned", ConversionMethod.TUNED, tuned),
        Way("restructured, L = 8", ConversionMethod.QCFS, {3: 8}, restructured),
        Way("tuned and restructured", ConversionMethod.TUNED, tuned, restructured),
    )


class Table:
    """The results of one ANN, in a JSON file.

    Args:
        training: epochs, lr and batch size of the training of thresholds.
        images: number of test images that accuracies are measured on.
    """

    def __init__(
        self, path: Path, ann: SpikingNetwork, data: Dataset, training: Mapping[str, Any],
        images: int, threads: int = 1,
    ) -> None:  # fmt: skip
        self.path, self.ann, self.data = path, ann, data
        self.training, self.images, self.threads = dict(training), images, threads
        self.known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def fill(self, rows: Iterable[Way]) -> None:
        """Measure what is not known yet."""
        self._once("ann", lambda: {"accuracy": self._ann_accuracy(self.ann)})
        for way in rows:
            for group in way.groups:
                key = f"{way.name}|{','.join(map(str, group))}"
                self._once(key, functools.partial(self._measure, way, group))

    def _once(self, key: str, work: Callable[[], Any]) -> None:
        if key in self.known:
            return
        started = time.perf_counter()
        result = work()
        self.known[key] = {**result, "seconds": time.perf_counter() - started}
        write_text(self.path, json.dumps(self.known, indent=1))
        print(f"{self.path.stem}: {key}: {_short(result)}", flush=True)

    def _measure(self, way: Way, steps: tuple[int, ...]) -> dict[str, Any]:
        made = self._converted(way, steps[-1])
        x, y = self.data.test_x[: self.images], self.data.test_y[: self.images]
        torch.set_num_threads(self.threads)
        accuracy = accuracy_by_steps(made.network, x, y, steps)
        batches = torch.split(torch.tensor(x[:ERROR_IMAGES]), ERROR_BATCH)
        errors = conversion_errors(made.network, batches, steps, made.ann)
        return {
            "accuracy": {str(n): value for n, value in accuracy.items()},
            "ann": self._ann_accuracy(made.ann),
            "errors": [dataclasses.asdict(each) for each in errors],
            "summary": {str(n): dataclasses.asdict(summarize_errors(errors, n)) for n in steps},
            "shares": {each.layer: each.after / each.before for each in made.tuned},
            "conversion_seconds": dict(made.seconds),
        }

    def _ann_accuracy(self, ann: SpikingNetwork) -> float:
        return measure_accuracy(
            ann, self.data.test_x[: self.images], self.data.test_y[: self.images]
        )

    def _converted(self, way: Way, steps: int) -> Conversion:
        """Convert; networks with trained thresholds are kept and shared between rows."""
        start, levels = way.trained_for(steps)
        first = self._convert(self.ann, way, start, levels, self._checkpoint(way, start, levels))
        if start == steps or way.method is not ConversionMethod.TUNED:
            return first
        return self._convert(first.ann, way, steps, levels, None)

    def _checkpoint(self, way: Way, start: int, levels: int | None) -> Path | None:
        if levels is None:
            return None
        kind = f"tuned{start}" if way.method is ConversionMethod.TUNED else "plain"
        return self.path.with_name(f"{self.path.stem}-{way.shortcuts}-{kind}-L{levels}.safetensors")

    def _convert(
        self, ann: SpikingNetwork, way: Way, steps: int, levels: int | None, checkpoint: Path | None
    ) -> Conversion:
        config = ConversionConfig(
            method=way.method,
            steps=steps,
            levels=levels,
            shortcuts=way.shortcuts,
            **self.training,
        )
        watch = TrainingCallbacks(
            epoch=lambda record: print(
                f"{self.path.stem}: {way.name}: epoch {record.epoch}, "
                f"accuracy {record.accuracy:.4f}, {record.seconds:.0f} s",
                flush=True,
            )
        )
        return convert(
            ann,
            self.data,
            config,
            augment=AUGMENT,
            threads=self.threads,
            checkpoint=checkpoint,
            resume=checkpoint is not None and checkpoint.exists(),
            progress=ConversionProgress(training=watch),
        )


def _short(result: Mapping[str, Any]) -> str:
    keys = ("ann", "accuracy", "summary")
    return ", ".join(f"{key} {result[key]}" for key in keys if key in result)
