from .backend import norse_status as norse_status
from .backend import run_norse as run_norse
