"""Backends: where a deployed network can run, and what each target cannot do."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
