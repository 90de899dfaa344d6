from .deployed import evaluate_deployed as evaluate_deployed
from .evaluation import evaluate as evaluate
from .metrics import measure_accuracy as measure_accuracy
