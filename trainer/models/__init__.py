"""Network architectures: small ones, and those of the published experiments."""

from spikeport.trainer.models.architectures import ARCHITECTURES as ARCHITECTURES
from spikeport.trainer.models.architectures import PUBLISHED as PUBLISHED
from spikeport.trainer.models.architectures import Architecture as Architecture
from spikeport.trainer.models.preact_resnet import preact_resnet20 as preact_resnet20
from spikeport.trainer.models.preact_resnet import preact_resnet56 as preact_resnet56
from spikeport.trainer.models.preact_resnet import preact_resnet110 as preact_resnet110
from spikeport.trainer.models.resnet import resnet18 as resnet18
from spikeport.trainer.models.resnet import resnet19 as resnet19
from spikeport.trainer.models.resnet import resnet20 as resnet20
from spikeport.trainer.models.resnet import resnet56 as resnet56
from spikeport.trainer.models.resnet import resnet110 as resnet110
from spikeport.trainer.models.resnet34 import preact_resnet34 as preact_resnet34
from spikeport.trainer.models.resnet34 import resnet34 as resnet34
from spikeport.trainer.models.resnet34 import sew_resnet34 as sew_resnet34
from spikeport.trainer.models.sketch import published_lif as published_lif
from spikeport.trainer.models.sketch import with_readout as with_readout
from spikeport.trainer.models.small import mlp as mlp
from spikeport.trainer.models.small import small_conv as small_conv
from spikeport.trainer.models.vgg import dvs_net as dvs_net
from spikeport.trainer.models.vgg import vgg11 as vgg11
from spikeport.trainer.models.vgg import vgg16 as vgg16
