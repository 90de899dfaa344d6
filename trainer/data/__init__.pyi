from .augment import Augment as Augment
from .batches import Feed as Feed
from .catalogue import load_dataset as load_dataset
from .catalogue import load_digits_split as load_digits_split
from .config import DataConfig as DataConfig
from .dataset import Dataset as Dataset
from .npz import load_npz as load_npz
