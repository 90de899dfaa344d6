from .agreement import GradientAgreement as GradientAgreement
from .diagnosis import Diagnosis as Diagnosis
from .diagnosis import LayerActivity as LayerActivity
from .diagnosis import diagnose as diagnose
from .independence import Independence as Independence
from .shuffle import ShuffleTest as ShuffleTest
