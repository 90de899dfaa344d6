"""High-level functions that combine training, quantization, backends and traces.

The verbs of the command line call these.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
