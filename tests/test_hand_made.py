"""Parts and requests written by hand: whole numbers of any kind, and single items."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from spikeport import evaluate, evaluate_deployed, record_trace, run, run_sharded
from spikeport import network as parts
from spikeport.errors import InputError
from spikeport.network import (
    LOIHI,
    Coding,
    DeployedNetwork,
    load_network,
    require_lif,
    save_network,
)
from spikeport.runs import Probe
from spikeport.simulators import Stream, run_native, run_reference
from spikeport.trainer import LIF
from spikeport.trainer.chip import QATNetwork
from spikeport.trainer.network import Node, SpikingNetwork

untyped: Any = parts  # accepts values of undeclared types, as users pass them
BiasInjection = untyped.BiasInjection
Conv1d = untyped.Conv1d
Conv2d = untyped.Conv2d
Dense = untyped.Dense
Input = untyped.Input
Population = untyped.Population
Readout = untyped.Readout
SumPool2d = untyped.SumPool2d
Network: Callable[..., DeployedNetwork] = untyped.DeployedNetwork

KINDS: dict[str, Any] = {
    "int": int,
    "float": float,
    "np.int64": np.int64,
    "np.uint16": np.uint16,
    "np.float32": np.float32,
    "np.longdouble": np.longdouble,
    "0-d array": np.array,
    "0-d float array": lambda n: np.array(n, float),
    "tensor": torch.tensor,
    "float tensor": lambda n: torch.tensor(n, dtype=torch.float32),
}
ARRAYS: dict[str, Any] = {
    "int": np.array,
    "list": lambda x: np.asarray(x).tolist(),
    "float list": lambda x: np.asarray(x, float).tolist(),
    "tuple": lambda x: tuple(map(tuple, x)) if np.ndim(x) == 2 else tuple(x),
    "float64": lambda x: np.asarray(x, np.float64),
    "float16": lambda x: np.asarray(x, np.float16),
    "int8": lambda x: np.asarray(x, np.int8),
    "tensor": torch.tensor,
    "float tensor": lambda x: torch.tensor(x, dtype=torch.float64),
    "Fortran": lambda x: np.asfortranarray(x),
}
WEIGHT = [[4, -2, 0], [0, 6, 100]]


def network(number: Any = int, array: Any = np.array) -> DeployedNetwork:
    return Network(
        inputs=Input("x", number(3), Coding.GRADED, number(0), number(9), number(3)),
        populations=Population(
            "p",
            (number(2),),
            vth=number(5),
            decay_u=number(4096),
            decay_v=number(128),
            bias=array([3, -7]),
            bias_exponent=number(2),
            v_init=number(64),
            refractory=number(1),
            scale=number(2),
        ),
        connections=Dense(
            "x",
            "p",
            array(WEIGHT),
            exponent=number(1),
            weight_bits=number(8),
            delay=number(1),
        ),
        readouts=Readout("p"),
        steps=number(6),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_whole_numbers_of_any_kind(kind: str, tmp_path: Any) -> None:
    made = network(KINDS[kind])
    assert made == Network(
        made.inputs, made.populations, made.connections, made.readouts, made.steps
    )
    plain = network()
    assert made.replace(inputs=plain.inputs, populations=plain.populations) == plain
    part = require_lif(made.populations[0])
    values = (made.steps, part.vth, part.decay_v, part.v_init, made.inputs[0].high, *part.shape)
    assert [type(value) for value in values] == [int] * len(values)
    save_network(made, tmp_path / "n.spikeport")
    assert load_network(tmp_path / "n.spikeport") == made
    x = np.arange(12).reshape(4, 3) % 9
    np.testing.assert_array_equal(
        run_reference(made, x).scores["p"], run_native(plain, x).scores["p"]
    )


@pytest.mark.parametrize("kind", ARRAYS)
def test_whole_arrays_of_any_kind(kind: str) -> None:
    assert network(array=ARRAYS[kind]) == network()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Population("p", (2,), vth=1.5), r"'p': vth is 1\.5, must be an integer"),
        (lambda: Population("p", (2,), vth=np.array(1.5)), r"vth is 1\.5, must be an integer"),
        (lambda: Population("p", (2,), vth=float("nan")), "vth is nan, must be an integer"),
        (lambda: Population("p", (2,), vth=float("inf")), "vth is inf, must be an integer"),
        (lambda: Population("p", (2,), vth=True), "vth is True, must be an integer"),
        (lambda: Population("p", (2,), vth=np.True_), "vth is True, must be an integer"),
        (lambda: Population("p", (2,), vth="5"), "vth is '5', must be an integer"),
        (lambda: Population("p", (2,), vth=None), "vth is None, must be an integer"),
        (
            lambda: Population("p", (2,), vth=1, bias=[0, 2**31]),
            r"'p': bias spans 0\.\.2147483648, must fit -2147483648\.\.2147483647",
        ),
        (lambda: Population("p", (2,), vth=[5]), r"vth is \[5\], must be an integer"),
        (lambda: Population("p", (2,), vth=1 + 0j), r"vth is \(1\+0j\), must be an integer"),
        (lambda: Population("p", (2.5,), vth=1), r"size is 2\.5, must be an integer"),
        (lambda: Population("p", "ab", vth=1), "shape is 'ab', must be integers"),
        (lambda: Population("p", None, vth=1), "shape is None, must be integers"),
        (lambda: Population("p", 2, 1, bias=[0.25, 1]), r"bias is 0\.25 at \(0,\), must be int"),
        (lambda: Population("p", 2, 1, bias=0.5), r"bias is 0\.5, must be integers; 1 of 1"),
        (lambda: Population("p", 2, 1, bias=[[1], [1, 2]]), "bias is not an array of numbers"),
        (lambda: Population("p", 2, 1, bias=np.ma.masked_equal([1, 2], 2)), "values are masked"),
        (lambda: Population("p", 2, 1, bias=[True, False]), "type bool, must be integers"),
        (lambda: Population("p", 2, 1, scale="big"), "scale is 'big', must be positive"),
        (lambda: Population("p", 2, 1, scale=np.array([1.0])), "scale is array"),
        (lambda: Dense("a", "b", [[2, 0.1], [0.2, 4]]), r"weight is 0\.1 at \(0, 1\).* 2 of 4"),
        (lambda: Dense("a", "b", [[1e9]]), "spans"),
        (lambda: Dense("a", "b", [["2"]]), "type <U1, must be integers"),
        (lambda: Dense("a", "b", [[2]], exponent=0.5), r"exponent is 0\.5, must be an integer"),
        (lambda: Conv1d("a", "b", [[[2]]], stride=1.5), r"stride is 1\.5, must be an integer"),
        (lambda: Conv2d("a", "b", [[[[2]]]], padding="1"), "padding is '1', must be integers"),
        (lambda: SumPool2d(2.5, 3), r"kernel_size is 2\.5, must be an integer"),
        (lambda: Input("x", 2, "bias", 0.5, 3), r"low is 0\.5, must be an integer"),
        (lambda: network().replace(steps=1.5), r"steps \(T\) is 1\.5, must be an integer"),
        (lambda: network().replace(readouts="p"), "readouts is 'p', must be Readout"),
        (lambda: network().replace(readouts=("p",)), "readouts contains 'p', must be Readout"),
        (lambda: network().replace(inputs=None), "inputs is None, must be Input"),
        (
            lambda: network().replace(connections=(None,)),
            "connections contains None, must be Dense",
        ),
    ],
)
def test_fractions_and_other_values_are_named(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_pairs_and_sides_may_be_any_whole_number() -> None:
    weight = np.full((1, 1, 2, 2), 2)
    made = Conv2d("a", "b", weight, stride=2.0, padding=np.array(1), dilation=(1.0, np.int8(1)))
    assert (made.stride, made.padding, made.dilation) == ((2, 2), (1, 1), (1, 1))
    assert SumPool2d(2.0, [2, np.float32(3)]).stride == (2, 3)


def test_default_ranges_of_inputs() -> None:
    assert (Input("x", (2,)).low, Input("x", (2,)).high) == (0, 1)
    bias = Input("x", (2,), "bias")
    assert (bias.low, bias.high) == (LOIHI.bias_mantissa_min, LOIHI.bias_mantissa_max)
    assert Input("x", (2,), Coding.BIAS, low=0).high == LOIHI.bias_mantissa_max
    for given in ({}, {"low": 0}, {"high": 9}):
        with pytest.raises(InputError, match="graded inputs must state their range"):
            Input("x", (2,), Coding.GRADED, **given)
    made = Network(bias, Population("p", 2, 9), BiasInjection("x", "p"), Readout("p"), 3)
    assert run("native", made, np.full((2, 2), -4096)).spike_counts["p"].sum() == 0


X = np.arange(12).reshape(4, 3) % 9


def small_model() -> SpikingNetwork:
    part = Input("x", (3,), Coding.GRADED, 0, 9, 1.0)
    nodes = [Node("a", ("x",), torch.nn.Linear(3, 2)), Node("p", ("a",), LIF(0.5, 1.0))]
    return SpikingNetwork(part, nodes, 6).eval()


def test_a_name_is_one_item_to_record(tmp_path: Any) -> None:
    made = network()
    chip = QATNetwork(network().replace(populations=Population("p", 2, 5), connections=Dense(
        "x", "p", np.array(WEIGHT))))  # fmt: skip
    runs: list[Any] = [
        run("native", made, X, record="spikes"),
        run("reference", made, X, record="spikes"),
        run_native(made, X, record="spikes", threads=1),
        run_reference(made, X, record="spikes"),
        evaluate_deployed(made, X, "spikes"),
        evaluate(small_model(), X, "spikes"),
        evaluate(chip, X / 3, "spikes"),
        Stream(made, 4).push(X, steps=6, record="spikes"),
    ]
    for done in runs:
        assert list(done.trace.spikes) == ["p"], done.backend
        assert not done.trace.v
    one = run("native", made, X, record=Probe("p", "v", 1))  # type: ignore[arg-type]
    assert one.trace is not None
    assert one.trace.v["p"].shape == (6, 4, 1)
    record_trace(tmp_path / "t.h5", made, X, record="v")
    assert (tmp_path / "t.h5").exists()
    replayed = run_native(made, X, recorded=runs[0].trace.spikes, record="u")
    assert replayed.trace is not None
    assert list(replayed.trace.u) == ["p"]
    for wrong in ("spike", "w", "", "spikes,v"):
        with pytest.raises(InputError, match=f"record: '{wrong}' cannot be recorded"):
            run("native", made, X, record=wrong)
        with pytest.raises(InputError, match=f"record: '{wrong}' cannot be recorded"):
            evaluate(small_model(), X, wrong)


def test_a_name_is_one_item_of_shards() -> None:
    pytest.importorskip("distributed")
    done = run_sharded(network(), X, record="spikes", workers=1, shard=2)
    assert done.trace is not None
    assert list(done.trace.spikes) == ["p"]


@pytest.mark.parametrize("neurons", [1, [1], (1.0,), np.array([1]), np.array(1), {1}])
def test_neurons_of_a_probe(neurons: Any) -> None:
    if isinstance(neurons, set):
        neurons = sorted(neurons)
    assert Probe("p", "v", neurons).neurons == (1,)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"probe of 'p' is 0\.5"):
        Probe("p", "v", (0.5,))  # type: ignore[arg-type]
