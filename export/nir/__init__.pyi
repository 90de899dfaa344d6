from .float_network import FloatNetwork as FloatNetwork
from .graph import CheckedGraph as CheckedGraph
from .graph import check_graph as check_graph
from .reader import IntegratorGain as IntegratorGain
from .reader import read_nir as read_nir
from .reader import read_nir_deployed as read_nir_deployed
from .reader import read_nir_float as read_nir_float
from .writer import write_nir_file as write_nir_file
