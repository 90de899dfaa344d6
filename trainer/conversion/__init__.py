"""From a trained ANN to integrate-and-fire neurons, and the errors that this makes, layer by layer.

Thresholds, initial potentials, residual blocks; the methods of several publications.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
