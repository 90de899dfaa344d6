"""Which layer of a module receives from which: the module is run once, and calls are recorded.

The forward of a spiking module loops over time, keeps states and unpacks tuples, so it is run
rather than traced symbolically. Every tensor that follows from the input has an `Origin`. A layer
receives the sum of its sources; the loop must connect the layers in the same way at every step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from spikeport.errors import ModuleReadingError
from spikeport.network import Input, Shape
from spikeport.trainer.frameworks.operations import (
    IN_PLACE,
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
    returned_tensors,
    tensors_in,
)
from spikeport.trainer.frameworks.origins import (
    BATCH,
    Layout,
    Origin,
    reshaped,
    stacked,
    summed,
    swapped,
)
from spikeport.trainer.network import Node


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
        self._origins: dict[int, tuple[Origin, int]] = {}
        """By id of the tensor; with its version, which every change in place counts up."""
        self._kept: list[Tensor] = []
        self._inside: list[Origin | None] = []
        """The layers that are running: the origin of the input, None for a layer in a layer."""
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
        if self._inside:
            self._inside.append(None)
            return
        name, how = self._leaves[leaf]
        tensors = list(tensors_in((args, kwargs)))
        if not tensors:
            raise ModuleReadingError(f"layer '{name}': is called without a tensor")
        self._inside.append(self._fed(name, tensors[0]))
        if how.stateful:
            self._check_states(name, [x for x in tensors if x is not tensors[0]])

    def _leave(self, leaf: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        origin = self._inside.pop()
        if origin is None:
            return
        name, how = self._leaves[leaf]
        if isinstance(how.op, nn.Identity):
            self._note(output, origin)
        elif isinstance(how.op, nn.Flatten | nn.Unflatten):
            self._note_reshaped(name, leaf, origin, output)
        else:
            node = self._called(name, how, leaf, origin)
            self._outputs(node, how, origin, output)

    def _fed(self, name: str, given: Tensor) -> Origin:
        origin = self._origin(given)
        if origin is None:
            raise ModuleReadingError(
                f"layer '{name}': receives a tensor that does not come from the module's input"
            )
        if origin.alien:
            raise ModuleReadingError(
                f"layer '{name}': receives a result of {origin.alien}, must receive outputs of "
                "layers, sums of them, or the input"
            )
        if origin.state:
            raise ModuleReadingError(
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
            raise ModuleReadingError(
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
            origin = self._origin(state)
            if origin is None and not self.calls.get(name) and is_zero(state):
                continue
            if origin is None or origin.alien or origin.sources != (name,):
                raise ModuleReadingError(
                    f"layer '{name}': is given a state that it did not return; states must start "
                    "at zero and be passed on as they are"
                )

    def _check_time(self, name: str, how: Leaf, origin: Origin) -> None:
        timed = any("T" in axis for axis in origin.lead)
        if how.sequence is not None and how.sequence != timed:
            takes = "all steps at once" if how.sequence else "one step"
            raise ModuleReadingError(
                f"layer '{name}': takes {takes}, but is given "
                f"{'all steps' if timed else 'one step'}"
            )
        if not timed and origin.step is not None and origin.step != self.calls.get(name, 0):
            raise ModuleReadingError(
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
            raise ModuleReadingError(
                f"layer '{other}': is called {self.calls[other]} times, but '{counts[most]}' "
                f"{most} times; each must be called once per step"
            )

    # Operations that are not layers

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run `func` and record where its results are from."""
        given: list[Tensor] = []
        if not self._inside:
            given = [t for t in tensors_in((args, kwargs)) if id(t) in self._origins]
        origins = {id(t): origin for t in given if (origin := self._origin(t)) is not None}
        result = func(*args, **(kwargs or {}))  # may change `given` in place
        if given and any(True for _ in tensors_in(result)):
            self._operation(func, args, kwargs or {}, given, origins, result)
        return result

    def _operation(
        self,
        func: Any,
        args: tuple[Any, ...],
        kwargs: Any,
        given: list[Tensor],
        origins: Mapping[int, Origin],
        result: Any,
    ) -> None:
        name = str(getattr(func, "__name__", func))
        first = origins[id(given[0])]
        if name in SUMS and isinstance(result, Tensor):
            self._note(result, summed(name, args, kwargs, origins))
        elif first.alien:
            kept = first.alien != SUMMED or name in SAME | RESHAPES | SCALED
            self._all_alien(result, first, first.alien if kept else name)
        elif name in ("__getitem__", "select", "unbind", "__iter__"):
            self._at_steps(name, first, args, kwargs, given[0], result)
        elif name in ("stack", "cat", "concat"):
            parts = [origins[id(x)] for x in given]
            self._note(result, stacked(name, parts, args, kwargs, result))
        elif not isinstance(result, Tensor):
            self._all_alien(result, first, name)
        elif len(given) == 1 and result.shape == given[0].shape and name in SAME | RESHAPES:
            self._note(result, first)
        elif name in RESHAPES:
            self._note_reshaped(name, "flatten", first, result)
        elif name in SWAPS:
            self._note(result, swapped(name, first, func, args, kwargs, given[0]))
        elif (layer := functional_layer(name, first.shape, args, kwargs)) is not None:
            node = self._called(name, Leaf(layer), str(layer), first)
            self._outputs(node, Leaf(layer), first, result)
        elif name in OVER_TIME and result.shape == (self._batch, *first.shape):
            self._note(result, replace(first, lead=("B",), step=None, alien=SUMMED))
        else:
            self._all_alien(result, first, name)

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

    def _note_reshaped(
        self, name: str, key: nn.Module | str, origin: Origin, result: Tensor
    ) -> None:
        """A tensor with other axes; a flattened sample is the output of a layer of its own."""
        made = reshaped(name, origin, result.shape, self._steps, self._batch)
        if not made.alien and made.shape != origin.shape:
            name = key if isinstance(key, str) else name
            node = self._called(name, Leaf(nn.Flatten()), key, origin)
            self.shapes.setdefault(node, made.shape)
            made = replace(made, sources=(node,))
        self._note(result, made)

    def _returned(self, returned: Any) -> Origin:
        """The origin of the output: spikes if there are any, otherwise a membrane."""
        known = [self._origin(tensor) for tensor in returned_tensors(returned)]
        found = [origin for origin in known if origin is not None and origin.state != "other"]
        found = [origin for origin in found if not origin.state] or found
        if not found:
            raise ModuleReadingError("returns nothing that follows from its input")
        others = [origin for origin in found if origin.sources != found[0].sources]
        if others:
            names = listed((*found[0].sources, *others[0].sources))
            raise ModuleReadingError(
                f"returns the outputs of {names}, must return those of one layer"
            )
        usable = [origin for origin in found if origin.alien in ("", SUMMED)]
        if not usable:
            raise ModuleReadingError(
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
            raise ModuleReadingError(
                f"returns {listed(returned[0].sources)} at {len(steps)} of {count} steps, must "
                "return all"
            )

    def _all_alien(self, result: Any, origin: Origin, name: str) -> None:
        for tensor in tensors_in(result):
            self._note(tensor, replace(origin, alien=name))

    def _note(self, tensor: Tensor, origin: Origin) -> None:
        self._kept.append(tensor)  # an id is that of one tensor only as long as it lives
        self._origins[id(tensor)] = origin, tensor._version

    def _origin(self, tensor: Tensor) -> Origin | None:
        """Where a tensor is from; None if it does not follow from the input."""
        if id(tensor) not in self._origins:
            return None
        origin, version = self._origins[id(tensor)]
        return origin if tensor._version == version else replace(origin, alien=IN_PLACE)
