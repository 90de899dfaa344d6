"""How far a ladder goes."""

from __future__ import annotations

import dataclasses

from spikeport.errors import InputError
from spikeport.export import QuantizeConfig
from spikeport.parity import Limits


@dataclasses.dataclass(frozen=True, slots=True)
class LadderConfig:
    """How far each stage goes.

    Attributes:
        samples: held-out samples of the fast stages, None for all.
        calibration: training samples that choose the quantizer's scales.
        reference_samples, lava_samples: of the slow stages, from the first on; 0 leaves one out.
        limits: how much accuracy and spike counts may change by quantization and by ties.
        timeout_s: wall-clock limit of a stage on a slow backend (Lava); None leaves it its own.
    """

    samples: int | None = None
    calibration: int = 256
    reference_samples: int = 4
    lava_samples: int = 32
    limits: Limits = dataclasses.field(default_factory=Limits)
    timeout_s: float | None = None
    profile: str = "loihi1"
    quantize: QuantizeConfig = dataclasses.field(default_factory=QuantizeConfig)

    def __post_init__(self) -> None:
        least = {"samples": 1, "calibration": 1, "reference_samples": 0, "lava_samples": 0}
        for name, fewest in least.items():
            value = getattr(self, name)
            if value is not None and value < fewest:
                raise InputError(f"ladder: {name} is {value}, must be at least {fewest}")
        if self.timeout_s is not None and not self.timeout_s > 0:
            raise InputError(f"ladder: timeout_s is {self.timeout_s}, must be above 0")
