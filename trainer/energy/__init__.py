"""Energy as a differentiable function of firing rates, and as part of the loss."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
