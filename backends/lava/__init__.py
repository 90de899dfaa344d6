"""Intel's Lava as a backend: its own environment, a worker process, files in and files out."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
