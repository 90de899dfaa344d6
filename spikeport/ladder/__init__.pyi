from .demo import run_demo as run_demo
from .folder import write_ladder as write_ladder
from .stages import Ladder as Ladder
from .stages import LadderConfig as LadderConfig
from .stages import run_ladder as run_ladder
