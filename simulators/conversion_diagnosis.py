"""Errors and accuracies of converted networks after several numbers of steps, side by side."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from spikeport.parity import Accuracy
from spikeport.simulators.if_errors import LayerErrors

OWN_ERRORS = ("quantization", "deviation")
"""The two errors that a layer makes itself."""


@dataclass(frozen=True, slots=True)
class ErrorSummary:
    """The relative errors of a network after T steps: rms over its layers.

    Attributes:
        steps: T.
        quantization, deviation, conversion: over all layers but the inactive ones; None if all are.
        total: over the layers that are compared with the ANN; None if none is.
        input_sigma: over all layers, in thresholds.
        layers: number of layers.
        inactive: layers whose activation is 0 for all samples, so that no error is relative to it.
        compared: layers with an activation of the same name in the ANN, and not 0 there.
    """

    steps: int
    quantization: float | None
    deviation: float | None
    conversion: float | None
    total: float | None
    input_sigma: float
    layers: int
    inactive: int
    compared: int


def summarize_errors(errors: Iterable[LayerErrors], steps: int) -> ErrorSummary:
    """The rms over all layers of each relative error after T steps."""
    chosen = [each for each in errors if each.steps == steps]
    found = [each.relative for each in chosen]
    totals = [each.total for each in found if each.total is not None]
    return ErrorSummary(
        steps=steps,
        quantization=_rms(each.quantization for each in found),
        deviation=_rms(each.deviation for each in found),
        conversion=_rms(each.conversion for each in found),
        total=_rms(totals),
        input_sigma=_rms(each.input_sigma for each in found) or 0.0,
        layers=len(found),
        inactive=sum(not each.activation for each in chosen),
        compared=len(totals),
    )


def _rms(values: Iterable[float | None]) -> float | None:
    squares = [value**2 for value in values if value is not None]
    return math.sqrt(sum(squares) / len(squares)) if squares else None


@dataclass(frozen=True, slots=True)
class ErrorLimit:
    """What limits a network: the larger of the two errors that its layers make.

    Attributes:
        error: "quantization" or "deviation", whichever has the larger rms over layers.
        layer: the layer with the largest such error, relative to its activation.
        share: that error of that layer.
    """

    error: str
    layer: str
    share: float


@dataclass(frozen=True, slots=True)
class NetworkErrors:
    """Errors and accuracy of one converted network.

    Attributes:
        name: such as its file.
        steps: its own T.
        errors: of every layer after each number of steps.
        accuracy: after each number of steps.
    """

    name: str
    steps: int
    errors: tuple[LayerErrors, ...]
    accuracy: Mapping[int, Accuracy]

    def after(self, steps: int) -> tuple[LayerErrors, ...]:
        """The layers after T steps, in order of computation."""
        return tuple(each for each in self.errors if each.steps == steps)

    def summary(self, steps: int) -> ErrorSummary:
        """The rms over layers of each relative error after T steps."""
        return summarize_errors(self.errors, steps)

    def limit(self, steps: int) -> ErrorLimit | None:
        """What limits the network after T steps; None if it has no error at all."""
        mean, found = self.summary(steps), self.after(steps)
        sizes = {name: getattr(mean, name) or 0.0 for name in OWN_ERRORS}
        error = max(sizes, key=lambda name: sizes[name])
        if not sizes[error]:
            return None
        shares = {each.layer: getattr(each.relative, error) or 0.0 for each in found}
        layer = max(shares, key=lambda name: shares[name])
        return ErrorLimit(error, layer, shares[layer])


@dataclass(frozen=True, slots=True)
class ConversionDiagnosis:
    """Converted networks side by side, as plain data.

    Attributes:
        steps: the numbers of steps T, ascending.
        samples: number of samples of accuracies.
        error_samples: number of samples, the first of them, of errors.
        ann_accuracy: of the ANN that is the reference of total errors; None without one.
        networks: in the order given.
    """

    steps: tuple[int, ...]
    samples: int
    error_samples: int
    ann_accuracy: Accuracy | None
    networks: tuple[NetworkErrors, ...]

    def steps_of(self, network: NetworkErrors) -> int:
        """The T to judge a network by: its own if measured, otherwise the largest."""
        return network.steps if network.steps in self.steps else self.steps[-1]

    @property
    def notes(self) -> tuple[str, ...]:
        """The layers that means leave out, a sentence for each network and kind."""
        return tuple(note for each in self.networks for note in self._notes(each))

    def _notes(self, network: NetworkErrors) -> Iterator[str]:
        found = [network.summary(steps) for steps in self.steps]
        count, last = found[-1].layers, found[-1]
        if self.ann_accuracy is not None and last.compared < count:
            yield (
                f"{network.name}: {count - last.compared} of {count} layers have no total error, "
                "because the ANN has no activation of their name, or one that is always 0"
            )
        for each in found:
            if each.inactive:
                yield (
                    f"{network.name}: after {each.steps} steps, {each.inactive} of {count} layers "
                    "have no activation and are left out of the means"
                )

    def as_dict(self) -> dict[str, Any]:
        """Plain data: `summary` has a row for each network and T, `networks` has every layer."""
        ann = self.ann_accuracy
        return {
            "steps": list(self.steps),
            "samples": self.samples,
            "error_samples": self.error_samples,
            "ann_accuracy": None if ann is None else _accuracy(ann),
            "summary": [_row(network, steps) for network in self.networks for steps in self.steps],
            "networks": [
                {
                    "network": each.name,
                    "steps": each.steps,
                    "accuracy": {str(n): _accuracy(found) for n, found in each.accuracy.items()},
                    "errors": [
                        {**asdict(layer), "relative": asdict(layer.relative)}
                        for layer in each.errors
                    ],
                }
                for each in self.networks
            ],
        }


def _row(network: NetworkErrors, steps: int) -> dict[str, Any]:
    limit = network.limit(steps)
    return {
        "network": network.name,
        "accuracy": network.accuracy[steps].rate,
        **asdict(network.summary(steps)),
        "limit": None if limit is None else asdict(limit),
    }


def _accuracy(found: Accuracy) -> dict[str, float]:
    return {"rate": found.rate, "low": found.low, "high": found.high, "n": found.n}
