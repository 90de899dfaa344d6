"""netx files (`.net`), lava-dl's HDF5 format for Loihi networks: reading and writing."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
