"""Sample counts and limits of a parity ladder."""

from __future__ import annotations

import dataclasses

from spikeport.energy import DEFAULT_PROFILE
from spikeport.errors import InputError, ValueRangeError
from spikeport.export import QuantizeConfig
from spikeport.parity import Limits

CALIBRATION = 256
"""Training samples that choose scales, unless told otherwise."""


@dataclasses.dataclass(frozen=True, slots=True)
class LadderConfig:
    """Sample counts, calibration and limits of a ladder.

    Attributes:
        samples: number of held-out samples for the fast stages, None for all.
        calibration: number of training samples used to choose the quantization scales.
        reference_samples, lava_samples: number of first samples for the slow stages; 0 skips one.
        limits: how much accuracy and spike counts may change by quantization and by ties.
        timeout_s: wall-clock limit of a stage on a slow backend (Lava); None for its default.
        profile: source of the energy prices: name of a built-in profile, or path of a file.
        quantize: options of quantization, for a network that is not yet in chip arithmetic.

    Raises:
        InputError: a number of samples is too small, or `timeout_s` is not positive.
    """

    samples: int | None = None
    calibration: int = CALIBRATION
    reference_samples: int = 4
    lava_samples: int = 32
    limits: Limits = dataclasses.field(default_factory=Limits)
    timeout_s: float | None = None
    profile: str = DEFAULT_PROFILE
    quantize: QuantizeConfig = dataclasses.field(default_factory=QuantizeConfig)

    def __post_init__(self) -> None:
        least = {"samples": 1, "calibration": 1, "reference_samples": 0, "lava_samples": 0}
        for name, fewest in least.items():
            value = getattr(self, name)
            if value is not None and value < fewest:
                raise ValueRangeError(f"ladder: {name} is {value}, must be at least {fewest}")
        if self.timeout_s is not None and not self.timeout_s > 0:
            raise ValueRangeError(f"ladder: timeout_s is {self.timeout_s}, must be above 0")
        if self.quantize.input_coding == "rate":
            raise InputError(
                "ladder: input_coding rate adds neurons that the float stages do not have; "
                "quantize with it first, and run the ladder of the deployed network"
            )
