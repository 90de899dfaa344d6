"""Neurons for training: leaky integrate-and-fire layers, their compiled steps and rate rules.

Also batch norm over a spike sequence.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
