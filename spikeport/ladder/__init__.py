"""The parity ladder as a program: a trained network through every stage, and its results folder."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
