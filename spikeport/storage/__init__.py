"""Safe file access: atomic writes, reads within limits, and never pickle."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
