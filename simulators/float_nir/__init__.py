"""Simulation of a `FloatNetwork` with the semantics of NIR, in NumPy."""

from spikeport.simulators.float_nir.simulate import run_float as run_float

__all__ = ["run_float"]
