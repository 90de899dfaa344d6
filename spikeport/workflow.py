"""Functions that join layers which do not know each other."""

from __future__ import annotations

from spikeport.export.quantize import QuantizationResult, QuantizeConfig
from spikeport.export.quantize import quantize as quantize_with
from spikeport.float_network import FloatNetwork
from spikeport.samples import Samples


def quantize(
    network: FloatNetwork, samples: Samples, config: QuantizeConfig | None = None
) -> QuantizationResult:
    """Round a float network to chip integers, calibrated with our own simulators.

    Args:
        samples: calibration samples in float units, (B, *shape) or (T, B, *shape); some hundred
            training samples are enough.

    Raises:
        InputError: the graph holds what the chip cannot do (every reason is listed), or the
            samples do not fit.
    """
    from spikeport.simulators.float_nir import run_float
    from spikeport.simulators.native import run_native

    return quantize_with(network, samples, run_float=run_float, run_chip=run_native, config=config)
