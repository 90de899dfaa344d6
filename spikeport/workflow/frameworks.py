"""Networks straight from other frameworks' modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

from spikeport.network import Input

if TYPE_CHECKING:  # Neither nir nor torch is needed to import this module.
    from spikeport.export import FloatNetwork
    from spikeport.trainer.frameworks import Framework, Module
    from spikeport.trainer.network import SpikingNetwork


@overload
def from_norse(
    module: Module, input: Input, steps: int, *, trainable: Literal[False] = False
) -> FloatNetwork: ...
@overload
def from_norse(
    module: Module, input: Input, steps: int, *, trainable: Literal[True]
) -> SpikingNetwork: ...
def from_norse(
    module: Module, input: Input, steps: int, *, trainable: bool = False
) -> FloatNetwork | SpikingNetwork:
    """Read a trained module of Norse (tested: 1.1.0), which need not have a NIR export.

    Neurons: LIFBoxCell, LIFCell, LIF, LIFRecurrentCell, LIFRecurrent, IAFCell, IAF, and without
    spikes LICell, LI, LILinearCell, LIBoxCell. LIF, LIFRecurrent, IAF and LI take all steps,
    (T, B, *input.shape), the others one, (B, *input.shape). Containers: SequentialState, Lift.

    The module is run once on zeros in evaluation mode, and left as it was. Layers of torch and
    neurons may be connected in any way that is the same at every step; sums are the only other
    operation between layers.

    Args:
        input: shape, coding and range of one sample at one step.
        steps: T.
        trainable: return a `SpikingNetwork` that shares the module's parameters. Its neurons must
            be `LIF` or `LI` exactly, such as LIFBoxCell or IAFCell with one decay and threshold.

    Returns:
        A float network with the same spikes, to run, quantize, write and compare.

    Raises:
        InputError: the module contains or does something without a counterpart; the message names
            the layer and the reason.
    """
    from spikeport.trainer.frameworks import NORSE

    return _from(NORSE, module, input, steps, trainable)


@overload
def from_snntorch(
    module: Module, input: Input, steps: int, *, trainable: Literal[False] = False
) -> FloatNetwork: ...
@overload
def from_snntorch(
    module: Module, input: Input, steps: int, *, trainable: Literal[True]
) -> SpikingNetwork: ...
def from_snntorch(
    module: Module, input: Input, steps: int, *, trainable: bool = False
) -> FloatNetwork | SpikingNetwork:
    """Read a trained module of snnTorch (tested: 1.0.0), which need not have a NIR export.

    Neurons: Leaky, RLeaky, Synaptic, with all resets and reset_delay that can be expressed. The
    module takes one step, (B, *input.shape), or loops over (T, B, *input.shape) or (B, T, ...),
    with states of its own or hidden ones. The membrane of the last neurons may be returned instead
    of spikes if their reset_mechanism is "none".

    The module is run once on zeros in evaluation mode, and left as it was. Layers of torch and
    neurons may be connected in any way that is the same at every step; sums are the only other
    operation between layers.

    Args:
        input: shape, coding and range of one sample at one step.
        steps: T.
        trainable: return a `SpikingNetwork` that shares the module's parameters. Its neurons must
            be `LIF` or `LI` exactly, such as Leaky with reset_mechanism="zero".

    Returns:
        A float network with the same spikes, to run, quantize, write and compare.

    Raises:
        InputError: the module contains or does something without a counterpart; the message names
            the layer and the reason.
    """
    from spikeport.trainer.frameworks import SNNTORCH

    return _from(SNNTORCH, module, input, steps, trainable)


@overload
def from_spikingjelly(
    module: Module, input: Input, steps: int, *, trainable: Literal[False] = False
) -> FloatNetwork: ...
@overload
def from_spikingjelly(
    module: Module, input: Input, steps: int, *, trainable: Literal[True]
) -> SpikingNetwork: ...
def from_spikingjelly(
    module: Module, input: Input, steps: int, *, trainable: bool = False
) -> FloatNetwork | SpikingNetwork:
    """Read a trained module of SpikingJelly (tested: 2.0.0), which need not have a NIR export.

    Neurons: IFNode, HalfThresholdIFNode, LIFNode, ParametricLIFNode, SimpleIFNode, SimpleLIFNode,
    CUBALIFNode, and without spikes NonSpikingIFNode, NonSpikingLIFNode; in step mode "s",
    (B, *input.shape), or "m", (T, B, *input.shape). Containers: those for steps,
    LinearRecurrentContainer, and ElementWiseRecurrentContainer of a sum.

    The module is run once on zeros in evaluation mode, and left as it was. Layers of torch and
    neurons may be connected in any way that is the same at every step; sums are the only other
    operation between layers.

    Args:
        input: shape, coding and range of one sample at one step.
        steps: T.
        trainable: return a `SpikingNetwork` that shares the module's parameters. Its neurons must
            be `LIF` or `LI` exactly, such as IFNode and LIFNode.

    Returns:
        A float network with the same spikes, to run, quantize, write and compare.

    Raises:
        InputError: the module contains or does something without a counterpart; the message names
            the layer and the reason.
    """
    from spikeport.trainer.frameworks import SPIKINGJELLY

    return _from(SPIKINGJELLY, module, input, steps, trainable)


@overload
def from_sinabs(
    module: Module, input: Input, steps: int, *, trainable: Literal[False] = False
) -> FloatNetwork: ...
@overload
def from_sinabs(
    module: Module, input: Input, steps: int, *, trainable: Literal[True]
) -> SpikingNetwork: ...
def from_sinabs(
    module: Module, input: Input, steps: int, *, trainable: bool = False
) -> FloatNetwork | SpikingNetwork:
    """Read a trained module of Sinabs (tested: 3.1.3), which need not have a NIR export.

    Neurons: IAF, LIF, ExpLeak, their Squeeze and Recurrent forms, without a lower limit of v. The
    module takes (B, T, *input.shape), or (B T, *input.shape) with the Squeeze form. With the
    default spike_fn, neurons send several spikes per step, which runs in floats but on no chip;
    `SingleSpike` can be deployed.

    The module is run once on zeros in evaluation mode, and left as it was. Layers of torch and
    neurons may be connected in any way that is the same at every step; sums are the only other
    operation between layers.

    Args:
        input: shape, coding and range of one sample at one step.
        steps: T.
        trainable: return a `SpikingNetwork` that shares the module's parameters. Its neurons must
            be `LIF` or `LI` exactly, such as IAF with SingleSpike.

    Returns:
        A float network with the same spikes, to run, quantize, write and compare.

    Raises:
        InputError: the module contains or does something without a counterpart; the message names
            the layer and the reason.
    """
    from spikeport.trainer.frameworks import SINABS

    return _from(SINABS, module, input, steps, trainable)


def _from(
    framework: Framework, module: Any, input: Input, steps: int, trainable: bool
) -> FloatNetwork | SpikingNetwork:
    from spikeport.checks import MAX_STEPS, whole
    from spikeport.trainer.frameworks import foreign_model, read, trainable_network
    from spikeport.trainer.rules import GradientRule

    steps = whole("network: steps (T)", steps, 1, MAX_STEPS)
    reading = read(framework, module, input, steps)
    if trainable:
        return trainable_network(reading, GradientRule.RATE_M).train(module.training)
    from spikeport.export import export_foreign

    return export_foreign(foreign_model(reading))
