"""Export: float graphs out of trained models, quantization, NIR in and out."""

from spikeport.export.float_graph import export_float as export_float
from spikeport.export.nir_reader import read_nir as read_nir
from spikeport.export.nir_writer import write_nir as write_nir
from spikeport.export.quantize import QuantizationResult as QuantizationResult
from spikeport.export.quantize import QuantizeConfig as QuantizeConfig
