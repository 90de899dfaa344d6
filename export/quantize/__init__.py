"""Post-training quantization: lower a float network, calibrate it on samples, round it.

The report states the effect of rounding on every part.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
