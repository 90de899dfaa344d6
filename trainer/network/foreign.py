"""Which framework a layer is from, by its class."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

FRAMEWORKS: Mapping[str, tuple[str, str]] = {
    "norse": ("Norse", "from_norse"),
    "snntorch": ("snnTorch", "from_snntorch"),
    "spikingjelly": ("SpikingJelly", "from_spikingjelly"),
    "sinabs": ("Sinabs", "from_sinabs"),
}
"""Title, and the function that takes a module, by package."""


def owner(layer: nn.Module) -> str | None:
    """The package of FRAMEWORKS that a layer, or a base of its class, is from."""
    packages = (base.__module__.split(".")[0] for base in type(layer).__mro__)
    return next((package for package in packages if package in FRAMEWORKS), None)


def describe(name: str, layer: nn.Module) -> str:
    """Says whose layer it is, and which function takes its network."""
    package = owner(layer)
    assert package is not None  # only called for such layers
    title, function = FRAMEWORKS[package]
    subject = f"layer '{name}'" if name else "module"
    return (
        f"{subject}: {qualified(layer)} is a layer of {title}; spikeport.{function} takes the "
        "modules of that framework"
    )


def qualified(layer: nn.Module) -> str:
    """The class of a layer with its module."""
    return f"{type(layer).__module__}.{type(layer).__qualname__}"
