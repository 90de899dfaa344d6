"""The fast simulator: batched, event-driven, compiled; bit for bit the reference.

From the call to the innermost loop:

    simulate     chunks of samples over threads, and the `Run` made of what they leave
    chunk        steps of a chunk in blocks, layer by layer; cycles step by step
    state        what changes while a chunk runs; streams: its messages
    population   some steps of one population: what its loop adds up itself, and what others add
    currents     the others: static input once, integers by rows or by a matrix product
    kernels      the loops: list events, sum their rows, advance the neurons of a band
    events, sums, vectors     the compiled parts of these loops
    neurons, lif, registers   the compiled step of each neuron model
    plan, wiring, layout, components   what is prepared once for a network
    replay       spikes recorded elsewhere instead of the computed ones
"""

from spikeport.simulators.native.simulate import run_native as run_native
