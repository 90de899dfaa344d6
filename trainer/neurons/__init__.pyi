from .activation import Activation as Activation
from .activation import QuantizedReLU as QuantizedReLU
from .batch_norm import BatchNorm as BatchNorm
from .lif import LI as LI
from .lif import LIF as LIF
from .lif import Neurons as Neurons
from .lif import charge_and_fire as charge_and_fire
from .lif import rate_rule as rate_rule
