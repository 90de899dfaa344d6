from .branches import Exits as Exits
from .config import ExitConfig as ExitConfig
from .loss import exit_loss as exit_loss
