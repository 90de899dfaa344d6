from .deployment import deployable as deployable
from .graph import Node as Node
from .input_check import check_input as check_input
from .input_check import time_major as time_major
from .network import SpikingNetwork as SpikingNetwork
from .passes import PassRecord as PassRecord
from .tracing import from_module as from_module
