from .loihi import LOIHI1 as LOIHI1
from .loihi import LOIHI2 as LOIHI2
from .loihi import loihi_unsupported as loihi_unsupported
