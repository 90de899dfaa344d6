"""Exits: small classifiers on the firing rates of hidden neurons, and their loss; training only."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
