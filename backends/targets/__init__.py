"""Chips that a network can be checked against; each is a folder.

Its `target.toml` contains limits and prices, its module converts the limits to `Limitation`s.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
