from .post_training import QuantizationResult as QuantizationResult
from .post_training import QuantizeConfig as QuantizeConfig
from .post_training import quantize_with as quantize_with
from .report import QuantizationReport as QuantizationReport
