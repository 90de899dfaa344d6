"""Where a tensor of a recorded run is from, and where the results of operations on it are from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from spikeport.network import Shape
from spikeport.trainer.frameworks.operations import SUMMED, is_zero, regrouped, tensors_in

BATCH = 2
"""Samples of the recorded run; one more if T is the same, to tell their axes apart."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a tensor is from.

    Attributes:
        sources: the layers whose outputs it is the sum of.
        lead: its axes before those of a sample: "T", "B", and "TB" or "BT" if they are merged.
        shape: of one sample at one step.
        step: the step that it belongs to; None if all, or if it is the same at every step.
        alien: the operation of which it is a result, if no layer can be fed from it.
        state: it is a state of its source, not its output: "v" if it is the membrane.
    """

    sources: tuple[str, ...]
    lead: tuple[str, ...]
    shape: Shape
    step: int | None = None
    alien: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """Axes of a module's input before those of a sample, such as ("T", "B")."""

    lead: tuple[str, ...]

    def size(self, steps: int, batch: int) -> tuple[int, ...]:
        """Their sizes."""
        return tuple(math.prod({"T": steps, "B": batch}[c] for c in axis) for axis in self.lead)


STATIC, TIME_FIRST, BATCH_FIRST = Layout(("B",)), Layout(("T", "B")), Layout(("B", "T"))
MERGED = Layout(("BT",))


def summed(name: str, args: tuple[Any, ...], kwargs: Any, origins: Mapping[int, Origin]) -> Origin:
    """The origin of a sum; an operand without one must be zero."""
    parts = [origins.get(id(x)) for x in args[:2]]
    known = [part for part in parts if part is not None]
    if len(args) != 2 or kwargs:
        return replace(known[0], alien=f"{name} with options")
    if len(known) < 2:
        constant = next(x for x, part in zip(args, parts, strict=True) if part is None)
        kept = is_zero(constant)
        return known[0] if kept else replace(known[0], alien=f"{name} with a constant")
    one, other = known
    aliens = {one.alien, other.alien}
    alike = one.sources == other.sources and aliens <= {"", SUMMED}
    if alike and (aliens != {""} or one.step != other.step):
        return replace(one, step=None, alien=SUMMED)
    if one.alien or other.alien:
        odd = one.alien or other.alien
        return replace(one, alien=name if odd == SUMMED else odd)
    if None not in (one.step, other.step) and one.step != other.step:
        return replace(one, alien=f"a sum of steps {one.step} and {other.step}")
    if one.state or other.state or (one.lead, one.shape) != (other.lead, other.shape):
        return replace(one, alien=name)
    step = one.step if other.step is None else other.step
    return Origin((*one.sources, *other.sources), one.lead, one.shape, step)


def stacked(name: str, parts: list[Origin], args: Any, kwargs: Any, result: Any) -> Origin:
    """The origin of all steps, stacked in their order along an axis of their own."""
    first = parts[0]
    alike = all(part == replace(first, step=part.step) for part in parts)
    ordered = [part.step for part in parts] == list(range(len(parts)))
    axis = args[1] if len(args) > 1 else kwargs.get("dim", 0)
    whole = len(parts) == len(list(tensors_in(args[:1] or (kwargs.get("tensors"),))))
    if name != "stack" or not (alike and ordered and whole) or not isinstance(axis, int):
        return replace(first, alien=name)
    lead = list(first.lead)
    lead.insert(axis % result.ndim, "T")
    return replace(first, lead=tuple(lead), step=None)


def reshaped(name: str, origin: Origin, shape: Iterable[int], steps: int, batch: int) -> Origin:
    """Split or merge the axes before a sample, or flatten the sample."""
    shape = tuple(shape)
    sizes = Layout(origin.lead).size(steps, batch)
    for lead in regrouped(origin.lead):
        if shape == (*Layout(lead).size(steps, batch), *origin.shape):
            return replace(origin, lead=lead)
    flat = (math.prod(origin.shape),)
    for lead in (origin.lead, *regrouped(origin.lead)):
        if shape == (*Layout(lead).size(steps, batch), *flat):
            return replace(origin, lead=lead, shape=flat)
    return replace(origin, alien=f"{name} from {(*sizes, *origin.shape)} to {shape}")


def swapped(name: str, origin: Origin, func: Any, args: Any, kwargs: Any, given: Tensor) -> Origin:
    """A permutation that leaves the axes of a sample in place."""
    count = len(origin.lead)
    marked = torch.empty([*range(2, 2 + given.ndim)], device="meta")
    with torch._C.DisableTorchFunction():
        order = [n - 2 for n in func(marked, *args[1:], **kwargs).shape]
    if order[count:] != list(range(count, given.ndim)):
        return replace(origin, alien=name)
    return replace(origin, lead=tuple(origin.lead[axis] for axis in order[:count]))
