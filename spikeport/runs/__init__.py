"""Inputs and results of runs: samples, probes, `Run`, counts, stream states.

All simulators and backends use these types.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
