"""Networks: `DeployedNetwork` and its parts, and the trained model as NumPy.

Nothing here runs a network or needs torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
