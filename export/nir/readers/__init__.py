"""Other readers of NIR: what each makes of a network, and how a graph is written for it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
