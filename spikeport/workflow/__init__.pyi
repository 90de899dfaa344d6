from .chip_training import to_chip as to_chip
from .run import quantize as quantize
from .run import record_to as record_to
from .run import trace_chunk as trace_chunk
