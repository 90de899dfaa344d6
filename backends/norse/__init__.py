"""Norse as a backend: a NIR graph run by other people's code, to check an export."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
