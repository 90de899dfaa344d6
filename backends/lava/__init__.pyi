from .backend import run_lava as run_lava
from .backend import run_many as run_many
from .environment import LavaStatus as LavaStatus
from .environment import create_environment as create_environment
from .environment import lava_status as lava_status
