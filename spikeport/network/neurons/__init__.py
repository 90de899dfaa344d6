"""Neuron models: one module per model, with everything specific to it.

`AnyPopulation` defines what a model provides, `registry` lists the models.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
