"""Quantization-aware training in the chip's own arithmetic: what is trained is what is deployed."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
