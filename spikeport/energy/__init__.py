"""Energy from event counts.

A hardware profile gives every constant with its source; an estimate is always an interval.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
