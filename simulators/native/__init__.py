"""The fast simulator: batched, event-driven, compiled; bit for bit the reference.

From the call down to the innermost loop:

    simulate     chunks of samples in several threads, and the resulting `Run`
    chunk        the steps of a chunk in blocks, layer by layer; cycles step by step
    carry        what later steps depend on, in one piece of memory that is copied to keep it
    state        everything else that changes, kept for later chunks; messages: its message buffers
    population   some steps of one population: inputs added by its own loop or beforehand
    currents     inputs added beforehand: static input once, integers by rows or matrix products
    loops, frames, bound     what the loops work on, taken apart once instead of at every call
    kernels      the loops: list events, sum their rows, advance the neurons of a tile
    events, sums, vectors     compiled parts of these loops
    neurons, registers   the compiled step of neurons; a module for each model
    plan, connection_tables, layout   what is prepared once per network
    replay       use spikes recorded elsewhere instead of the computed ones
"""

from spikeport.simulators.native.simulate import run_native as run_native
