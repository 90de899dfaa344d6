"""Errors of integrate-and-fire neurons against the activation that their rate stands for.

For neurons u_t = v_{t-1} + x_t, s_t = 1[u_t >= theta], v_t = u_t - theta s_t with v_0 given, N
spikes in T steps and the mean input x:

    a   = clip(x, 0, theta)                                        what an ANN would compute
    q   = theta / T clip(floor((T x + v_0) / theta), 0, T)         the rate for a constant input x
    e_q = q - a                                                    quantization error
    e_d = theta N / T - q                                          deviation error

e_q is what T steps can express, |e_q| <= theta / (2 T) for v_0 = theta / 2; e_d comes from inputs
that vary: spikes sent too early cannot be taken back, and late input cannot be sent at one spike a
step. Exactly, theta N / T = x + (v_0 - v_T) / T.

Source: the two errors are those named in the abstract of Meng et al., Neural Networks 153, 2022;
the equations are a reconstruction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import ConversionError

NO_NEURONS = (
    "network: has no spiking neurons, so there are no conversion errors; convert an ANN first: "
    "spikeport convert"
)
Reals = NDArray[np.floating]
_TIE = 1e-6
"""Share of theta by which (T x + v_0) / theta may miss a whole number through rounding."""


@dataclass(frozen=True, slots=True)
class RelativeErrors:
    """Errors without a unit, of a layer or of several.

    Attributes:
        quantization, deviation, conversion: rms, divided by the rms activation; None if that is 0.
        total: rms, divided by the rms activation of the ANN; None if that is 0, or without one.
        input_sigma: standard deviation of the input over time, divided by the threshold.
    """

    quantization: float | None
    deviation: float | None
    conversion: float | None
    total: float | None
    input_sigma: float


@dataclass(frozen=True, slots=True)
class LayerErrors:
    """Errors of one layer after T steps, over neurons and samples.

    Values are in units of the membrane, rms; a layer of an ANN and its neurons have the same units.

    Attributes:
        layer: name of the neurons.
        steps: T.
        v_threshold: theta, the mean if neurons differ.
        activation: rms of a.
        quantization: rms of e_q.
        deviation: rms of e_d.
        conversion: rms of e_q + e_d, the error that the layer itself makes.
        total: rms of theta N / T minus the activation of an ANN, which includes the errors of all
            layers before; None without an ANN.
        reference: rms of that activation of the ANN; None without one.
        input_sigma: standard deviation of x_t over time, rms over neurons and samples.
        saturated: share of neurons, per sample, that fire at every step.
        rate: spikes per neuron and step.
    """

    layer: str
    steps: int
    v_threshold: float
    activation: float
    quantization: float
    deviation: float
    conversion: float
    total: float | None
    reference: float | None
    input_sigma: float
    saturated: float
    rate: float

    @property
    def relative(self) -> RelativeErrors:
        """The errors relative to the activation, the input's deviation to the threshold."""
        return RelativeErrors(
            quantization=_ratio(self.quantization, self.activation),
            deviation=_ratio(self.deviation, self.activation),
            conversion=_ratio(self.conversion, self.activation),
            total=_ratio(self.total, self.reference),
            input_sigma=self.input_sigma / self.v_threshold,
        )


class ErrorTally:
    """Adds up the errors of one layer over batches, after several numbers of steps.

    Args:
        steps: the numbers of steps T to measure after, ascending.
        v_threshold, v_init: theta and v_0, numbers or arrays of the shape of the layer.
    """

    def __init__(
        self,
        layer: str,
        steps: Sequence[int],
        v_threshold: float | Reals,
        v_init: float | Reals,
    ) -> None:
        self.layer = layer
        self.steps = tuple(steps)
        self._theta, self._start = np.float64(1) * v_threshold, np.float64(1) * v_init
        self._sums = np.zeros((len(self.steps), len(_SUMS)))
        self._count = 0
        self._referenced = 0

    def add(self, x: Reals, spikes: Reals | NDArray[np.uint8], wanted: Reals | None = None) -> None:
        """Add a batch.

        Args:
            x: currents (T, B, *shape), or (1, B, *shape) if constant.
            spikes: 0 and 1, (T, B, *shape), T the largest of `steps`.
            wanted: activations of an ANN, (B, *shape).

        Raises:
            InputError: the activations have another shape than the neurons.
        """
        if wanted is not None and wanted.shape != x.shape[1:]:
            raise ConversionError(
                f"layer '{self.layer}': neurons of shape {x.shape[2:]}, the activation of this "
                f"name in the ANN has {wanted.shape[1:]}; is it the ANN that was converted?"
            )
        total = np.zeros(x.shape[1:])
        square, fired = np.zeros_like(total), np.zeros_like(total)
        before = 0
        for row, steps in enumerate(self.steps):
            part = x[before:steps] if len(x) > 1 else x
            times = 1 if len(x) > 1 else steps - before
            total += times * part.sum(0, dtype=np.float64)
            square += times * np.square(part, dtype=np.float64).sum(0)
            fired += spikes[before:steps].sum(0, dtype=np.float64)
            before = steps
            self._sums[row] += self._measured(steps, total, square, fired, wanted)
        self._count += total.size
        self._referenced += total.size if wanted is not None else 0

    def _measured(
        self, steps: int, total: Reals, square: Reals, fired: Reals, wanted: Reals | None
    ) -> Reals:
        theta, mean = self._theta, total / steps
        ideal = np.clip(np.floor((total + self._start) / theta + _TIE), 0, steps) * (theta / steps)
        rate = fired * (theta / steps)
        activation = np.clip(mean, 0, theta)
        found = {
            "activation": _squares(activation),
            "quantization": _squares(ideal - activation),
            "deviation": _squares(rate - ideal),
            "conversion": _squares(rate - activation),
            "total": 0.0 if wanted is None else _squares(rate - wanted),
            "reference": 0.0 if wanted is None else _squares(wanted),
            "variance": float(np.maximum(square / steps - mean**2, 0).sum()),
            "saturated": float((fired == steps).sum()),
            "spikes": float(fired.sum()) / steps,
        }
        return np.array([found[name] for name in _SUMS])

    def errors(self) -> tuple[LayerErrors, ...]:
        """The errors after each number of steps."""
        return tuple(map(self._errors, self.steps, self._sums))

    def _errors(self, steps: int, sums: Reals) -> LayerErrors:
        mean = dict(zip(_SUMS, (sums / max(self._count, 1)).tolist(), strict=True))
        root = {name: math.sqrt(value) for name, value in mean.items()}
        compared = self._count > 0 and self._referenced == self._count
        return LayerErrors(
            layer=self.layer,
            steps=steps,
            v_threshold=float(np.mean(self._theta)),
            activation=root["activation"],
            quantization=root["quantization"],
            deviation=root["deviation"],
            conversion=root["conversion"],
            total=root["total"] if compared else None,
            reference=root["reference"] if compared else None,
            input_sigma=root["variance"],
            saturated=mean["saturated"],
            rate=mean["spikes"],
        )


_SUMS = (
    "activation",
    "quantization",
    "deviation",
    "conversion",
    "total",
    "reference",
    "variance",
    "saturated",
    "spikes",
)


def _ratio(value: float | None, unit: float | None) -> float | None:
    return value / unit if value is not None and unit else None


def _squares(values: Reals) -> float:
    return float(np.square(values).sum())
