"""Facts about chips as data: limits and sources.

The `target.toml` of each target contains its limits and prices; this package reads the file and the
limits, `spikeport.energy` the prices.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
