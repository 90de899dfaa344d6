"""Simulators: the scalar reference, the fast native one, float NIR, and event counts."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
