"""What is known of chips, as data: limits and sources.

The `target.toml` of each target holds its limits and its prices; this room reads the file and the
limits, `spikeport.energy` the prices.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
