"""Operations of torch between layers, by name: what they do to a recorded tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from spikeport.network import Shape

SAME = frozenset({"clone", "detach", "contiguous", "to", "float", "type", "requires_grad_"})
RESHAPES = frozenset(
    {"flatten", "view", "reshape", "unflatten", "squeeze", "unsqueeze", "Flatten", "Unflatten"}
)
SUMS = frozenset({"add", "__add__", "__radd__", "__iadd__", "add_", "iadd"})
SWAPS = frozenset({"permute", "transpose", "movedim", "swapaxes", "swapdims"})
OVER_TIME = frozenset({"sum", "mean"})
SCALED = frozenset({"__truediv__", "truediv", "div", "true_divide"})
SUMMED = "a sum over time"
IN_PLACE = "a change in place"


def functional_layer(name: str, shape: Shape, args: Any, kwargs: Any) -> nn.Module | None:
    """The layer that is the same as a function of torch."""
    rest: tuple[Any, ...] = args[1:]
    make: Callable[..., nn.Module]
    match name:
        case "avg_pool2d":
            return nn.AvgPool2d(*rest, **kwargs)
        case "max_pool2d" | "_max_pool2d":
            return nn.MaxPool2d(*rest, **kwargs)
        case "adaptive_avg_pool2d":
            size = rest[0] if rest else kwargs.get("output_size")
            if size in (1, (1, 1), [1, 1]) and len(shape) == 3:
                return nn.AvgPool2d((shape[1], shape[2]))
        case "dropout" | "dropout2d":
            make = nn.Dropout if name == "dropout" else nn.Dropout2d
            return make(kwargs.get("p", rest[0] if rest else 0.5))
    return None


def index_of(name: str, args: Any, kwargs: Any) -> tuple[int, int] | None:
    """(axis, place) of x[place], x[:, place] and x.select(axis, place)."""
    if name == "select":
        axis, place = (*args[1:], *kwargs.values())[:2]
        return (axis, place)
    index = args[1]
    index = index if isinstance(index, tuple) else (index,)
    *whole, last = index
    if any(part != slice(None) for part in whole):
        return None
    if isinstance(last, Tensor) and last.ndim == 0:
        last = int(last)
    return (len(whole), last) if isinstance(last, int) else None


def regrouped(lead: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The axes in the same order, merged or split."""
    letters = "".join(lead)
    for other in ((letters,), tuple(letters)):
        if other != lead:
            yield other


def tensors_in(value: Any) -> Iterator[Tensor]:
    """All tensors in tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)


def returned_tensors(value: Any) -> Iterator[Tensor]:
    """Tensors that a module returns: not those of named tuples, which are states."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from returned_tensors(list(value.values()))
    elif isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        for item in value:
            yield from returned_tensors(item)


def is_zero(value: Any) -> bool:
    """Whether a tensor or number is zero, so that adding it changes nothing."""
    if isinstance(value, Tensor):
        return not bool(value.any())
    return isinstance(value, int | float) and value == 0


def listed(names: Iterable[str]) -> str:
    """Names for a message."""
    return ", ".join(f"'{name}'" for name in names)
