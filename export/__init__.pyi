from .float_graph import export_float as export_float
from .nir import read_nir as read_nir
from .nir import write_nir as write_nir
from .quantize import QuantizationReport as QuantizationReport
from .quantize import QuantizationResult as QuantizationResult
from .quantize import QuantizeConfig as QuantizeConfig
