"""Open, export and write networks, converting between their forms."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from spikeport.errors import InputError
from spikeport.network import DeployedNetwork, TrainedModel

if TYPE_CHECKING:  # Opening a .spikeport file needs neither nir nor torch.
    from spikeport.export.nir import FloatContents, FloatNetwork
    from spikeport.export.nir.readers import Portability
    from spikeport.trainer.chip import QATNetwork
    from spikeport.trainer.loop import Checkpoint, TrainingResult
    from spikeport.trainer.network import SpikingNetwork

    Trained: TypeAlias = SpikingNetwork | QATNetwork | Checkpoint | TrainingResult | TrainedModel
    """A trained network, or an object with one; of a `TrainingResult`, that of the last epoch."""


def export_float(network: Trained, dt_s: float | None = None) -> FloatNetwork:
    """Convert a trained network to a NIR graph in float units that computes the same function.

    Batch norms are folded and average pools become sums; the comparison with the threshold is that
    of training.

    Args:
        dt_s: time step in seconds, rounded to float32, default 1e-4; only dt / tau matters.

    Raises:
        InputError: lists every layer without an exact counterpart; or the network is a QAT
            network, which has no float form.
    """
    from spikeport.export.float_graph import export_model
    from spikeport.export.nir.graph import DEFAULT_DT_S

    if not isinstance(network, TrainedModel):
        from spikeport.trainer.description import as_trained_model

        network = as_trained_model(_model(network))
    return export_model(network, DEFAULT_DT_S if dt_s is None else dt_s)


def write_nir(
    network: Trained | FloatNetwork | DeployedNetwork,
    path: str | os.PathLike[str],
    *,
    dt_s: float | None = None,
    reader: str | None = None,
    allow_unsupported: bool = False,
) -> Portability | None:
    """Write a network as NIR, completely or not at all.

    A trained network is exported first; for a QAT network the deployed network is written. A
    deployed network is written as its float view, which any NIR reader can run, with its integers
    in the metadata, so that `read_nir` returns the same network.

    Args:
        dt_s: time step of the graph, default 1e-4; a float network already has one.
        reader: write the graph in the form that this reader runs: `norse`, `snntorch`,
            `spikingjelly`, `sinabs`, `rockpool`, `spyx`, `nirtorch` or `nir`. Spikeport reads the
            same network from it as from any other file.
        allow_unsupported: also if the reader does not run all of its nodes.

    Returns:
        What the reader makes of each node, None without one.

    Raises:
        InputError: the network cannot be exported, the reader does not run a node (the message
            names all), or a node's name is not safe in other tools.
        OutputError: the file cannot be written; an existing file is unharmed.
    """
    from spikeport.export import FloatNetwork, write_nir_file

    if not isinstance(network, FloatNetwork | DeployedNetwork):
        network = _exported(network, dt_s)
        dt_s = None if isinstance(network, FloatNetwork) else dt_s
    return write_nir_file(
        network, path, dt_s=dt_s, reader=reader, allow_unsupported=allow_unsupported
    )


def portability(
    network: Trained | FloatNetwork | DeployedNetwork | FloatContents, reader: str
) -> Portability:
    """What another reader of NIR makes of a network that is written for it.

    One word for each node: `exact` (the same step by step, up to the rounding of its float32),
    `approximate` (it runs the node under another rule) or `unsupported` (it refuses, drops or
    misplaces the node), with the cause. Of a deployed network, that is said of its float view.

    Raises:
        InputError: there is no such reader, or the network has no NIR graph.
    """
    from spikeport.export.nir import FloatContents, FloatNetwork
    from spikeport.export.nir.deployed import float_view
    from spikeport.export.nir.readers import judge

    if not isinstance(network, DeployedNetwork | FloatNetwork | FloatContents):
        network = _exported(network, None)
    return judge(float_view(network) if isinstance(network, DeployedNetwork) else network, reader)


def open_network(path: str | os.PathLike[str], **foreign: Any) -> DeployedNetwork | FloatNetwork:
    """Open a .spikeport, .nir, .net or checkpoint (.safetensors) file, by its suffix.

    A checkpoint gives the float network, or for a QAT network the deployed one.

    Args:
        foreign: what a file from another tool does not state, as for `read_nir` or `read_netx`.

    Raises:
        InputError: another suffix, or the file cannot be read as the kind its suffix names.
    """
    found = open_contents(path, **foreign)
    if isinstance(found, DeployedNetwork):
        return found
    from spikeport.export.nir import FloatContents

    return found.network() if isinstance(found, FloatContents) else found


def open_contents(
    path: str | os.PathLike[str], **foreign: Any
) -> DeployedNetwork | FloatNetwork | FloatContents:
    """Like `open_network`, for a NIR graph that is not run: dt and T may be unknown."""
    suffix = Path(path).suffix
    if suffix in (".spikeport", ".safetensors") and foreign:
        given = ", ".join(sorted(foreign))
        raise InputError(f"{path}: {given} must not be given, the file states its own")
    match suffix:
        case ".spikeport":
            from spikeport.network import load_network

            return load_network(path)
        case ".nir":
            from spikeport.export.nir import read_nir_contents

            if "input_shape" in foreign:
                raise InputError(f"{path}: argument input_shape: a NIR file states its own shapes")
            return read_nir_contents(path, **foreign)
        case ".net":
            from spikeport.export import read_netx

            if stated := sorted(foreign.keys() - {"steps", "input_shape"}):
                raise InputError(f"{path}: arguments {stated}: a netx file states its own")
            return read_netx(path, **foreign)
        case ".safetensors":
            from spikeport.trainer.loop import load_checkpoint

            return _exported(load_checkpoint(path), None)
        case _:
            raise InputError(
                f"{path}: suffix '{suffix}', must be .spikeport, .nir, .net or .safetensors"
            )


def _exported(network: Trained, dt_s: float | None) -> FloatNetwork | DeployedNetwork:
    """The network in the form in which network files store it."""
    if not isinstance(network, TrainedModel):
        from spikeport.trainer.chip import QATNetwork

        if isinstance(model := _model(network), QATNetwork):
            return model.deployed()
    return export_float(network, dt_s)


def _model(network: SpikingNetwork | QATNetwork | Checkpoint | TrainingResult) -> Any:
    from spikeport.trainer.loop import Checkpoint, TrainingResult

    return network.model if isinstance(network, Checkpoint | TrainingResult) else network
