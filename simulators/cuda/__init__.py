"""The simulator in torch, for GPUs: chip integers in tensors, bit for bit the reference.

From the call down to the innermost operation:

    simulate     chunks of samples that fit in memory, and the resulting `Run`
    chunk        the populations of a chunk: inputs of all steps at once, cycles step by step
    products     messages to currents, by floating-point products that are proved exact
    neurons      the step of neurons, for all samples at once; one function for each model
    registers    the arithmetic of the chip on int32 tensors
    plan         what is put on a device once per network
    device       which device, and how much of its memory
    limits       what is refused because it would not be exact
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
