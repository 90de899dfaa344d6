"""Comparison of the stages of a ladder: accuracy, spikes and energy per stage.

Also the limits within which a stage passes.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
