"""The simulator for GPUs equals the specification in every number.

Its operations run on the CPU, and on a GPU as well if there is one.
"""

from __future__ import annotations

import dataclasses
import gc
import re
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import spikeport
from benchmarks.networks import random_spikes
from spikeport import check
from spikeport.backends import backend, run, status_of
from spikeport.errors import BackendUnavailableError, InputError, UnsupportedError
from spikeport.network import (
    LOIHI,
    Coding,
    Conv1d,
    Conv2d,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    ReadoutKind,
    Reset,
    Sparse,
    SumPool2d,
    WeightedConnection,
    save_network,
)
from spikeport.runs import ResetSchedule, everything
from spikeport.simulators import run_cuda, run_native, run_reference
from spikeport.simulators.cuda import chunk, products, registers
from spikeport.simulators.cuda.device import choose_device
from spikeport.simulators.cuda.plan import plan_of, samples_at_once
from tests.helpers.benchmark_networks import NETWORKS
from tests.helpers.command import call, one_line
from tests.helpers.networks import ALL, digits_like
from tests.helpers.pages import page
from tests.helpers.probes import chain, inputs, probes_for
from tests.helpers.run_comparison import assert_equal_runs
from tests.helpers.strategies import networks, samples_for

CPU = torch.device("cpu")
GPU = torch.cuda.is_available()
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


DEVICES = ["cpu", *(["cuda"] if GPU else [])]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# Equality


@pytest.mark.slow
@settings(max_examples=400, suppress_health_check=SLOW)
@given(
    data=st.data(),
    device=st.sampled_from(DEVICES),
    memory=st.sampled_from([1, 5000, 2**24]),
    adaptive=st.booleans(),
    interval=st.sampled_from([None, None, 1, 2, 3]),
)
def test_random_networks_run_as_specified(
    data: st.DataObject, device: str, memory: int, adaptive: bool, interval: int | None
) -> None:
    network = data.draw(networks(adaptive=adaptive))
    samples = data.draw(samples_for(network))
    record = data.draw(st.sampled_from([everything(network), ("spikes",), ()]))
    resets = None if interval is None else ResetSchedule(interval, interval // 2)
    expected = run_reference(network, samples, record=record, resets=resets)
    actual = run_cuda(
        network, samples, record=record, resets=resets, device=device, memory_bytes=memory
    )
    assert_equal_runs(actual, expected)


@pytest.mark.parametrize("memory", [1, 10**6, 10**9])
def test_many_samples_run_as_on_native_however_many_at_once(device: str, memory: int) -> None:
    network, samples = digits_like()
    expected = run_native(network, samples, record=ALL)
    assert expected.counts is not None
    assert min(expected.counts.spikes.values()) > 0
    actual = run_cuda(network, samples, record=ALL, device=device, memory_bytes=memory)
    assert_equal_runs(actual, expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_the_benchmarks_run_as_on_native(name: str, device: str) -> None:
    network = NETWORKS[name]()
    spikes = random_spikes(network, 20, 0.3)
    expected = run_native(network, spikes, record=ALL)
    assert_equal_runs(run_cuda(network, spikes, record=ALL, device=device), expected)


@settings(max_examples=30)
@given(data=st.data(), device=st.sampled_from(DEVICES))
def test_probes_record_the_same_neurons(data: st.DataObject, device: str) -> None:
    network = chain()
    record = data.draw(probes_for(network))
    actual = run_cuda(network, inputs(), record=record, device=device)
    expected = run_native(network, inputs(), record=record)
    assert_equal_runs(actual, expected)
    assert actual.trace is not None
    assert expected.trace is not None
    chosen = ({k: v.flat.tolist() for k, v in t.neurons.items()}
              for t in (actual.trace, expected.trace))  # fmt: skip
    assert next(chosen) == next(chosen)


def one_layer(
    connection: WeightedConnection, shape: tuple[int, ...], target: tuple[int, ...], high: int = 1
) -> DeployedNetwork:
    """`connection` from input "x" to population "p" with lossy decays."""
    coding = Coding.SPIKES if high == 1 else Coding.GRADED
    return DeployedNetwork(
        (Input("x", shape, coding, 0, high),),
        (Population("p", target, vth=9000, decay_u=700, decay_v=41, reset=Reset.SUBTRACT),),
        (connection,),
        (Readout("p"),),
        3,
    )


def even(*shape: int) -> NDArray[np.int16]:
    return np.random.default_rng(7).integers(-128, 128, shape, np.int16) * np.int16(2)


@pytest.mark.parametrize("high", [1, 7, 2**20])
@pytest.mark.parametrize(
    "sides",
    [
        {},
        {"padding": (3, 1)},
        {"stride": (2, 1), "dilation": (1, 2)},
        {"stride": (3, 2), "padding": (1, 2), "dilation": (2, 1)},
    ],
    ids=str,
)
@pytest.mark.parametrize(("channels", "groups"), [(4, 1), (6, 2), (12, 4)])
@pytest.mark.parametrize("pool", [None, SumPool2d((2, 3), (2, 4), (1, 0))], ids=["", "pool"])
def test_convolutions_run_as_on_native(
    channels: int,
    groups: int,
    pool: SumPool2d | None,
    sides: dict[str, Any],
    high: int,
    device: str,
) -> None:
    shape = (4, 14, 19)
    part = Conv2d("x", "p", even(channels, 4 // groups, 2, 3), groups=groups, pool=pool, **sides)
    target = part.output_shape(shape if pool is None else pool.output_shape(shape))
    network = one_layer(part, shape, target, high)
    rng = np.random.default_rng(1)
    samples = rng.integers(0, high, (3, 4, *shape), endpoint=True) * rng.integers(0, 2, shape)
    expected = run_native(network, samples, record=ALL)
    assert_equal_runs(run_cuda(network, samples, record=ALL, device=device), expected)


@pytest.mark.parametrize(("channels", "groups"), [(4, 1), (6, 2), (12, 4)])
def test_convolutions_along_one_axis_run_as_on_native(
    channels: int, groups: int, device: str
) -> None:
    weight = even(channels, 4 // groups, 3)
    part = Conv1d("x", "p", weight, stride=2, padding=2, dilation=2, groups=groups)
    network = one_layer(part, (4, 15), part.output_shape((4, 15)))
    samples = np.random.default_rng(1).integers(0, 2, (3, 2, 4, 15))
    expected = run_native(network, samples, record=ALL)
    assert_equal_runs(run_cuda(network, samples, record=ALL, device=device), expected)


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_sparse_connections_run_as_on_native(share: float, device: str) -> None:
    """Multiplied as sparse and as dense matrices."""
    rng = np.random.default_rng(2)
    matrix = even(30, 60) * (rng.random((30, 60)) < share)
    part = Sparse.from_matrix("x", "p", matrix)
    assert (len(part.weight) < products.DENSE_FROM * matrix.size) == (share == 0.02)
    network = one_layer(part, (60,), (30,), high=9)
    samples = rng.integers(0, 10, (3, 5, 60))
    expected = run_native(network, samples, record=ALL)
    assert_equal_runs(run_cuda(network, samples, record=ALL, device=device), expected)


@pytest.mark.parametrize("exponent", [-8, -1, 0, 7])
@pytest.mark.parametrize("kernel", [(), (1,), (1, 1)])
def test_overload_wraps_and_saturates_as_specified(
    kernel: tuple[int, ...], exponent: int, device: str
) -> None:
    payloads = np.array([-(2**23), -(2**15) - 1, 2**15, 2**16 + 1, 2**22, 2**23 - 1])
    made: Any = (Dense, Conv1d, Conv2d)[len(kernel)]
    weight = np.array([[254, -256]], np.int16).reshape(1, 2, *kernel)
    network = DeployedNetwork(
        (Input("x", (2, *kernel), Coding.GRADED, -(2**23), 2**23 - 1),),
        (Population("p", (1, *kernel), vth=131071, decay_u=100, decay_v=1),),
        (made("x", "p", weight, exponent=exponent),),
        (Readout("p"),),
        4,
    )
    samples = np.stack(np.meshgrid(payloads, payloads), axis=-1).reshape(-1, 2, *kernel)
    expected = run_reference(network, samples, record=ALL)
    assert_equal_runs(run_cuda(network, samples, record=ALL, device=device), expected)


def test_several_readouts_predict_by_the_first(device: str) -> None:
    network, samples = digits_like()
    order = (Readout("out", ReadoutKind.MEMBRANE), Readout("conv"), Readout("hidden"))
    network = network.replace(readouts=order)
    expected = run_native(network, samples)
    actual = run_cuda(network, samples, device=device, memory_bytes=10**6)
    assert list(actual.scores) == list(expected.scores) == ["out", "conv", "hidden"]
    assert_equal_runs(actual, expected)


def test_samples_in_any_layout_of_memory_are_fine() -> None:
    network, samples = chain(), np.random.default_rng(3).integers(0, 2, (3, 3, 2, 5, 6))
    moved = samples.T[:, ::-1]
    moved.setflags(write=False)
    expected = run_native(network, np.ascontiguousarray(moved), record=ALL)
    assert_equal_runs(run_cuda(network, moved, record=ALL, device="cpu"), expected)


@settings(max_examples=500)
@given(st.integers(-(2**31), 2**31 - 1), st.integers(0, LOIHI.decay_unity))
def test_the_decay_of_any_register_is_the_specified_one(state: int, decay: int) -> None:
    found = registers.decayed(torch.tensor([state], dtype=torch.int32), decay)
    assert found.dtype is torch.int32
    assert found.tolist() == [LOIHI.decayed(state, decay)]


# What makes the products exact


@pytest.mark.parametrize(
    ("sources", "high", "kind"),
    [
        (255, 65793, torch.float32),  # 2^24 - 1
        (256, 65536, torch.float64),  # 2^24
        (257, 65281, torch.float64),  # 2^24 + 1, which float32 does not have
        (257, 2**23 - 1, torch.float64),  # beyond 2^31
    ],
)
def test_each_connection_takes_the_narrowest_exact_product(
    sources: int, high: int, kind: torch.dtype, device: str
) -> None:
    ones = np.ones((1, sources), np.int16)
    network = one_layer(Dense("x", "p", ones), (sources,), (1,), high)
    part = products.make_product(network, network.weighted_connections[0], CPU)
    assert (part.bound, part.kind) == (sources * high, kind)
    samples = np.full((2, sources), high)
    samples[1, 0] = high // 2
    expected = run_reference(network, samples, record=ALL)
    assert_equal_runs(run_cuda(network, samples, record=ALL, device=device), expected)


@pytest.mark.parametrize(("sources", "high"), [(65793, 1), (258, 255)])
def test_the_page_states_how_many_sources_take_float32(sources: int, high: int) -> None:
    text = " ".join(page("cuda.md").split())
    assert f"{sources:,} others" in text or f"{sources} pixels of 0..255" in text
    for count, kind in ((sources, torch.float32), (sources + 1, torch.float64)):
        part = Dense("x", "p", np.full((1, count), 255, np.int16))
        network = one_layer(part, (count,), (1,), high)
        assert products.make_product(network, part, CPU).kind is kind


def test_the_example_of_the_page_runs() -> None:
    network, x = digits_like()
    (code,) = re.findall(r"```python\n(.*?)```", page("cuda.md"), re.S)
    names: dict[str, Any] = {"spikeport": spikeport, "network": network, "x": x}
    exec(code, names)
    assert_equal_runs(names["run"], run_native(network, x))


def beyond_float64() -> DeployedNetwork:
    pool, weight = SumPool2d((16, 16), (16, 16)), np.full((1, 2, 125, 125), 255)
    part = Conv2d("x", "p", weight, padding=(62, 62), pool=pool)
    return one_layer(part, (2, 16, 16), (1, 1, 1), 2**23 - 1)


def test_sums_that_would_not_be_exact_are_refused() -> None:
    network = beyond_float64()
    samples = np.zeros((1, 2, 16, 16), np.int64)
    message = r"^connection 'x_to_p': a weighted sum could reach 1.\d+e\+16, must stay below 2\^53"
    with pytest.raises(UnsupportedError, match=message):
        run_cuda(network, samples, device="cpu")
    (found,) = check(network, ["cuda"])
    (feature,) = found.unsupported
    assert (feature.part, feature.limit) == ("connection 'x_to_p'", 2**53 - 1)
    assert not found.runs
    assert all(one.runs for one in check(digits_like()[0], ["cuda"]))


def chosen_formats() -> list[Any]:
    backends: Any = torch.backends
    return [backends.cuda.matmul.fp32_precision, backends.mkldnn.matmul.fp32_precision,
            torch.is_autocast_enabled("cpu")]  # fmt: skip


@pytest.fixture(params=["older settings", "newer settings"])
def narrow_products(request: pytest.FixtureRequest) -> Iterator[list[Any]]:
    """The caller allows products of narrower formats."""
    backends: Any = torch.backends
    owners = backends.cuda.matmul, backends.mkldnn.matmul
    before = [owner.fp32_precision for owner in owners]
    if request.param == "older settings":
        torch.set_float32_matmul_precision("medium")
    else:
        for owner, precision in zip(owners, ("tf32", "bf16"), strict=True):
            owner.fp32_precision = precision
    with torch.autocast("cpu", dtype=torch.bfloat16):
        yield ["tf32", "bf16", True]
    torch.set_float32_matmul_precision("highest")
    for owner, precision in zip(owners, before, strict=True):
        owner.fp32_precision = precision


def test_narrower_products_that_the_caller_allows_are_not_used(narrow_products: list[Any]) -> None:
    assert chosen_formats() == narrow_products
    with products.plain_products(CPU):
        assert chosen_formats() == ["ieee", "ieee", False]
        assert torch.get_float32_matmul_precision() == "highest"
    rng = np.random.default_rng(4)
    network = one_layer(Dense("x", "p", even(40, 200)), (200,), (40,), 255)
    samples = rng.integers(0, 256, (8, 200))
    weight, message = torch.tensor(even(40, 200)).float(), torch.tensor(samples).float()
    product = message @ weight.T
    assert not torch.equal(product.double(), message.double() @ weight.T.double())
    expected = run_native(network, samples, record=ALL)
    assert_equal_runs(run_cuda(network, samples, record=ALL, device="cpu"), expected)
    with pytest.raises(UnsupportedError):
        run_cuda(beyond_float64(), np.zeros((1, 2, 16, 16), np.int64), device="cpu")
    assert chosen_formats() == narrow_products


# How it runs


def test_only_cycles_are_run_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other connections have one product for all steps and samples."""
    network, samples = digits_like()
    rows: list[tuple[str, int]] = []
    plain = products.Product.add

    def add(part: products.Product, messages: Any, current: Any, memory_bytes: int) -> None:
        rows.append((part.connection.name, len(messages)))
        plain(part, messages, current, memory_bytes)

    monkeypatch.setattr(products.Product, "add", add)
    run_cuda(network, samples, device="cpu")
    assert rows == [
        ("image_to_conv", 40),
        ("conv_to_hidden", 12 * 40),
        *[("loop", 40)] * 11,
        ("hidden_to_out", 12 * 40),
    ]


def test_as_many_samples_are_computed_at_once_as_fit() -> None:
    network, _ = digits_like()
    plan = plan_of(network, CPU)
    none: frozenset[str] = frozenset()
    messages, current = 12 * (64 * 4 + 512 + 20 + 10), 12 * 512 * 4
    found = {m: samples_at_once(network, plan, none, None, m) for m in (1, 10**6, 10**8)}
    assert found[1] == 1
    for memory in (10**6, 10**8):
        assert 0 < memory - found[memory] * (messages + current) < 0.75 * memory
    static = samples_at_once(network, plan, frozenset(["image"]), None, 10**8)
    trace = run_native(network, digits_like()[1], record=("v",)).trace
    assert samples_at_once(network, plan, none, trace, 10**8) < found[10**8] < static


def test_a_network_is_prepared_once_and_let_go() -> None:
    network, samples = digits_like()
    run_cuda(network, samples[:1], device="cpu")
    plan = plan_of(network, CPU)
    assert plan_of(network, CPU) is plan
    gone = weakref.ref(network)
    del network, plan
    gc.collect()
    assert gone() is None


def test_the_run_names_what_computed_it() -> None:
    network, samples = digits_like()
    found = run("cuda", network, samples[:1], device="cpu")
    assert found.backend == "cuda"
    assert found.version.endswith(f"(torch {torch.__version__}, cpu)")


# What is refused


@pytest.mark.skipif(GPU, reason="there is a CUDA device")
def test_without_a_gpu_native_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network, samples = digits_like()
    message = "backend 'cuda': no CUDA device found by torch .*; use backend native, whose results"
    with pytest.raises(BackendUnavailableError, match=message):
        run("cuda", network, samples)
    status = status_of(backend("cuda"))
    assert (status.version, status.broken) == (None, False)
    assert status.reason == "no CUDA device"
    save_network(network, tmp_path / "n.spikeport")
    code = call(["run", str(tmp_path / "n.spikeport"), "-n", "2", "--backend", "cuda"])
    out, err = capsys.readouterr()
    assert (code, out) == (3, "")
    assert one_line(err).startswith("spikeport: backend 'cuda': no CUDA device")


@pytest.mark.parametrize("name", ["mps", "cuda:x", "cuda:", "", "cpu,0"])
def test_an_unknown_device(name: str) -> None:
    with pytest.raises(InputError, match=f"^device '{name}' is unknown, must be cuda, cuda:N or"):
        choose_device(name)


def test_numbers_of_other_widths_are_refused() -> None:
    network, samples = digits_like()
    narrow = dataclasses.replace(LOIHI, name="narrow", state_bits=23)
    with pytest.raises(InputError, match="but the cuda simulator supports only 'loihi'"):
        run_cuda(network.replace(arithmetic=narrow), samples, device="cpu")


def test_memory_below_one_byte_is_an_error() -> None:
    network, samples = digits_like()
    with pytest.raises(InputError, match="memory_bytes is 0, must be at least 1"):
        run_cuda(network, samples, device="cpu", memory_bytes=0)


def test_exhausted_memory_of_the_device_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    network, samples = digits_like()

    def exhausted(*_: Any) -> None:
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has 1 GiB."
        )

    monkeypatch.setattr(chunk, "_received", exhausted)
    message = (
        r"does not suffice \(CUDA out of memory\); use a lower memory_bytes, or backend native$"
    )
    with pytest.raises(BackendUnavailableError, match=message):
        run_cuda(network, samples, device="cpu")


def test_without_torch_the_backend_says_what_to_install(tmp_path: Path) -> None:
    network, samples = digits_like()
    save_network(network, tmp_path / "n.spikeport")
    np.save(tmp_path / "x.npy", samples[:1])
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy as np, spikeport\n"
        "from spikeport.backends import backend, status_of\n"
        "print(status_of(backend('cuda')).reason)\n"
        f"network = spikeport.load_network({str(tmp_path / 'n.spikeport')!r})\n"
        "try:\n"
        f"    spikeport.run('cuda', network, np.load({str(tmp_path / 'x.npy')!r}))\n"
        "except spikeport.MissingPackageError as error:\n"
        "    print(error)\n"
        "print(spikeport.check(network, ['cuda'])[0].runs)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "torch is not installed",
        "backend 'cuda' needs torch, which is not installed: pip install '.[cuda]'",
        "True",
    ], done.stderr
