from .loss import EnergyLoss as EnergyLoss
from .loss import energy_loss as energy_loss
from .model import EnergyModel as EnergyModel
