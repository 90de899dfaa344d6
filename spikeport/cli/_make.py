"""`train`, `quantize` and `export`: the verbs that make networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spikeport.cli import _io
from spikeport.cli._tables import facts_table
from spikeport.errors import InputError
from spikeport.network import DeployedNetwork
from spikeport.network_file import save_network


def train(
    out: _io.Out,
    data: _io.Data = "digits",
    model: Annotated[str, typer.Option(help="`conv` or `mlp`.")] = "conv",
    widths: Annotated[
        str, typer.Option(help="Channels per convolution, or hidden sizes: 16,32.")
    ] = "16,32",
    steps: Annotated[int, typer.Option("--steps", "-T", help="Logical steps per sample.")] = 8,
    epochs: Annotated[int, typer.Option(help="Passes over the training samples.")] = 30,
    batch_size: Annotated[int, typer.Option(help="Samples per update.")] = 64,
    lr: Annotated[float, typer.Option(help="Learning rate at the start.")] = 0.1,
    decay: Annotated[float, typer.Option(help="Lambda: what v keeps per step.")] = 0.5,
    reset: Annotated[str, typer.Option(help="`zero` or `subtract`.")] = "zero",
    seed: Annotated[int, typer.Option(help="Same seed, same weights.")] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from --out where a run stopped.")
    ] = False,
    as_json: _io.Json = False,
) -> None:
    """Train a spiking network by rate-based backpropagation; write a checkpoint.

    The checkpoint (.safetensors) is rewritten after every epoch, whole or not at all.
    """
    from spikeport.trainer import EpochRecord, TrainConfig, evaluate
    from spikeport.trainer import train as run_training

    dataset = _io.open_data(data)
    config = TrainConfig(
        architecture=model,  # type: ignore[arg-type]
        widths=_numbers(widths),
        steps=steps,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        decay=decay,
        reset=reset,  # type: ignore[arg-type]
        seed=seed,
    )
    with _io.progress(f"training {model}") as update:

        def report(record: EpochRecord) -> None:
            update(f"epoch {record.epoch}, loss {record.loss:.3f}", record.epoch, epochs)

        result = run_training(config, dataset, report, checkpoint=out, resume=resume)
    run = evaluate(result.model, dataset.test_x)
    correct = int((run.predictions == dataset.test_y).sum())
    last = result.history[-1]
    facts = {
        "checkpoint": str(out),
        "epochs": len(result.history),
        "loss": last.loss,
        "train_accuracy": last.accuracy,
        "test_accuracy": correct / run.samples,
        "test_samples": run.samples,
        "seconds": round(sum(record.seconds for record in result.history), 1),
    }
    _io.emit(as_json, facts, facts_table("Trained", facts))


def quantize(
    network: Annotated[Path, typer.Argument(help="Checkpoint (.safetensors) or float .nir.")],
    out: _io.Out,
    data: _io.Data = "digits",
    bits: Annotated[int, typer.Option(help="Bits per weight, 2 to 8.")] = 8,
    calibration: Annotated[
        int, typer.Option(min=1, help="Training samples that choose the scales.")
    ] = 256,
    as_json: _io.Json = False,
) -> None:
    """Quantize a float network to chip integers; write a .spikeport file."""
    from spikeport.export import QuantizeConfig
    from spikeport.report import quantization_sections, render_section
    from spikeport.workflow import quantize as run_quantization

    float_network = _io.open_network(network)
    if isinstance(float_network, DeployedNetwork):
        raise InputError(f"{network}: holds chip integers already")
    samples = _io.open_data(data).train_x[:calibration]
    result = run_quantization(float_network, samples, QuantizeConfig(weight_bits=bits))
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
    as_json: _io.Json = False,
) -> None:
    """Write a network as NIR (.nir); chip integers travel along as metadata."""
    from spikeport.export import read_nir, write_nir

    opened = _io.open_network(network)
    write_nir(opened, out)
    again = read_nir(out)
    facts: dict[str, object] = {"nir": str(out), "bytes": out.stat().st_size}
    if isinstance(opened, DeployedNetwork):
        facts |= {"content_hash": opened.content_hash, "read_back_equal": again == opened}
    _io.emit(as_json, facts, facts_table("Exported", facts))


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--widths is '{text}', must be integers joined by commas") from None
