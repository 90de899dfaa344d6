"""Which layer of a module receives from which: the module is run once, and calls are recorded.

The forward of a spiking module loops over time, keeps states and unpacks tuples, so it is run
rather than traced symbolically. Every tensor that follows from the input has an `Origin`. A layer
receives the sum of its sources; the loop must connect the layers in the same way at every step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from spikeport.errors import InputError
from spikeport.network import Input, Shape
from spikeport.trainer.frameworks.operations import (
    OVER_TIME,
    RESHAPES,
    SAME,
    SCALED,
    SUMMED,
    SUMS,
    SWAPS,
    functional_layer,
    index_of,
    is_zero,
    listed,
    regrouped,
    returned_tensors,
    tensors_in,
)
from spikeport.trainer.network import Node

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


@dataclass(frozen=True, slots=True)
class Leaf:
    """How a layer is called.

    Attributes:
        op: what the layer is: a layer of torch, or neurons of a framework.
        stateful: it computes one more step in each call, or all steps if its input has them.
        sequence: it is called with all steps at once; None if it may be called in both ways.
        membrane: the place of the membrane among its outputs, of which the first is the spikes.
    """

    op: Any
    stateful: bool = False
    sequence: bool | None = None
    membrane: int | None = None


class Recorder(TorchFunctionMode):
    """Records one run of a module; `nodes` are its layers, in order of their first call."""

    def __init__(self, input: Input, leaves: Mapping[nn.Module, tuple[str, Leaf]]) -> None:
        super().__init__()
        self.nodes: dict[str, Node] = {}
        self.shapes: dict[str, Shape] = {input.name: input.shape}
        self.calls: dict[str, int] = {}
        self._leaves = leaves
        self.input = input
        self._steps = 1
        self._batch = BATCH
        self._origins: dict[int, Origin] = {}
        self._kept: list[Tensor] = []
        self._inside: list[tuple[nn.Module, Tensor]] = []
        self._named: dict[tuple[Any, tuple[str, ...]], str] = {}

    def run(self, module: nn.Module, x: Tensor, layout: Layout, steps: int, batch: int) -> Origin:
        """The origin of what the module returns."""
        self._steps, self._batch = steps, batch
        self._note(x, Origin((self.input.name,), layout.lead, self.input.shape))
        hooks = []
        for leaf in self._leaves:
            hooks.append(leaf.register_forward_pre_hook(self._enter, with_kwargs=True))
            hooks.append(leaf.register_forward_hook(self._leave, with_kwargs=True))
        try:
            with torch.no_grad(), self:
                returned = module(x)
        finally:
            for hook in hooks:
                hook.remove()
        self._check_calls()
        return self._returned(returned)

    # Layers

    def _enter(self, leaf: nn.Module, args: Any, kwargs: Any) -> None:
        given = next(iter(tensors_in((args, kwargs))), None)
        if given is None:
            raise InputError(f"layer '{self._leaves[leaf][0]}': is called without a tensor")
        self._inside.append((leaf, given))

    def _leave(self, leaf: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        _, given = self._inside.pop()
        if self._inside:
            return
        name, how = self._leaves[leaf]
        origin = self._fed(name, given)
        if how.stateful:
            self._check_states(name, [x for x in tensors_in((args, kwargs)) if x is not given])
        if isinstance(how.op, nn.Identity):
            self._note(output, origin)
        elif isinstance(how.op, nn.Flatten | nn.Unflatten):
            self._note(output, self._reshaped(name, origin, output.shape))
        else:
            node = self._called(name, how, leaf, origin)
            self._outputs(node, how, origin, output)

    def _fed(self, name: str, given: Tensor) -> Origin:
        origin = self._origins.get(id(given))
        if origin is None:
            raise InputError(
                f"layer '{name}': receives a tensor that does not come from the module's input"
            )
        if origin.alien:
            raise InputError(
                f"layer '{name}': receives a result of {origin.alien}, must receive outputs of "
                "layers, sums of them, or the input"
            )
        if origin.state:
            raise InputError(
                f"layer '{name}': receives a state of '{origin.sources[0]}', must receive its "
                "spikes"
            )
        return origin

    def _called(self, name: str, how: Leaf, layer: nn.Module | str, origin: Origin) -> str:
        """The node of this call; a stateless layer has one for every source that it is given."""
        key = (layer, () if how.stateful else origin.sources)
        node = self._named.get(key)
        if node is None:
            node, taken = name, 1
            while node in self.nodes or node == self.input.name:
                taken += 1
                node = f"{name}_{taken}"
            self._named[key] = node
            self.nodes[node] = Node(node, origin.sources, how.op)
        elif self.nodes[node].inputs != origin.sources:
            raise InputError(
                f"layer '{name}': receives {listed(origin.sources)} in one step and "
                f"{listed(self.nodes[node].inputs)} in another"
            )
        if how.stateful:
            self._check_time(name, how, origin)
            self.calls[node] = self.calls.get(node, 0) + 1
        return node

    def _check_states(self, name: str, states: Iterable[Tensor]) -> None:
        """States given to a layer must be those that it returned, at first zeros or none."""
        for state in states:
            origin = self._origins.get(id(state))
            if origin is None and not self.calls.get(name) and is_zero(state):
                continue
            if origin is None or origin.alien or origin.sources != (name,):
                raise InputError(
                    f"layer '{name}': is given a state that it did not return; states must start "
                    "at zero and be passed on as they are"
                )

    def _check_time(self, name: str, how: Leaf, origin: Origin) -> None:
        timed = any("T" in axis for axis in origin.lead)
        if how.sequence is not None and how.sequence != timed:
            takes = "all steps at once" if how.sequence else "one step"
            raise InputError(
                f"layer '{name}': takes {takes}, but is given "
                f"{'all steps' if timed else 'one step'}"
            )
        if not timed and origin.step is not None and origin.step != self.calls.get(name, 0):
            raise InputError(
                f"layer '{name}': receives the values of step {origin.step} when it computes step "
                f"{self.calls.get(name, 0)}; only recurrent layers may receive from earlier steps"
            )

    def _outputs(self, node: str, how: Leaf, origin: Origin, output: Any) -> None:
        parts = output if isinstance(output, tuple | list) else (output,)
        timed = any("T" in axis for axis in origin.lead)
        step = origin.step
        if how.stateful and not timed:
            step = self.calls[node] - 1
        for place, part in enumerate(parts):
            state = "" if place == 0 else "v" if place == how.membrane else "other"
            for tensor in tensors_in(part):
                if place and tensor is parts[0]:  # a state may hold the spikes as well
                    continue
                shape = tuple(tensor.shape[len(origin.lead) :])
                if not place:
                    self.shapes.setdefault(node, shape)
                self._note(tensor, Origin((node,), origin.lead, shape, step, "", state))

    def _check_calls(self) -> None:
        """Neurons that are called step by step must all be called equally often."""
        counts = {count: name for name, count in self.calls.items() if count > 1}
        single = [name for name, count in self.calls.items() if count == 1]
        if len(counts) > 1 or (counts and single):
            other = single[0] if single else counts[min(counts)]
            most = max(counts)
            raise InputError(
                f"layer '{other}': is called {self.calls[other]} times, but '{counts[most]}' "
                f"{most} times; each must be called once per step"
            )

    # Operations that are not layers

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run `func` and record where its results are from."""
        result = func(*args, **(kwargs or {}))
        if not self._inside:
            given = [t for t in tensors_in((args, kwargs)) if id(t) in self._origins]
            if given and any(True for _ in tensors_in(result)):
                self._operation(func, args, kwargs or {}, given, result)
        return result

    def _operation(
        self, func: Any, args: tuple[Any, ...], kwargs: Any, given: list[Tensor], result: Any
    ) -> None:
        name = str(getattr(func, "__name__", func))
        first = self._origins[id(given[0])]
        if name in SUMS and isinstance(result, Tensor):
            self._note(result, self._sum(name, args, kwargs))
        elif first.alien:
            kept = first.alien != SUMMED or name in SAME | RESHAPES | SCALED
            self._all_alien(result, first, first.alien if kept else name)
        elif name in ("__getitem__", "select", "unbind", "__iter__"):
            self._at_steps(name, first, args, kwargs, given[0], result)
        elif name in ("stack", "cat", "concat"):
            self._note(result, self._stacked(name, given, args, kwargs, result))
        elif not isinstance(result, Tensor):
            self._all_alien(result, first, name)
        elif len(given) == 1 and result.shape == given[0].shape and name in SAME | RESHAPES:
            self._note(result, first)
        elif name in RESHAPES:
            self._note(result, self._reshaped(name, first, result.shape))
        elif name in SWAPS:
            self._note(result, self._swapped(name, first, func, args, kwargs, given[0]))
        elif (layer := functional_layer(name, first.shape, args, kwargs)) is not None:
            node = self._called(name, Leaf(layer), str(layer), first)
            self._outputs(node, Leaf(layer), first, result)
        elif name in OVER_TIME and result.shape == (self._batch, *first.shape):
            self._note(result, replace(first, lead=("B",), step=None, alien=SUMMED))
        else:
            self._all_alien(result, first, name)

    def _sum(self, name: str, args: tuple[Any, ...], kwargs: Any) -> Origin:
        parts = [self._origins.get(id(x)) if isinstance(x, Tensor) else None for x in args[:2]]
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

    def _at_steps(
        self, name: str, origin: Origin, args: Any, kwargs: Any, given: Tensor, result: Any
    ) -> None:
        """Take steps out of a tensor that holds all of them."""
        axis = origin.lead.index("T") if "T" in origin.lead else None
        if axis is None:
            return self._all_alien(result, origin, f"{name} of one step")
        lead = origin.lead[:axis] + origin.lead[axis + 1 :]
        if name in ("unbind", "__iter__"):
            along = args[1] if len(args) > 1 else kwargs.get("dim", 0)
            steps = list(result)
            if along == axis:
                for step, part in enumerate(steps):
                    self._note(part, replace(origin, lead=lead, step=step))
                return None
        else:
            index = index_of(name, args, kwargs)
            if index is not None and index[0] == axis:
                step = index[1] % given.shape[axis]
                self._note(result, replace(origin, lead=lead, step=step))
                return None
        return self._all_alien(result, origin, name)

    def _stacked(
        self, name: str, given: list[Tensor], args: Any, kwargs: Any, result: Any
    ) -> Origin:
        parts = [self._origins[id(x)] for x in given]
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

    def _reshaped(self, name: str, origin: Origin, shape: Iterable[int]) -> Origin:
        """Split or merge the axes before a sample, or flatten the sample."""
        shape = tuple(shape)
        sizes = Layout(origin.lead).size(self._steps, self._batch)
        for lead in regrouped(origin.lead):
            if shape == (*Layout(lead).size(self._steps, self._batch), *origin.shape):
                return replace(origin, lead=lead)
        flat = (math.prod(origin.shape),)
        for lead in (origin.lead, *regrouped(origin.lead)):
            if shape == (*Layout(lead).size(self._steps, self._batch), *flat):
                return replace(origin, lead=lead, shape=flat)
        return replace(origin, alien=f"{name} from {(*sizes, *origin.shape)} to {shape}")

    def _swapped(
        self, name: str, origin: Origin, func: Any, args: Any, kwargs: Any, given: Tensor
    ) -> Origin:
        """A permutation that leaves the axes of a sample in place."""
        count = len(origin.lead)
        marked = torch.empty([*range(2, 2 + given.ndim)], device="meta")
        with torch._C.DisableTorchFunction():
            order = [n - 2 for n in func(marked, *args[1:], **kwargs).shape]
        if order[count:] != list(range(count, given.ndim)):
            return replace(origin, alien=name)
        return replace(origin, lead=tuple(origin.lead[axis] for axis in order[:count]))

    def _returned(self, returned: Any) -> Origin:
        """The origin of the output: spikes if there are any, otherwise a membrane."""
        known = [self._origins.get(id(tensor)) for tensor in returned_tensors(returned)]
        found = [origin for origin in known if origin is not None and origin.state != "other"]
        found = [origin for origin in found if not origin.state] or found
        if not found:
            raise InputError("returns nothing that follows from its input")
        others = [origin for origin in found if origin.sources != found[0].sources]
        if others:
            names = listed((*found[0].sources, *others[0].sources))
            raise InputError(f"returns the outputs of {names}, must return those of one layer")
        usable = [origin for origin in found if origin.alien in ("", SUMMED)]
        if not usable:
            raise InputError(
                f"returns a result of {found[0].alien}, must return the output of a layer, "
                "stacked, summed or averaged over time"
            )
        self._check_steps(usable)
        return usable[0]

    def _check_steps(self, returned: list[Origin]) -> None:
        """All steps must be returned, or the last one of a membrane, which is its score."""
        steps = {origin.step for origin in returned}
        count = max(self.calls.values(), default=1)
        if None in steps or len(steps) == count:
            return
        op: Any = self.nodes[returned[0].sources[0]].op
        silent = returned[0].state == "v" or getattr(op, "threshold", True) is None
        if not silent or count - 1 not in steps:
            raise InputError(
                f"returns {listed(returned[0].sources)} at {len(steps)} of {count} steps, must "
                "return all"
            )

    def _all_alien(self, result: Any, origin: Origin, name: str) -> None:
        for tensor in tensors_in(result):
            self._note(tensor, replace(origin, alien=name))

    def _note(self, tensor: Tensor, origin: Origin) -> None:
        self._kept.append(tensor)  # an id is that of one tensor only as long as it lives
        self._origins[id(tensor)] = origin
