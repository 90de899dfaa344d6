from .registry import backend as backend
from .registry import list_backends as list_backends
from .registry import run as run
from .registry import timed as timed
from .target_check import TargetCheck as TargetCheck
from .target_check import check as check
from .unsupported import UnsupportedFeature as UnsupportedFeature
