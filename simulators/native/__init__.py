"""The fast simulator: batched, event-driven, compiled; bit for bit the reference."""

from spikeport.simulators.native.simulate import run_native as run_native
