"""Neuron models: one module each, with everything that makes one differ from another.

`AnyPopulation` says what a model provides, `registry` lists the models.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
