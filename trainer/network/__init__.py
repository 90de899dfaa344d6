"""`SpikingNetwork`: torch layers and neurons as one graph, and the passes through it.

Also its construction from a torch module, and its simplification for deployment.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
