from .norse import NORSE as NORSE
from .reading import Framework as Framework
from .reading import foreign_model as foreign_model
from .reading import read as read
from .reading import trainable_network as trainable_network
from .sinabs import SINABS as SINABS
from .snntorch import SNNTORCH as SNNTORCH
from .spikingjelly import SPIKINGJELLY as SPIKINGJELLY
