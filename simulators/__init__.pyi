from .float_nir import run_float as run_float
from .given_counts import assumed_counts as assumed_counts
from .given_counts import load_counts as load_counts
from .native import run_native as run_native
from .reference import run_reference as run_reference
from .reference_check import check_neurons as check_neurons
from .reference_check import sample_probes as sample_probes
from .stream import Stream as Stream
