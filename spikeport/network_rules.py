"""The rules that every part of a `DeployedNetwork` keeps, each with its one clear error."""

from __future__ import annotations

import math
import re
from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeport import fixed_point as fx
from spikeport.errors import InputError

if TYPE_CHECKING:
    from spikeport.network import (
        BiasInjection,
        Connection,
        DeployedNetwork,
        Population,
        SumPool2d,
        Synapses,
    )

_Kind = TypeVar("_Kind", bound=StrEnum)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def fail(message: str) -> NoReturn:
    """Raise the one error of a broken rule."""
    raise InputError(message)


def integer(subject: str, value: Any, low: int, high: int) -> int:
    """An integer within [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        fail(f"{subject} is {value!r}, must be an integer")
    if not low <= value <= high:
        fail(f"{subject} is {value}, must lie in {low}..{high}")
    return int(value)


def choice(subject: str, kinds: type[_Kind], value: Any) -> _Kind:
    """A member of an enumeration, given as such or by its value."""
    try:
        return kinds(value)
    except ValueError:
        allowed = ", ".join(f"'{kind.value}'" for kind in kinds)
        fail(f"{subject} is {value!r}, must be one of {allowed}")


def shape(name: str, value: Any) -> tuple[int, ...]:
    """(N,) or (C, H, W) with positive sizes."""
    value = (value,) if isinstance(value, int | np.integer) else tuple(value)
    if len(value) not in (1, 3):
        fail(f"'{name}': shape {value} must be (N,) or (C, H, W)")
    return tuple(integer(f"'{name}': shape {value}: size", n, 1, 2**31 - 1) for n in value)


def pair(subject: str, value: Any) -> tuple[int, int]:
    """Two non-negative integers; one integer stands for both."""
    value = (value, value) if isinstance(value, int | np.integer) else tuple(value)
    if len(value) != 2:
        fail(f"{subject} is {value}, must be one or two integers")
    return (integer(subject, value[0], 0, 2**15), integer(subject, value[1], 0, 2**15))


def scale(name: str, value: float) -> None:
    """A positive finite number."""
    if not (math.isfinite(value) and value > 0):
        fail(f"'{name}': scale is {value}, must be positive and finite")


def input_range(name: str, coding: str, low: int, high: int) -> None:
    """The allowed values of an input fit what its coding can carry."""
    limits = {
        "spikes": (0, 1),
        "graded": (fx.PAYLOAD_MIN, fx.PAYLOAD_MAX),
        "bias": (fx.BIAS_MANTISSA_MIN, fx.BIAS_MANTISSA_MAX),
    }[coding]
    integer(f"input '{name}' ({coding}): low", low, *limits)
    integer(f"input '{name}' ({coding}): high", high, *limits)
    if low > high:
        fail(f"input '{name}': low {low} is above high {high}")


def integers(subject: str, value: ArrayLike, dtype: type[np.integer]) -> NDArray[Any]:
    """A read-only C-ordered integer array of `dtype`; floats are refused, never rounded."""
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        bad = "" if array.dtype.kind != "f" or np.isfinite(array).all() else " with NaN or infinity"
        fail(f"{subject} has type {array.dtype}{bad}, must be integers")
    info = np.iinfo(dtype)
    if array.size and (array.min() < info.min or array.max() > info.max):
        fail(f"{subject} spans {array.min()}..{array.max()}, must fit {info.min}..{info.max}")
    frozen = np.array(array, dtype=dtype, order="C")
    frozen.setflags(write=False)
    return frozen


def bias(name: str, value: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Mantissas, broadcast from a scalar, one per neuron."""
    array = integers(f"population '{name}': bias", value, np.int32)
    if array.shape not in ((), shape):
        fail(f"population '{name}': bias has shape {array.shape}, must be {shape}")
    full = np.array(np.broadcast_to(array, shape))
    low, high = fx.BIAS_MANTISSA_MIN, fx.BIAS_MANTISSA_MAX
    if full.min() < low or full.max() > high:
        worst = full.min() if full.min() < low else full.max()
        fail(f"population '{name}': bias mantissa {worst} must lie in {low}..{high} (13 bits)")
    full.setflags(write=False)
    return full


def population(part: Population) -> None:
    """Scalars of a population within their register widths."""
    subject = f"population '{part.name}'"
    integer(f"{subject}: decay_u", part.decay_u, 0, fx.DECAY_UNITY)
    integer(f"{subject}: decay_v", part.decay_v, 0, fx.DECAY_UNITY)
    integer(f"{subject}: vth", part.vth, 0, fx.VTH_MAX)
    integer(f"{subject}: bias_exponent", part.bias_exponent, 0, fx.BIAS_EXPONENT_MAX)
    integer(f"{subject}: v_init", part.v_init, -fx.STATE_MAX, fx.STATE_MAX)
    scale(part.name, part.scale)


def pool(part: SumPool2d) -> None:
    """Windows that do not overlap: otherwise a spike would reach one synapse along two ways."""
    for kernel, stride, padding in zip(part.kernel_size, part.stride, part.padding, strict=True):
        if kernel < 1 or stride < kernel:
            fail(
                f"sum-pool: kernel {kernel} with stride {stride}: windows must not overlap "
                "(stride >= kernel >= 1)"
            )
        if padding >= kernel:
            fail(f"sum-pool: padding {padding} must be smaller than the kernel {kernel}")


def weight(part: Synapses, dims: int) -> NDArray[np.int16]:
    """Mantissas with the right number of axes, on the chip's grid."""
    subject = f"connection '{part.name}'"
    bits = integer(f"{subject}: weight_bits", part.weight_bits, 1, fx.WEIGHT_BITS)
    array = integers(f"{subject}: weight", part.weight, np.int16)
    if array.ndim != dims or 0 in array.shape:
        fail(f"{subject}: weight has shape {array.shape}, must have {dims} non-empty axes")
    wrong = fx.off_grid(array, bits)
    if wrong.any():
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        mixed = fx.is_mixed(array)
        low, high, step = fx.weight_grid(mixed=mixed, bits=bits)
        signs = "mixed signs" if mixed else "one sign, as magnitudes"
        fail(
            f"{subject}: weight {array[index]} at {index} is off the {bits}-bit grid for {signs} "
            f"({low}..{high} in steps of {step}); {int(wrong.sum())} of {array.size} are off"
        )
    return array


def connection(part: Synapses) -> None:
    """Scalars of a connection within what the chip expresses."""
    subject = f"connection '{part.name}'"
    low, high = fx.WEIGHT_EXPONENT_MIN, fx.WEIGHT_EXPONENT_MAX
    integer(f"{subject}: exponent", part.exponent, low, high)
    integer(f"{subject}: delay", part.delay, 0, fx.DELAY_MAX)
    if (groups := getattr(part, "groups", None)) is not None:
        integer(f"{subject}: groups", groups, 1, part.weight.shape[0])
        if part.weight.shape[0] % groups:
            fail(f"{subject}: groups {groups} must divide {part.weight.shape[0]} output channels")
        for name in ("stride", "dilation"):
            if min(getattr(part, name)) < 1:
                fail(f"{subject}: {name} {getattr(part, name)} must be at least 1")


def network(net: DeployedNetwork) -> None:
    """Names unique and safe, ends known, shapes meeting, T and readouts sensible."""
    integer("network: steps (T)", net.steps, 1, 2**31 - 1)
    parts = (*net.inputs, *net.populations, *net.connections)
    for name, count in Counter(part.name for part in parts).items():
        if not _NAME.fullmatch(name):
            fail(f"name {name!r} must be 1 to 64 letters, digits or '_', not a digit first")
        if count > 1:
            fail(f"name '{name}' is used {count} times, names must be unique")
    for what, group in (("input", net.inputs), ("population", net.populations)):
        if not group:
            fail(f"network: has no {what}, needs at least one")
    for part in net.connections:
        _ends(net, part)
    if not net.readouts:
        fail("network: has no readout, needs at least one")
    for name, count in Counter(readout.population for readout in net.readouts).items():
        if count > 1:
            fail(f"readout: population '{name}' is read {count} times, once is the rule")
    for readout in net.readouts:
        if readout.population not in net.by_name:
            fail(f"readout: population '{readout.population}' does not exist")


def _ends(net: DeployedNetwork, part: Connection) -> None:
    from spikeport import network as kinds  # a cycle at import time

    subject = f"connection '{part.name}'"
    if part.source not in net.sources:
        fail(f"{subject}: source '{part.source}' does not exist")
    if part.target not in net.by_name:
        fail(f"{subject}: target '{part.target}' is not a population")
    source, target = net.sources[part.source], net.by_name[part.target]
    injected = getattr(source, "coding", None) == "bias"
    if isinstance(part, kinds.BiasInjection):
        if not injected:
            fail(f"{subject}: a bias injection needs an input of coding 'bias' as its source")
        _injection(net, part)
        return
    if injected:
        fail(f"{subject}: input '{part.source}' has coding 'bias', which crosses no synapses")
    _synapses(part, source.shape, target.shape)


def _injection(net: DeployedNetwork, part: BiasInjection) -> None:
    source, target = net.sources[part.source], net.by_name[part.target]
    subject = f"connection '{part.name}'"
    if source.shape != target.shape:
        fail(f"{subject}: input shape {source.shape} must equal the target's {target.shape}")
    feeds = [c for c in net.connections if c.target == part.target and not hasattr(c, "weight")]
    inputs = {i.name: i for i in net.inputs}
    low = int(target.bias.min()) + sum(inputs[c.source].low for c in feeds)
    high = int(target.bias.max()) + sum(inputs[c.source].high for c in feeds)
    if low < fx.BIAS_MANTISSA_MIN or high > fx.BIAS_MANTISSA_MAX:
        fail(
            f"{subject}: bias mantissas of '{part.target}' could span {low}..{high}, must lie in "
            f"{fx.BIAS_MANTISSA_MIN}..{fx.BIAS_MANTISSA_MAX} (13 bits)"
        )


def _synapses(part: Synapses, source: tuple[int, ...], target: tuple[int, ...]) -> None:
    subject = f"connection '{part.name}'"
    if part.pool is not None:
        if len(source) != 3:
            fail(f"{subject}: a sum-pool needs a source (C, H, W), got {source}")
        source = part.pool.output_shape(source)
        if min(source) < 1:
            fail(f"{subject}: the sum-pool leaves nothing of its source: {source}")
    if part.weight.ndim == 2:
        expected = (int(np.prod(target)), int(np.prod(source)))
        if part.weight.shape != expected:
            fail(f"{subject}: weight has shape {part.weight.shape}, must be {expected}")
        return
    if len(source) != 3:
        fail(f"{subject}: a convolution needs a source (C, H, W), got {source}")
    groups: int = part.groups  # type: ignore[union-attr]
    if source[0] != part.weight.shape[1] * groups:
        fail(
            f"{subject}: source has {source[0]} channels, weight {part.weight.shape} with "
            f"groups {groups} needs {part.weight.shape[1] * groups}"
        )
    made: tuple[int, ...] = part.output_shape(source)  # type: ignore[union-attr]
    if made != target:
        fail(f"{subject}: gives shape {made}, but '{part.target}' has {target}")


def order(net: DeployedNetwork) -> tuple[str, ...]:
    """Topological order over delay-free connections, by name where free to choose."""
    waiting = {
        part.name: {
            c.source
            for c in net.connections
            if c.target == part.name and getattr(c, "delay", 0) == 0 and c.source in net.by_name
        }
        for part in net.populations
    }
    done: list[str] = []
    while waiting:
        ready = sorted(name for name, needs in waiting.items() if needs <= set(done))
        if not ready:
            names = ", ".join(f"'{n}'" for n in sorted(waiting))
            fail(
                f"network: delay-free connections form a cycle through or before {names}; "
                "every cycle needs a connection with delay >= 1"
            )
        done += ready
        for name in ready:
            del waiting[name]
    return tuple(done)
