from .checkpoint import put_together as put_together
from .checkpoint import take_apart as take_apart
from .network import AnyNetwork as AnyNetwork
from .network import ChipNetwork as ChipNetwork
from .network import takes as takes
