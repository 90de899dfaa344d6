"""`check`: what targets do not support of a network, also before it is quantized or trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from spikeport.backends import TargetCheck, UnsupportedFeature, check_deployed, refuse
from spikeport.errors import InputError
from spikeport.network import LOIHI, DeployedNetwork, Input, TrainedModel
from spikeport.workflow.networks import export_float

if TYPE_CHECKING:  # Checking a deployed network needs neither nir nor torch.
    from spikeport.export.nir import FloatNetwork
    from spikeport.trainer.config import TrainConfig
    from spikeport.trainer.data import DataConfig, Dataset
    from spikeport.trainer.frameworks import Module
    from spikeport.trainer.network.obstacles import Met
    from spikeport.trainer.recipe import Recipe
    from spikeport.workflow.networks import Trained

    Checkable: TypeAlias = DeployedNetwork | FloatNetwork | Trained | Recipe | TrainConfig | Module
    """Everything that is, or becomes, a deployed network."""

LAYERS = "Spikeport, docs/networks.md"
GRAPHS = "Spikeport, docs/quantization.md"


def check(
    network: Checkable,
    targets: Sequence[str] | None = None,
    *,
    bits: int = LOIHI.weight_bits,
    data: str | DataConfig | Dataset | None = None,
    input: Input | None = None,
    classes: int | None = None,
    steps: int | None = None,
) -> tuple[TargetCheck, ...]:
    """List for each target every limit that `network` exceeds, with its value and a remedy.

    Nothing is run, trained or rounded. What is not quantized yet is judged by its structure:
    inputs, neurons, connections and cores, as if all weights took `bits` bits. Limits of integers
    that quantization chooses are named in `not_judged`. A layer without an equivalent on a chip
    stops every target, and nothing else can be judged until it is replaced.

    Args:
        network: a deployed or float network, a checkpoint or the result of training; or what is not
            trained yet: a recipe, a `TrainConfig` or a torch module.
        targets: names of backends and chips; by default all.
        bits: number of bits per weight, for what is not quantized yet.
        data: data set of a configuration or module, by name or loaded; by default the recipe's.
        input: that of the data, so that no data set is loaded.
        classes: number of classes, with `input` and a built-in architecture.
        steps: T of a torch module.

    Returns:
        One result per target, in order.

    Raises:
        InputError: a target is unknown, or a fact about the network is missing.
        BackendUnavailableError: a requested target cannot be loaded.
    """
    if isinstance(network, DeployedNetwork):
        return check_deployed(network, targets)
    from spikeport.export.nir import FloatNetwork
    from spikeport.export.quantize import QuantizeConfig
    from spikeport.export.quantize.outline import outline
    from spikeport.trainer.chip import QATNetwork
    from spikeport.trainer.network import SpikingNetwork, find_obstacles

    config = QuantizeConfig(weight_bits=bits)
    built = _built(network, data, input, classes, steps)
    if isinstance(built, tuple):
        return refuse(built, targets)
    if isinstance(built, QATNetwork):
        return check_deployed(built.deployed(), targets)
    if isinstance(built, SpikingNetwork) and (obstacles := find_obstacles(built)):
        return refuse(tuple(_obstacle(one) for one in obstacles), targets)
    try:
        graph = built if isinstance(built, FloatNetwork) else export_float(built)
        outlined = outline(graph, config)
    except InputError as error:
        reasons = error.args[1:] or error.args
        return refuse(tuple(_complaint(reason) for reason in reasons), targets)
    return check_deployed(outlined, targets, rounded=False)


def _built(
    network: Any,
    data: str | DataConfig | Dataset | None,
    input: Input | None,
    classes: int | None,
    steps: int | None,
) -> FloatNetwork | Trained | tuple[UnsupportedFeature, ...]:
    """The network, built if there is none yet; or what of a module cannot become one."""
    from spikeport.export.nir import FloatNetwork
    from spikeport.trainer.chip import QATNetwork
    from spikeport.trainer.config import TrainConfig, build_network, trained_network
    from spikeport.trainer.data import Dataset, load_dataset
    from spikeport.trainer.frameworks import Module
    from spikeport.trainer.loop import Checkpoint, TrainingResult
    from spikeport.trainer.module_file import module_from_file, network_from_file
    from spikeport.trainer.network import SpikingNetwork, from_ann, from_module, refused_layers
    from spikeport.trainer.recipe import Recipe

    if isinstance(network, Checkpoint | TrainingResult):
        return network.model
    if isinstance(network, FloatNetwork | SpikingNetwork | QATNetwork | TrainedModel):
        return network
    if isinstance(network, Recipe):
        data = network.data if data is None else data
        network = network.training
    if not isinstance(network, TrainConfig | Module):
        raise InputError(f"network: is a {type(network).__name__}, must be a network or recipe")
    config: TrainConfig | None = network if isinstance(network, TrainConfig) else None
    steps = steps if config is None else config.steps
    if steps is None:
        raise InputError("steps is None, must be the number of steps T of the module")
    if input is None:
        if data is None:
            raise InputError("data is None, must name the data that the network is for")
        loaded = data if isinstance(data, Dataset) else load_dataset(data, steps)
        input, classes = loaded.input, loaded.classes
    if config is not None and trained_network(config.architecture):
        made = network_from_file(config, input)
        assert made is not None  # it is that of the checkpoint
        return made
    module: Any = network if config is None else module_from_file(config)
    if module is not None:
        ann = config is not None and config.is_ann
        found = tuple(_refused(*one) for one in refused_layers(module, ann=ann))
        return found or (from_ann(module, input) if ann else from_module(module, input, steps))
    assert config is not None
    if classes is None:
        raise InputError("classes is None, must be the number of classes")
    return build_network(config, input, classes)


def _refused(name: str, kind: str, problem: str) -> UnsupportedFeature:
    """A layer or function that a spiking network cannot contain."""
    remedy = problem if "; " in problem else f"{problem}; use a layer that docs/networks.md lists"
    return UnsupportedFeature(
        f"layer '{name}'",
        "kind of layer",
        kind,
        "those of docs/networks.md",
        remedy,
        LAYERS,
        stops=True,
    )


def _obstacle(met: Met) -> UnsupportedFeature:
    """A layer of a spiking network that a chip has no equivalent of."""
    return UnsupportedFeature(
        f"layer '{met.layer}'",
        met.quantity,
        met.value,
        int(met.limit) if met.limit.isdigit() else met.limit,
        met.remedy,
        LAYERS,
        stops=True,
    )


def _complaint(reason: str) -> UnsupportedFeature:
    """A node of a float graph that a chip has no equivalent of, "node 'x': problem; remedy"."""
    part, separator, rest = reason.removeprefix("- ").partition(": ")
    if not separator:
        part, rest = "the network", part
    if "; " not in rest:
        rest = f"{rest}; change it in the tool that made the network"
    return UnsupportedFeature(
        part, "equivalents on a chip", 0, "1 or more", rest, GRAPHS, stops=True
    )
