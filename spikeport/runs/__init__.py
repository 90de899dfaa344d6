"""What goes into a run and what comes out: samples, probes, `Run`, counts, stream states.

Every simulator and backend speaks these types.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
