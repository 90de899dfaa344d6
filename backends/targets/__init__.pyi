from .target import Target as Target
from .target import list_chips as list_chips
from .target import load_target as load_target
