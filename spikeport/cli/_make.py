"""`train`, `quantize` and `export`: the verbs that make networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from spikeport.cli import _io
from spikeport.cli._tables import facts_table
from spikeport.errors import InputError
from spikeport.network import DeployedNetwork, save_network


def train(
    out: _io.Out,
    recipe: _io.RecipeName = "digits",
    changes: _io.Changes = None,
    data: Annotated[
        str | None, typer.Option(help="Instead of the recipe's: a name, .npz file or folder.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Architecture: `conv`, `mlp`, ...")] = None,
    widths: Annotated[
        str | None, typer.Option(help="Channels per convolution, or hidden sizes: 24,48.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", "-T", help="Logical steps per sample.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training samples.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples per update.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate at the start.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="On weights only.")] = None,
    decay: Annotated[float | None, typer.Option(help="Lambda: what v keeps per step.")] = None,
    reset: Annotated[str | None, typer.Option(help="`zero` or `subtract`.")] = None,
    energy_budget: Annotated[
        str | None, typer.Option(metavar="ENERGY", help="Per sample: 5uJ, 800nJ.")
    ] = None,
    energy_penalty: Annotated[
        float | None, typer.Option(help="Weight of relative energy in the loss.")
    ] = None,
    energy_profile: _io.EnergyPrices = None,
    bits: _io.ChipBits = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same weights.")] = None,
    threads: Annotated[int | None, typer.Option(help="Of torch.")] = None,
    start: _io.Start = None,
    teacher: _io.Teacher = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from --out where a run stopped.")
    ] = False,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Write the checkpoint within epochs too, so often.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Threads that fetch samples ahead.")
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Folder for TensorBoard's log, a line per epoch.")
    ] = None,
    lines: _io.Lines = False,
    as_json: _io.Json = False,
) -> None:
    """Train a spiking network by rate-based backpropagation; write a checkpoint.

    The other options are short for --set. The checkpoint (.safetensors) is rewritten after every
    epoch, whole or not at all; --resume goes on from it to the same weights, bit for bit. With
    validation the best epoch lies beside it (.best.safetensors). With torchrun --no-python,
    processes share every batch. With --bits what is trained is the integer network itself, by the
    recipe's table [chip]; the checkpoint then holds that network, as .spikeport files do.
    """
    from spikeport.cli._training import run_recipe
    from spikeport.report.units import parse_energy
    from spikeport.storage import parse_change

    stage = "training" if bits is None else "chip"
    given: dict[str, Any] = {
        "data.name": data,
        "training.architecture": model,
        "training.widths": None if widths is None else _io.numbers("--widths", widths),
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
    }
    asked = {key: value for key, value in given.items() if value is not None}
    asked |= dict(parse_change(change) for change in changes or ())
    facts = run_recipe(
        recipe,
        asked,
        out,
        resume,
        start=start,
        teacher=teacher or start,
        bits=bits,
        minutes=minutes,
        workers=workers,
        log=tensorboard,
        lines=lines,
    )
    if facts is not None:
        _io.emit(as_json, facts, facts_table("Trained", facts))


def quantize(
    network: Annotated[Path, typer.Argument(help="Checkpoint (.safetensors) or float .nir.")],
    out: _io.Out,
    data: _io.Data = "digits",
    changes: _io.DataChanges = None,
    bits: _io.WeightBits = 8,
    calibration: Annotated[
        int, typer.Option(min=1, help="Training samples that choose the scales.")
    ] = 256,
    clip: _io.Clip = False,
    dt: _io.Dt = None,
    steps: _io.Steps = None,
    reset: _io.ResetName = None,
    strict: _io.Strict = None,
    as_json: _io.Json = False,
) -> None:
    """Quantize a float network to chip integers; write a .spikeport file."""
    from spikeport.export.quantize import QuantizeConfig
    from spikeport.report.quantization import quantization_sections
    from spikeport.report.terminal import render_section
    from spikeport.workflow import quantize as run_quantization

    _io.check_out("--out", out, _io.CHIP, network, data)
    float_network = _io.open_network(network, _io.Foreign(dt, steps, reset, strict))
    if isinstance(float_network, DeployedNetwork):
        raise InputError(
            f"{network}: holds chip integers already; `spikeport export` writes them to a file"
        )
    dataset = _io.data_for(float_network, data, changes, labels_used=False)
    float_network = _io.declared(float_network, dataset)
    result = run_quantization(
        float_network,
        dataset.train_x[:calibration],
        QuantizeConfig(weight_bits=bits),
        static=True,
        clip=clip,
    )
    save_network(result.network, out)
    facts = {
        "network": str(out),
        "content_hash": result.network.content_hash,
        "report": result.report.as_dict(),
    }
    sections = quantization_sections(result.report.as_dict())
    _io.emit(as_json, facts, *(render_section(section) for section in sections))


def export(
    network: Annotated[Path, typer.Argument(help="Checkpoint, .spikeport or .nir file.")],
    out: _io.Out,
    dt: _io.Dt = None,
    steps: _io.Steps = None,
    reset: _io.ResetName = None,
    strict: _io.Strict = None,
    as_json: _io.Json = False,
) -> None:
    """Write a network as NIR (.nir); chip integers travel along as metadata."""
    from spikeport.export.nir import read_nir, write_nir

    _io.check_out("--out", out, _io.NIR, network)
    opened = _io.open_network(network, _io.Foreign(dt, steps, reset, strict))
    write_nir(opened, out)
    again = read_nir(out)
    facts: dict[str, object] = {"nir": str(out), "bytes": out.stat().st_size}
    if isinstance(opened, DeployedNetwork):
        facts |= {"content_hash": opened.content_hash, "read_back_equal": again == opened}
    _io.emit(as_json, facts, facts_table("Exported", facts))
