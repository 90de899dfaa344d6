from .networks import export_float as export_float
from .networks import open_network as open_network
from .networks import write_nir as write_nir
from .qat import prepare_qat as prepare_qat
from .run import quantize as quantize
from .run import record_trace as record_trace
from .run import trace_chunk as trace_chunk
