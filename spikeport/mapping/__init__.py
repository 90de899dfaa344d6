"""Map deployed networks onto the cores of a chip.

Which neurons and synapses each core holds, how full it is, and how far spikes travel.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
