"""Spikeport: spiking networks from training to neuromorphic simulators, exactly.

The public names are listed in `__init__.pyi`. Each is loaded on first use, so `import spikeport` is
fast, and torch is needed only for training.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
