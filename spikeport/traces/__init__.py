"""Recorded spikes and states on disk.

Trace files of any length, read in parts, and compared down to the first difference.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
