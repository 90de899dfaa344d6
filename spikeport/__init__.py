"""Spikeport: spiking networks from training to neuromorphic simulators, exactly.

The public names stand in `__init__.pyi`. Each is loaded when it is first used, so `import
spikeport` is light, and torch is needed only by what trains.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
