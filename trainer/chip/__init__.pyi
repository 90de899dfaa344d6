from .checkpoint import from_tensors as from_tensors
from .checkpoint import to_tensors as to_tensors
from .network import AnyNetwork as AnyNetwork
from .network import QATNetwork as QATNetwork
from .network import takes as takes
