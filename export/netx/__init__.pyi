from .reader import read_netx as read_netx
