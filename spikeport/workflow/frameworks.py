"""Networks straight from other frameworks' modules."""

from __future__ import annotations

from collections.abc import Callable
from inspect import cleandoc
from typing import TYPE_CHECKING, Literal, Protocol, overload

from spikeport.network import Input

if TYPE_CHECKING:  # Neither nir nor torch is needed to import this module.
    from spikeport.export import FloatNetwork
    from spikeport.trainer.frameworks import Framework, Module
    from spikeport.trainer.network import SpikingNetwork


class _Reader(Protocol):
    @overload
    def __call__(
        self, module: Module, input: Input, steps: int, *, trainable: Literal[False] = False
    ) -> FloatNetwork: ...
    @overload
    def __call__(
        self, module: Module, input: Input, steps: int, *, trainable: Literal[True]
    ) -> SpikingNetwork: ...
    @overload
    def __call__(
        self, module: Module, input: Input, steps: int, *, trainable: bool
    ) -> FloatNetwork | SpikingNetwork: ...


_SHARED = """
The module is run once on zeros in evaluation mode, and left as it was. Layers of torch and
neurons may be connected in any way that is the same at every step; sums are the only other
operation between layers.

Args:
    input: shape, coding and range of one sample at one step.
    steps: T.
    trainable: return a `SpikingNetwork` that shares the module's parameters. Its neurons must be
        `LIF` or `LI` exactly, like those named above.

Returns:
    A float network with the same spikes, to run, quantize, write and compare.

Raises:
    InputError: the module contains or does something without a counterpart; the message names
        the layer and the reason.
"""


def _reader(framework: Callable[[], Framework]) -> _Reader:
    """Make a function that reads modules; its docstring ends with what all of them have in common.

    Args:
        framework: imports the framework; its docstring says what is special to it.
    """

    def read_module(
        module: Module, input: Input, steps: int, *, trainable: bool = False
    ) -> FloatNetwork | SpikingNetwork:
        from spikeport.checks import MAX_STEPS, whole
        from spikeport.trainer.frameworks import foreign_model, read, trainable_network
        from spikeport.trainer.rules import GradientRule

        steps = whole("network: steps (T)", steps, 1, MAX_STEPS)
        reading = read(framework(), module, input, steps)
        if trainable:
            return trainable_network(reading, GradientRule.RATE_M).train(module.training)
        from spikeport.export import export_foreign

        return export_foreign(foreign_model(reading))

    read_module.__name__ = read_module.__qualname__ = framework.__name__
    read_module.__doc__ = f"{cleandoc(framework.__doc__ or '')}\n{_SHARED}"
    return read_module  # type: ignore[return-value]


@_reader
def from_norse() -> Framework:
    """Read a trained module of Norse (tested: 1.1.0), which need not have a NIR export.

    Neurons: LIFBoxCell, LIFCell, LIF, LIFRecurrentCell, LIFRecurrent, IAFCell, IAF, and without
    spikes LICell, LI, LILinearCell, LIBoxCell. LIF, LIFRecurrent, IAF and LI take all steps,
    (T, B, *input.shape), the others one, (B, *input.shape). Containers: SequentialState, Lift.
    LIFBoxCell and IAFCell with one decay and threshold can be trained.
    """
    from spikeport.trainer.frameworks import NORSE

    return NORSE


@_reader
def from_snntorch() -> Framework:
    """Read a trained module of snnTorch (tested: 1.0.0), which need not have a NIR export.

    Neurons: Leaky, RLeaky, Synaptic, with all resets and reset_delay that can be expressed. The
    module takes one step, (B, *input.shape), or loops over (T, B, *input.shape) or (B, T, ...),
    with states of its own or hidden ones. The membrane of the last neurons may be returned instead
    of spikes if their reset_mechanism is "none". Leaky with reset_mechanism="zero" can be trained.
    """
    from spikeport.trainer.frameworks import SNNTORCH

    return SNNTORCH


@_reader
def from_spikingjelly() -> Framework:
    """Read a trained module of SpikingJelly (tested: 2.0.0), which need not have a NIR export.

    Neurons: IFNode, HalfThresholdIFNode, LIFNode, ParametricLIFNode, SimpleIFNode, SimpleLIFNode,
    CUBALIFNode, and without spikes NonSpikingIFNode, NonSpikingLIFNode; in step mode "s",
    (B, *input.shape), or "m", (T, B, *input.shape). Containers: those for steps,
    LinearRecurrentContainer, and ElementWiseRecurrentContainer of a sum. IFNode and LIFNode can be
    trained.
    """
    from spikeport.trainer.frameworks import SPIKINGJELLY

    return SPIKINGJELLY


@_reader
def from_sinabs() -> Framework:
    """Read a trained module of Sinabs (tested: 3.1.3), which need not have a NIR export.

    Neurons: IAF, LIF, ExpLeak, their Squeeze and Recurrent forms, without a lower limit of v. The
    module takes (B, T, *input.shape), or (B T, *input.shape) with the Squeeze form. With the
    default spike_fn, neurons send several spikes per step, which runs in floats but on no chip;
    `SingleSpike` can be deployed, and IAF with it can be trained.
    """
    from spikeport.trainer.frameworks import SINABS

    return SINABS
