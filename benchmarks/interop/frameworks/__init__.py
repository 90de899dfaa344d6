"""How each framework writes a network and runs one that it has read; needs nothing of Spikeport.

A module has the framework's name. `networks(inputs)` yields (name, a function that returns the NIR
graph, as the framework's exporter makes it, and the spikes (T, B, N) of the last layer).
`load(path, options)` returns a function from x (T, B, *shape) to those spikes. lava-dl has no
importer, and nir and nirtorch have no neurons, so that `networks` or `load` is missing there.
"""
