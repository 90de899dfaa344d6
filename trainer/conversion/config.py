"""`ConversionConfig`: how an ANN becomes a spiking network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, NamedTuple

from spikeport.checks import choice, integer
from spikeport.errors import ConversionError, ValueRangeError
from spikeport.trainer.conversion.shortcuts import Shortcuts


class ConversionMethod(StrEnum):
    """How thresholds are found, and where the membrane starts.

    TUNED: trained thresholds, then searched layer by layer on real spikes; residual blocks whose
        shortcuts carry spikes. TTRBR-style (threshold tuning, residual block restructuring),
        reconstructed from the abstract of Meng et al., Neural Networks 153, 2022.
    QCFS: thresholds trained with `levels` levels, v_0 = theta / 2 (Bu et al., ICLR 2022, arXiv
        2303.04347).
    QUANTIZED_ANN: the same with as many levels as steps, T = 2^b - 1 for b bits (as in NeuBridge,
        Intelli-Chip-Lab).
    DATA_BASED: thresholds are a percentile of the activations of a ReLU network, v_0 = 0 (Diehl et
        al., IJCNN 2015; the percentile: Rueckauer et al., Frontiers in Neuroscience 11, 2017).
    INITIAL_POTENTIAL: the same with v_0 = theta / 2 (Bu et al., AAAI 2022, arXiv 2202.01440).
    """

    TUNED = "tuned"
    QCFS = "qcfs"
    QUANTIZED_ANN = "quantized-ann"
    DATA_BASED = "data-based"
    INITIAL_POTENTIAL = "initial-potential"


class Parts(NamedTuple):
    """What a method consists of, and what its results are to be called where they are shown."""

    trains: bool
    searches: bool
    restructures: bool
    initial: float
    label: str = ""


_PERCENTILE = Parts(trains=False, searches=False, restructures=False, initial=0.5)
_TRAINED = _PERCENTILE._replace(trains=True)
PARTS: Mapping[ConversionMethod, Parts] = {
    ConversionMethod.TUNED: _TRAINED._replace(
        searches=True,
        restructures=True,
        label="TTRBR-style, reconstructed from the abstract of Meng et al. 2022",
    ),
    ConversionMethod.QCFS: _TRAINED,
    ConversionMethod.QUANTIZED_ANN: _TRAINED,
    ConversionMethod.DATA_BASED: _PERCENTILE._replace(initial=0.0),
    ConversionMethod.INITIAL_POTENTIAL: _PERCENTILE,
}
"""Every method; a new one is complete once it is listed here."""


@dataclass(frozen=True, slots=True)
class ConversionConfig:
    """How to convert an ANN, for how many steps, and how long its thresholds are trained.

    Attributes:
        method: see `ConversionMethod`.
        steps: T.
        levels: L, the levels of activations in training; None for 4 up to T = 8, and then 8, but at
            most T. Fewer levels mean lower thresholds, which few steps need, and more clipping.
            Methods without training do not use it.
        search: whether thresholds are searched on spikes; None for what the method does.
        shortcuts: of residual blocks, see `Shortcuts`; None for what the method does: with
            `tuned` those of least input variance, if that is at least a fifth below that of the
            network as it was built; otherwise as it was built.
        percentile: of the activations, from which thresholds start; 100 is the maximum.
        calibration: number of training samples for percentiles and the search.
        epochs, lr, batch_size, weight_decay: of the training of thresholds and weights, by SGD with
            a cosine rate; not used if the ANN has quantized activations with these levels already.

    Raises:
        InputError: a value is out of its range.
    """

    __pydantic_config__: ClassVar[Mapping[str, str]] = {"extra": "forbid"}

    method: ConversionMethod = ConversionMethod.TUNED
    steps: int = 8
    levels: int | None = None
    search: bool | None = None
    shortcuts: Shortcuts | None = None
    percentile: float = 99.9
    calibration: int = 256
    epochs: int = 2
    lr: float = 0.005
    batch_size: int = 128
    weight_decay: float = 5e-4

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "method", choice("conversion: method", ConversionMethod, self.method)
        )
        if self.shortcuts is not None:
            made = choice("conversion: shortcuts", Shortcuts, self.shortcuts)
            object.__setattr__(self, "shortcuts", made)
        integer("conversion: steps (T)", self.steps, 1, 2**16)
        if self.levels is not None:
            integer("conversion: levels", self.levels, 1, 2**16)
        if not 0 < self.percentile <= 100:
            raise ValueRangeError(
                f"conversion: percentile is {self.percentile}, must lie in 0..100, above 0"
            )
        integer("conversion: calibration", self.calibration, 1, 2**20)
        integer("conversion: epochs", self.epochs, 0, 2**20)
        integer("conversion: batch_size", self.batch_size, 1, 2**20)
        for name in ("lr", "weight_decay"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0 and (value > 0 or name != "lr")):
                raise ValueRangeError(f"conversion: {name} is {value}, must be positive")
        parts = PARTS[self.method]
        if not parts.trains and self.levels is not None:
            raise ConversionError(
                f"conversion: levels is {self.levels}, but '{self.method}' does not train "
                "quantized activations"
            )
        if self.method is ConversionMethod.QUANTIZED_ANN and self.levels not in (None, self.steps):
            raise ConversionError(
                f"conversion: levels is {self.levels}, '{self.method}' has as many as steps, "
                f"{self.steps}"
            )

    @property
    def trained_levels(self) -> int | None:
        """L of the activations in training; None for a method that does not train them."""
        if not PARTS[self.method].trains:
            return None
        if self.method is ConversionMethod.QUANTIZED_ANN:
            return self.steps
        return self.levels or min(self.steps, 4 if self.steps <= 8 else 8)

    @property
    def searches(self) -> bool:
        """Whether thresholds are searched on spikes."""
        return PARTS[self.method].searches if self.search is None else self.search

    @property
    def label(self) -> str:
        """What results are to be called; empty for a method that has a name of its own."""
        return PARTS[self.method].label

    @property
    def initial(self) -> float:
        """v_0 as a share of theta."""
        return PARTS[self.method].initial
