from .config import LadderConfig as LadderConfig
from .demo import run_demo as run_demo
from .folder import write_ladder as write_ladder
from .run import Ladder as Ladder
from .run import run_ladder as run_ladder
