"""`SpikingNetwork`: torch layers and neurons as one graph, and the passes through it.

Also the ways to make one (from a torch module) and to simplify it for a chip.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
