from .graph import make_graph as make_graph
from .reader import read_nir as read_nir
from .writer import write_nir as write_nir
