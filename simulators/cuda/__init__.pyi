from .device import device_problem as device_problem
from .limits import EXACT_SUM as EXACT_SUM
from .simulate import run_cuda as run_cuda
