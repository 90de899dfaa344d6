from .ann import evaluate_ann as evaluate_ann
from .ann import macs_of as macs_of
from .deployed import evaluate_deployed as evaluate_deployed
from .evaluation import evaluate as evaluate
from .metrics import measure_accuracy as measure_accuracy
