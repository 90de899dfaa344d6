"""Chips that a network can be checked against: what each cannot do, construct by construct."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
