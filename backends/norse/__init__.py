"""Norse as a backend: run a NIR graph in an independent implementation, to check an export."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
