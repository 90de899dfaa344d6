"""Simulating a `FloatNetwork` with NIR's own semantics, in NumPy."""

from spikeport.simulators.float_nir.simulate import run_float as run_float

__all__ = ["run_float"]
