"""Recorded spikes and neuron states on disk.

Trace files of any length, read in parts, and the search for the first difference between two
traces.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
