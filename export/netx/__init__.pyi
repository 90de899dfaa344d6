from .reader import read_netx as read_netx
from .writer import write_netx as write_netx
