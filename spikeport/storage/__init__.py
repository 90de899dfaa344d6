"""Files, safely: written whole or not at all, read within limits, never by pickle."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
