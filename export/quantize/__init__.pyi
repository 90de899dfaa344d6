from .config import QuantizeConfig as QuantizeConfig
from .post_training import QuantizationResult as QuantizationResult
from .post_training import quantize_float_network as quantize_float_network
from .report import ConnectionReport as ConnectionReport
from .report import InputReport as InputReport
from .report import PopulationReport as PopulationReport
from .report import QuantizationReport as QuantizationReport
