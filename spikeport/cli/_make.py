"""`train`, `quantize` and `export`: the verbs that make networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from spikeport.cli import _io
from spikeport.cli._foreign import Foreign, origin_facts, origin_tables, takes_foreign
from spikeport.cli._numbers import numbers
from spikeport.cli._tables import facts_table, fidelity_table
from spikeport.errors import OptionError
from spikeport.network import DeployedNetwork, save_network
from spikeport.text import first_of

_TITLED = ("data.name", "training.architecture", "training.widths", "training.steps")
"""What the title of a recipe speaks of; with another, it is called by its name and these."""


def train(
    out: _io.Out,
    recipe: Annotated[
        str,
        typer.Argument(
            help="Name of a built-in recipe, a .toml file, FILE.py:CLASS, your own torch module, "
            "or a checkpoint (.safetensors), whose network is trained further."
        ),
    ] = "digits",
    changes: _io.Changes = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Data instead of the recipe's: a data set, an .npz file or a folder.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Architecture, such as `conv` or `mlp`; docs/networks.md lists all. Or a "
            "checkpoint, whose network is trained further, for its own T unless --steps is given.",
        ),
    ] = None,
    widths: Annotated[
        str | None,
        typer.Option(
            metavar="N,...",
            help="Channels of each convolution, or sizes of the hidden layers, such as 24,48.",
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", "-T", metavar="N", help="Number of steps T per sample.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="N", help="Number of passes over the training samples.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(metavar="N", help="Number of samples per update of the weights.")
    ] = None,
    lr: Annotated[float | None, typer.Option(metavar="X", help="Initial learning rate.")] = None,
    weight_decay: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Weight decay, applied only to the weights of convolutions and linear layers.",
        ),
    ] = None,
    decay: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Fraction of the membrane potential v kept per step; "
            "the chip's decay_v is the fraction lost.",
        ),
    ] = None,
    reset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Reset after a spike, `zero` or `subtract`.")
    ] = None,
    energy_budget: Annotated[
        str | None,
        typer.Option(metavar="ENERGY", help="Energy budget per sample, such as 5uJ or 800nJ."),
    ] = None,
    energy_penalty: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Weight in the loss of energy relative to all neurons firing at every step: 0.1 "
            "is little, 10 is much.",
        ),
    ] = None,
    energy_profile: _io.EnergyPrices = None,
    bits: _io.ChipBits = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            metavar="NAME",
            help="With --bits, keep to the limits of a chip, such as loihi1, or a backend.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", help="Random seed; the same seed gives the same weights."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="Number of torch threads.")
    ] = None,
    start: _io.Start = None,
    teacher: _io.Teacher = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the checkpoint in --out.")
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="MINUTES",
            help="Also save the checkpoint within an epoch, every MINUTES minutes.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Number of threads that prefetch samples."),
    ] = None,
    tensorboard: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Write a TensorBoard log to this folder, one entry per epoch."
        ),
    ] = None,
    lines: _io.Lines = False,
    as_json: _io.Json = False,
) -> None:
    """Train a spiking network by rate-based backpropagation; write a checkpoint.

    Options that name a hyperparameter are shortcuts for --set. The checkpoint (.safetensors) is
    rewritten after every epoch, completely or not at all; --resume continues from it to the same
    weights, bit for bit. With validation, the best epoch is saved next to it (.best.safetensors).

    FILE.py:CLASS, here or as the recipe's `architecture`, executes that file and trains an instance
    of the class. Its checkpoint contains the graph and executes nothing when it is loaded. A
    checkpoint there, such as one that `convert` wrote, is trained further from its weights.
    Started by `torchrun --no-python`, several processes share every batch. With --bits, training
    uses the integer network itself and the recipe's table [chip]; the checkpoint then contains that
    network, like a .spikeport file.
    """
    from spikeport.cli._training import check_checkpoint, check_start, watching
    from spikeport.report.units import parse_energy
    from spikeport.storage import parse_change
    from spikeport.trainer.config import own_network, trained_network
    from spikeport.trainer.loop import load_checkpoint
    from spikeport.trainer.recipe import load_recipe
    from spikeport.workflow import run_recipe

    stage = "training" if bits is None else "chip"
    given: dict[str, Any] = {
        "data.name": data,
        "training.architecture": model,
        "training.widths": None if widths is None else numbers("--widths", widths),
        "training.steps": steps,
        f"{stage}.epochs": epochs,
        "training.batch_size": batch_size,
        f"{stage}.lr": lr,
        f"{stage}.weight_decay": weight_decay,
        "training.decay": decay,
        "training.reset": reset,
        "training.energy_budget_uj": (
            None if energy_budget is None else parse_energy(energy_budget, "--energy-budget") / 1e6
        ),
        "training.energy_penalty": energy_penalty,
        "training.energy_profile": energy_profile,
        "training.seed": seed,
        "training.threads": threads,
        "chip.target": target,
    }
    if target is not None and bits is None:
        raise OptionError(f"--target {target}: needs --bits, training in chip arithmetic")
    if own_network(recipe):
        given["training.architecture"] = recipe
        recipe, own = "digits", recipe
        given["title"] = f"{own}, with the default settings"
        if data is None:
            raise OptionError(f"{own}: needs --data, the samples to train on")
    if steps is None and trained_network(given["training.architecture"]):
        given["training.steps"] = load_checkpoint(given["training.architecture"]).model.steps
    asked = {key: value for key, value in given.items() if value is not None}
    asked |= dict(parse_change(change) for change in changes or ())
    if "title" not in asked and (other := {key: asked[key] for key in _TITLED if key in asked}):
        lists = {key: list(v) if isinstance(v, tuple) else v for key, v in other.items()}
        changed = ", ".join(f"{key}={value}" for key, value in lists.items())
        asked["title"] = f"{recipe} with {changed}"
    chosen = load_recipe(recipe, asked)
    config = chosen.training if bits is None else chosen.on_chip(bits)
    file = config.architecture if own_network(config.architecture) else None
    if file is not None and not trained_network(file):
        file = file.rpartition(":")[0]
    inputs = (recipe, file, chosen.data.name, config.energy_profile, start, teacher or start)
    check_checkpoint(out, config, *inputs)
    check_start(None if resume else bits, start)
    result = run_recipe(
        chosen,
        out,
        start=start,
        teacher=teacher or start,
        bits=bits,
        resume=resume,
        minutes=minutes,
        workers=workers,
        watch=watching(config, tensorboard, lines),
    )
    if result.rank == 0:
        facts = result.as_dict()
        short = {"rewritten_for_chips": first_of(result.rewrites)} if result.rewrites else {}
        _io.emit(as_json, facts, facts_table("Trained", facts | short))


@takes_foreign
def quantize(
    network: Annotated[
        Path, typer.Argument(help="Checkpoint (.safetensors) or float network (.nir).")
    ],
    out: _io.Out,
    data: _io.Data = _io.DEFAULT_DATA,
    changes: _io.DataChanges = None,
    bits: _io.WeightBits = 8,
    target: _io.QuantizationTarget = None,
    input_coding: _io.InputCoding = None,
    calibration: _io.Calibration = 256,
    clip: _io.Clip = False,
    *,
    foreign: Foreign,
    as_json: _io.Json = False,
) -> None:
    """Quantize a float network to chip integers; write a .spikeport file.

    The scales are chosen on samples of the data; with `--data random`, on random inputs.
    """
    from spikeport.export.quantize import QuantizeConfig
    from spikeport.report.quantization import quantization_sections
    from spikeport.report.terminal import render_section
    from spikeport.workflow import quantize as run_quantization

    _io.check_out("--out", out, _io.CHIP, network, data)
    options = QuantizeConfig(weight_bits=bits, target=target, input_coding=input_coding)
    float_network = _io.open_network(network, foreign)
    if isinstance(float_network, DeployedNetwork):
        raise OptionError(
            f"{network}: already contains chip integers; use `spikeport export` to write them"
        )
    samples = labels = None
    if data != "random":
        dataset = _io.data_for(float_network, data, changes, labels_used=False)
        float_network = _io.declared(float_network, dataset)
        samples = dataset.train_x[:calibration]
        if dataset.classes <= float_network.output_count:
            labels = dataset.train_y[:calibration]
    result = run_quantization(
        float_network, samples, options, labels=labels, static=True, clip=clip
    )
    save_network(result.network, out)
    facts = {
        "network": str(out),
        "content_hash": result.network.content_hash,
        **origin_facts(float_network),
        "report": result.report.as_dict(),
    }
    shown = [render_section(part) for part in quantization_sections(result.report.as_dict())]
    _io.emit(as_json, facts, *origin_tables(float_network), *shown)


@takes_foreign
def export(
    network: Annotated[
        Path,
        typer.Argument(
            help="Checkpoint (.safetensors), deployed network (.spikeport or .net) or NIR file "
            "(.nir)."
        ),
    ],
    out: _io.Out,
    reader: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="NAME",
            help="Write NIR in the form that this reader runs (norse, snntorch, spikingjelly, "
            "sinabs, rockpool, spyx, nirtorch, nir), and show what it makes of each node.",
        ),
    ] = None,
    allow_unsupported: Annotated[
        bool,
        typer.Option(
            "--allow-unsupported",
            help="With --for, write the file even if that reader does not run all nodes.",
        ),
    ] = False,
    *,
    foreign: Foreign,
    as_json: _io.Json = False,
) -> None:
    """Write a network as NIR (.nir) or, if it has chip integers, as .spikeport or .net (netx).

    Chip integers are stored as metadata, so that all files read back as the same network. With
    --for, exit code 2 if that reader does not run a node.
    """
    from spikeport.export import write_netx
    from spikeport.workflow import write_nir

    if allow_unsupported and reader is None:
        raise OptionError("--allow-unsupported: needs --for, the reader to write for")
    suffixes = _io.NIR if reader else (*_io.NIR, *_io.NETX, *_io.CHIP)
    _io.check_out("--out", out, suffixes, network)
    if out.suffix not in suffixes:  # it says what to write
        raise OptionError(f"--out {out}: suffix '{out.suffix}', must be {' or '.join(suffixes)}")
    opened = _io.open_network(network, foreign)
    kind = out.suffix.removeprefix(".")
    found = None
    if kind == "nir":
        found = write_nir(opened, out, reader=reader, allow_unsupported=allow_unsupported)
    elif not isinstance(opened, DeployedNetwork):
        raise OptionError(
            f"--out {out}: holds chip integers, but {network} is a float network; use "
            "`spikeport quantize` first"
        )
    elif kind == "net":
        write_netx(opened, out)
    else:
        save_network(opened, out)
    again = _io.open_network(out, Foreign())
    facts: dict[str, object] = {kind: str(out), "bytes": out.stat().st_size}
    facts |= origin_facts(opened)
    if isinstance(opened, DeployedNetwork):
        facts |= {"content_hash": opened.content_hash, "read_back_equal": again == opened}
    if found is None:
        _io.emit(as_json, facts, facts_table("Exported", facts))
        return
    shown = facts_table("Exported", {**facts, "for": found.version, "load": found.load})
    data = {**facts, "portability": found.as_dict()}
    _io.emit(as_json, data, shown, fidelity_table(found))
