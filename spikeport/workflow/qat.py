"""Prepare a trained network for training in chip arithmetic."""

from __future__ import annotations

from dataclasses import replace

from spikeport.errors import InputError, TrainingError
from spikeport.export.quantize import QuantizeConfig
from spikeport.export.quantize.config import RATE
from spikeport.export.quantize.lower import lower
from spikeport.export.quantize.rounding import tie_bias
from spikeport.export.quantize.target import FORMATS
from spikeport.network import require_lif
from spikeport.runs import Samples
from spikeport.trainer.chip import QATNetwork
from spikeport.trainer.chip.limits import TargetLimits
from spikeport.trainer.network import SpikingNetwork, deployable
from spikeport.trainer.neurons import LI
from spikeport.workflow.networks import export_float
from spikeport.workflow.run import quantize


def prepare_qat(
    model: SpikingNetwork,
    samples: Samples,
    config: QuantizeConfig | None = None,
    *,
    static: bool = False,
) -> QATNetwork:
    """Fold batch norms, quantize, and keep the real weights as float master weights.

    Scales are searched on calibration samples, as in `quantize`, and kept in training, as are the
    limits of a target; but outliers
    are not clipped beyond `clip_fractions`, because training depends more on the range of the grid
    than rounding does. The warnings of `quantize` are logged and stored in
    `quantization_warnings`.

    Args:
        samples: a few hundred training samples in float units.
        static: the samples are (B, *shape), even if B = T.

    Raises:
        InputError: the network cannot be deployed, or not trained in this way (every reason is
            listed), there are no samples, or the target of `config` is a file format or takes
            fewer bits.
    """
    config = config or QuantizeConfig()
    limits = _limits(config)
    if samples is None:
        raise InputError("samples is None, must be calibration samples of shape (B, *shape)")
    graph = export_float(model)
    whole = replace(config.constraints, exponent_min=0)
    config = replace(config, search_wider=False, constraints=whole)
    made = quantize(graph, samples, config, static=static)
    inputs = made.network.inputs
    real = lower(replace(graph, inputs=inputs), pools=config.constraints.pools)
    frozen = {
        node.name
        for node in deployable(model).nodes
        if any(not p.requires_grad for p in node.op.parameters())
    }
    network = QATNetwork(
        made.network,
        weights={c.name: c.weight for c in real.connections},
        biases={
            part.name: part.bias + tie_bias(part, require_lif(made.network.by_name[part.name]))
            for part in real.populations
        },
        frozen=[c.name for c in real.connections if c.name in frozen],
        mean_scores=not isinstance(model.nodes[-1].op, LI),
        limits=limits,
    )
    network.quantization_warnings = made.report.warnings
    return network


def _limits(config: QuantizeConfig) -> TargetLimits | None:
    """What training has to keep to.

    Raises:
        InputError: it cannot.
    """
    name, kept = config.target, config.constraints
    if config.input_coding == RATE:
        raise TrainingError(
            "input_coding is rate, whose neurons cannot be trained in chip arithmetic; use binary"
        )
    if name is None:
        return None
    if name in FORMATS:
        raise TrainingError(
            f"target is '{name}', which training in chip arithmetic does not keep to; "
            "train in floats and quantize for the target"
        )
    if config.weight_bits > kept.weight_bits:
        raise TrainingError(
            f"weight_bits is {config.weight_bits}, but target '{name}' takes at most "
            f"{kept.weight_bits}; train with that many"
        )
    return TargetLimits(name, kept.sum_max, kept.bias_min)
