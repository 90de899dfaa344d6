"""Cost of a training step as T grows: both modes of the rate-based rule, compared with BPTT.

`python -m benchmarks.training_cost [--quick] [--networks ...] [--steps ...] [--json FILE]`

Each row is measured in a separate process. A step is forward, backward and optimizer; all rules
share layers, fused neuron loops, batches and memory format (channels last). "vs BPTT" is the time
of the BPTT step of the same mode divided by that of the row: both are timed alternately in one
process, so that other load on the machine has little effect. `chip` trains the quantized network in
its own integers and is compared with BPTT of the original network; its spiking pass is timed
alternately with the float one in the same way.

`--rules checkpoint spikingjelly memopt_blocks memopt_layers` measures BPTT with less memory
(`benchmarks/checkpointing.py`): torch's checkpointing on the same layers, and the same network of
SpikingJelly's layers, plain and with the checkpoints and packed spikes of its `memopt`.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.checkpointing import PEERS, Checkpointed, Jelly, available, peer
from benchmarks.children import ChildError, answer, exit_on_terminate
from benchmarks.processors import OWN, PROCESSORS, limit_to
from benchmarks.table import print_table
from spikeport.network import Coding, Input
from spikeport.storage import write_text
from spikeport.trainer.chip import AnyNetwork, QATNetwork
from spikeport.trainer.chip.network import spiking_pass
from spikeport.trainer.models import PUBLISHED, published_lif, small_conv
from spikeport.trainer.network import SpikingNetwork
from spikeport.trainer.rules import GradientRule
from spikeport.workflow import prepare_qat

CLASSES = 10
SCALE = 32.0
CAP_S = 1800.0
CHIP = "chip"
RULES = [
    *map(str, (GradientRule.RATE_M, GradientRule.RATE_S, GradientRule.BPTT_M, GradientRule.BPTT_S)),
    CHIP,
]
STEPS = (1, 2, 4, 8, 16)
QUICK_STEPS = (1, 2, 4)
BATCHES = {"small_conv": 64, "vgg11": 8, "resnet18": 8}
COLUMNS = (
    "network", "rule", "T", "step", "vs BPTT", "forward", "backward", "saved", "peak memory",
    "spiking pass",
)  # fmt: skip
NOTES = """
step         seconds of forward, backward and optimizer, median of the repeats
saved        size of what is kept for the backward pass, without weights and the batch
peak memory  of the process (or device), beyond network, batch and optimizer
spiking pass the chip's exact integer pass relative to the float pass, without gradients
""".strip()


def build(name: str, steps: int) -> SpikingNetwork:
    """A network of the comparison for 3 x 32 x 32 images; `small_conv` has 32, 64, 128 channels."""
    torch.manual_seed(0)
    input = Input("input", (3, 32, 32), Coding.GRADED, -160, 160, scale=SCALE)
    if name == "small_conv":
        return small_conv(input, CLASSES, (32, 64, 128), steps, published_lif())
    return PUBLISHED[name](input, CLASSES, steps)


def measure(job: Mapping[str, Any]) -> dict[str, Any]:
    """Measure one row in this process."""
    torch.set_num_threads(job["threads"])
    device = torch.device(job["device"])
    built = build(job["network"], job["steps"]).to(device).train()
    net: Trained = built
    x = (torch.randn(job["batch"], 3, 32, 32, device=device) * SCALE).round().clamp(
        -160, 160
    ) / SCALE
    if job["rule"] == CHIP:
        net = on_chip(built, x)
        built.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    elif job["rule"] in PEERS:
        net = peer(job["rule"], build(job["network"], job["steps"])).to(device).train()
        built.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    else:
        built.rule = GradientRule(job["rule"])
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = x.contiguous(memory_format=torch.channels_last)
    y = torch.randint(CLASSES, (job["batch"],), device=device)
    step = stepper(net, device, compiled=job["compile"])
    # a first step of one sample creates gradients, momentum and compiled loops, which then persist
    step(x[:1].repeat(2, 1, 1, 1), y[:1].repeat(2))
    before = _memory(device)
    saved = saved_bytes(net, x, y)
    found = [step(x, y) for _ in range(job["repeats"] + 1)]
    peak = _peak(device) - before
    total, ahead, back = (list(times) for times in zip(*found[1:], strict=True))
    passes = {}
    if isinstance(net, QATNetwork):
        passes = spiking_passes(built, net, x, job["repeats"])
    if (rival := bptt_of(job["rule"])) != job["rule"]:
        other = step if net is built else stepper(built.train(), device, compiled=job["compile"])
        passes |= {"bptt_ratio": bptt_ratio(built, rival, step, other, (x, y), job["repeats"])}
    return passes | {
        "step_s": statistics.median(total),
        "forward_s": statistics.median(ahead),
        "backward_s": statistics.median(back),
        "saved_bytes": saved,
        "peak_bytes": peak,
        "all_steps_s": total,
    }


Trained = AnyNetwork | Checkpointed | Jelly
Step = Callable[[Tensor, Tensor], tuple[float, float, float]]
"""Seconds of a whole step on a batch, of its forward part and of its backward part."""


def stepper(net: Trained, device: torch.device, *, compiled: bool) -> Step:
    """Training steps of a network with a separate optimizer."""
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)
    forward: Callable[[Tensor], Tensor] = torch.compile(net) if compiled else net

    def step(x: Tensor, y: Tensor) -> tuple[float, float, float]:
        begin = _now(device)
        optimizer.zero_grad(set_to_none=False)
        loss = functional.cross_entropy(forward(x), y)
        between = _now(device)
        (loss * net.gradient_scale).backward()  # type: ignore[no-untyped-call]
        end = _now(device)
        optimizer.step()
        return _now(device) - begin, between - begin, end - between

    return step


def bptt_of(rule: str) -> str:
    """The BPTT rule that a row is compared with: the one of the same mode."""
    stepwise = [str(mode) for mode in GradientRule if mode.single_step]
    return str(GradientRule.BPTT_S if rule in stepwise else GradientRule.BPTT_M)


def bptt_ratio(
    net: SpikingNetwork,
    rival: str,
    step: Step,
    other: Step,
    batch: tuple[Tensor, Tensor],
    repeats: int,
) -> float:
    """Seconds of `other`, with `net` trained by `rival`, over those of `step`; their median."""
    own, ratios = net.rule, []
    for _ in range(repeats + 1):
        seconds = step(*batch)[0]
        net.rule = GradientRule(rival)
        ratios.append(other(*batch)[0] / seconds)
        net.rule = own
    return statistics.median(ratios[1:])


def on_chip(net: SpikingNetwork, x: Tensor) -> QATNetwork:
    """The network with batch-norm statistics of these samples, with 8-bit weights."""
    for _ in range(3):
        net.spiking_pass(x)
    chip = prepare_qat(net.eval(), x[:4].numpy())
    net.train()
    return chip.train()


def spiking_passes(
    net: SpikingNetwork, chip: QATNetwork, x: Tensor, repeats: int
) -> dict[str, float]:
    """Seconds of the float and the integer spiking pass, alternating, and their median ratio."""
    times = []
    for _ in range(2 * repeats + 1):
        begin = time.perf_counter()
        net.spiking_pass(x)
        between = time.perf_counter()
        spiking_pass(chip, chip.integers(), chip.messages(x))
        times.append((between - begin, time.perf_counter() - between))
    return {
        "float_spiking_s": statistics.median(floats for floats, _ in times[1:]),
        "chip_spiking_s": statistics.median(integers for _, integers in times[1:]),
        "spiking_ratio": statistics.median(b / a for a, b in times[1:]),
    }


def saved_bytes(net: Trained, x: Tensor, y: Tensor) -> int:
    """Bytes kept for the backward pass, counting each block of memory once.

    These are the tensors that autograd keeps, and all others that only exist after the forward
    pass: checkpoints keep packed inputs where autograd does not see them.
    """
    blocks: dict[int, int] = {}
    held = [*_tensors(), x, y, *net.parameters(), *net.buffers()]  # or their memory is used again
    known = {_block(tensor) for tensor in held}

    def pack(tensor: Tensor) -> Tensor:
        if _block(tensor) not in known:
            blocks[_block(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = functional.cross_entropy(net(x), y)
    for tensor in _tensors():
        pack(tensor)
    del loss, held
    return sum(blocks.values())


def _tensors() -> list[Tensor]:
    """All dense tensors that Python objects hold."""
    gc.collect()
    tensors = [found for found in gc.get_objects() if issubclass(type(found), Tensor)]
    return [found for found in tensors if found.layout is torch.strided]


def _block(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def main(arguments: Sequence[str]) -> int:
    """Measure, print and write; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_cost", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="T up to 4 only")
    parser.add_argument("--networks", nargs="+", choices=BATCHES, default=list(BATCHES))
    parser.add_argument(
        "--rules", nargs="+", choices=[*map(str, GradientRule), CHIP, *PEERS], default=RULES
    )
    parser.add_argument("--steps", nargs="+", type=int, help="values of T")
    parser.add_argument(
        "--batch", type=int, help="samples per step (default 64 for small_conv, else 8)"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true", help="let torch compile the network")
    parser.add_argument("--json", type=Path, help="output file")
    parser.add_argument("--processor", choices=PROCESSORS, default=OWN, help="limit instructions")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.child:
        print("\n" + json.dumps(measure(json.loads(chosen.child))))
        return 0
    exit_on_terminate()
    limit_to(chosen.processor)
    # torch then requests huge pages, which avoids thousands of page faults for large tensors
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    rows = []
    for name in chosen.networks:
        for steps in chosen.steps or (QUICK_STEPS if chosen.quick else STEPS):
            for rule in chosen.rules:
                job = {
                    "network": name,
                    "steps": steps,
                    "rule": rule,
                    "batch": chosen.batch or BATCHES[name],
                    **{key: getattr(chosen, key) for key in ("threads", "repeats", "device")},
                    "compile": chosen.compile,
                }
                rows.append(job | _measured(job))
                print(f"{name} {rule} T={steps}: {rows[-1].get('failed', 'done')}", file=sys.stderr)
    print_table(COLUMNS, list(cells(rows)))
    print(NOTES)
    if chosen.json:
        document = {"torch": torch.__version__, "processor": chosen.processor, "rows": rows}
        write_text(chosen.json, json.dumps(document, indent=1) + "\n")
    return 0


def _measured(job: Mapping[str, Any]) -> dict[str, Any]:
    if not available(job["rule"]):
        return {"failed": "SpikingJelly is not installed"}
    try:
        return answer(
            sys.executable,
            "benchmarks.training_cost",
            ["--child", json.dumps(job)],
            threads=job["threads"],
            limit_s=CAP_S,
        )
    except ChildError as error:
        return {"failed": str(error)}


def cells(rows: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    """Rows of the table."""
    for row in rows:
        name = [row["network"], row["rule"], str(row["steps"])]
        if "failed" in row:
            yield [*name, row["failed"], *[""] * (len(COLUMNS) - 4)]
            continue
        yield [
            *name,
            *(f"{row['step_s']:.4f} s", f"{row.get('bptt_ratio', 1):.2f}x"),
            *(f"{row[key]:.4f} s" for key in ("forward_s", "backward_s")),
            *(f"{row[key] / 2**20:.1f} MiB" for key in ("saved_bytes", "peak_bytes")),
            f"{row['spiking_ratio']:.2f}x" if "spiking_ratio" in row else "",
        ]


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _memory(device: torch.device) -> int:
    """Bytes in use now; the peak is counted from here on."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _status("VmHWM")


def _status(name: str) -> int:
    """A size in bytes from the kernel's status of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
