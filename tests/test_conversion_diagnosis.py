"""Converted networks side by side: their errors, accuracies and summaries."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spikeport import (
    ConversionDiagnosis,
    LayerErrors,
    NetworkErrors,
    StartValue,
    diagnose_conversion,
    float_accuracy_by_steps,
    read_nir_float,
    run_float,
    summarize_errors,
    write_nir,
)
from spikeport.errors import InputError
from spikeport.network import Reset
from spikeport.trainer import LI, LIF, Node, SpikingNetwork, measure_accuracy
from spikeport.trainer.conversion import (
    accuracy_by_steps,
    activations,
    conversion_errors,
    restructure,
    to_spiking,
)
from spikeport.trainer.conversion.shortcuts import Shortcuts
from spikeport.workflow import export_float
from tests.helpers.anns import random_ann, random_images

X = random_images(70)
Y = np.arange(70) % 3
STEPS = (2, 5)


def converted(ann: SpikingNetwork, theta: float = 1.5, steps: int = 5) -> SpikingNetwork:
    return to_spiking(ann, dict.fromkeys(activations(ann), theta), steps)


def found(**networks: Any) -> ConversionDiagnosis:
    return diagnose_conversion(networks, X.numpy(), Y, STEPS, ann=random_ann())


def test_errors_and_accuracies_are_those_of_each_function_alone() -> None:
    ann = random_ann()
    low, high = converted(ann, 1.0), converted(ann, 2.0)
    made = found(low=low, high=high)
    assert (made.steps, made.samples, made.error_samples) == (STEPS, 70, 64)
    assert [each.name for each in made.networks] == ["low", "high"]
    assert made.ann_accuracy is not None
    assert made.ann_accuracy.rate == measure_accuracy(ann, X.numpy(), Y)
    for network, each in zip((low, high), made.networks, strict=True):
        wanted = conversion_errors(network, torch.split(X[:64], 16), STEPS, ann)
        assert each.errors == wanted
        assert each.after(2) == wanted[::2]
        rates = accuracy_by_steps(network, X.numpy(), Y, STEPS)
        assert {n: one.rate for n, one in each.accuracy.items()} == rates
        assert each.summary(5) == summarize_errors(wanted, 5)


def test_a_file_has_the_errors_and_accuracies_of_the_network_that_wrote_it(tmp_path: Path) -> None:
    network = converted(random_ann())
    write_nir(network, tmp_path / "net.nir")
    made = found(ours=network, graph=read_nir_float(tmp_path / "net.nir"))
    ours, graph = made.networks
    assert graph.accuracy == ours.accuracy
    assert [(e.layer, e.steps) for e in graph.errors] == [(e.layer, e.steps) for e in ours.errors]
    for a, b in zip(ours.errors, graph.errors, strict=True):
        for name, value in vars_of(a.relative).items():
            assert getattr(b.relative, name) == pytest.approx(value, rel=1e-3, abs=1e-5)
        assert (a.rate, a.saturated) == pytest.approx((b.rate, b.saturated), abs=1e-12)


def vars_of(relative: Any) -> dict[str, float]:
    return {name: getattr(relative, name) for name in relative.__slots__}


def test_a_graph_is_run_for_each_number_of_steps() -> None:
    network = export_float(converted(random_ann()))
    rates = float_accuracy_by_steps(network, X.numpy(), Y, (5, 1, 2))
    assert list(rates) == [1, 2, 5]
    for steps, rate in rates.items():
        run = run_float(replace(network, steps=steps), X.numpy())
        assert rate == (run.predictions == Y).mean()


def test_accuracy_of_a_graph_is_measured_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    network = export_float(converted(random_ann()))
    once = float_accuracy_by_steps(network, X.numpy(), Y, (3,))
    monkeypatch.setattr("spikeport.simulators.float_accuracy.VALUES", 20_000)
    assert float_accuracy_by_steps(network, X.numpy(), Y, (3,)) == once


def test_the_default_steps_include_those_of_every_network() -> None:
    ann = random_ann()
    a, b = converted(ann, steps=3), export_float(converted(ann, steps=40))
    made = diagnose_conversion({"a": a, "b": b}, X[:2].numpy(), Y[:2])
    assert made.steps == (3, 4, 8, 16, 32, 40)
    assert [each.steps for each in made.networks] == [3, 40]
    assert made.ann_accuracy is None
    assert all(each.total is None for network in made.networks for each in network.errors)
    assert made.networks[0].summary(4).total is None


def test_layers_without_an_activation_of_their_name_are_not_compared() -> None:
    ann = random_ann()
    other = restructure(ann, Shortcuts.FIRED).eval()
    made = found(fired=converted(other))
    summary = made.networks[0].summary(5)
    assert summary.layers > summary.compared == len(activations(ann))


def test_it_is_plain_data() -> None:
    made = found(a=converted(random_ann()))
    data = json.loads(json.dumps(made.as_dict(), allow_nan=False))
    (network,) = data["networks"]
    assert [(row["network"], row["steps"]) for row in data["summary"]] == [("a", 2), ("a", 5)]
    assert len(network["errors"]) == len(made.networks[0].errors)
    first, known = network["errors"][0], made.networks[0].errors[0]
    assert first["relative"]["quantization"] == known.quantization / known.activation
    assert network["accuracy"]["5"]["n"] == 70
    limit = made.networks[0].limit(5)
    assert limit is not None
    assert data["summary"][1]["limit"]["layer"] == limit.layer


def layer(name: str, quantization: float, deviation: float, activation: float) -> LayerErrors:
    return LayerErrors(
        layer=name, steps=4, v_threshold=2.0, activation=activation, quantization=quantization,
        deviation=deviation, conversion=deviation, total=None, reference=None, input_sigma=0.5,
        saturated=0.0, rate=0.1,
    )  # fmt: skip


LAYERS = st.lists(
    st.builds(
        layer,
        st.text("abc", min_size=1),
        st.integers(0, 8),
        st.integers(0, 8),
        st.sampled_from([0, 1, 4]),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda each: each.layer,
)


@given(LAYERS)
def test_a_summary_is_the_rms_over_active_layers(layers: list[LayerErrors]) -> None:
    other = replace(layers[0], steps=8, quantization=99.0)
    made = summarize_errors([*layers, other], 4)
    active = [each for each in layers if each.activation]
    assert (made.layers, made.inactive) == (len(layers), len(layers) - len(active))
    assert made.input_sigma == pytest.approx(0.25)
    assert (made.total, made.compared) == (None, 0)
    for name in ("quantization", "deviation", "conversion"):
        squares = [(getattr(each, name) / each.activation) ** 2 for each in active]
        wanted = math.sqrt(math.fsum(squares) / len(squares)) if squares else None
        assert getattr(made, name) == pytest.approx(wanted)


@given(LAYERS)
def test_the_limit_is_the_larger_error_where_it_is_largest(layers: list[LayerErrors]) -> None:
    network = NetworkErrors("n", 4, tuple(layers), {})
    limit, made = network.limit(4), network.summary(4)
    sizes = {name: getattr(made, name) or 0.0 for name in ("quantization", "deviation")}
    if limit is None:
        assert not any(sizes.values())
        return
    assert sizes[limit.error] == max(sizes.values())
    shares = {each.layer: getattr(each.relative, limit.error) or 0.0 for each in layers}
    assert shares[limit.layer] == limit.share == max(shares.values())


def changed(network: SpikingNetwork, op: Any) -> SpikingNetwork:
    nodes = [
        Node(node.name, node.inputs, op) if isinstance(node.op, LIF) else node
        for node in network.nodes
    ]
    return SpikingNetwork(network.input, nodes, 5)


def with_leaky_readout(network: SpikingNetwork) -> SpikingNetwork:
    last = Node("scores", (network.output,), LI(0.5))
    return SpikingNetwork(network.input, [*network.nodes, last], 5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda n: changed(n, LIF(0.5)), r"net: layer '\w+': decay is 0\.5, must be 1\.0"),
        (lambda n: changed(n, LIF(1.0, reset=Reset.ZERO)), "net: layer .*: reset is zero"),
        (
            lambda n: export_float(n).with_rules(reset=Reset.ZERO, start=StartValue.ZERO),
            "net: node .*: reset is zero; conversion errors are",
        ),
        (lambda n: random_ann(), "net: network: has no spiking neurons"),
        (with_leaky_readout, r"net: layer 'scores': is a leaky readout \(LI\), must be linear"),
        (lambda n: "text", "net: is a str, must be a converted network in float units"),
    ],
)
def test_other_networks_are_refused_by_name(make: Any, message: str) -> None:
    network = make(converted(random_ann()))
    with pytest.raises(InputError, match=message):
        diagnose_conversion({"net": network}, X[:3].numpy(), Y[:3], [2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"networks": {}}, "diagnose: no network, needs at least one"),
        ({"steps": []}, r"diagnose: no number of steps \(T\)"),
        ({"steps": [0]}, r"diagnose: steps \(T\) is 0, must lie in 1\.\.65536"),
        ({"y": Y[:2]}, "diagnose: 3 samples but 2 labels, must be equal"),
        ({"y": Y[:3] + 2}, "net: accuracy: label 4, the network has 3 outputs"),
        (
            {"x": np.zeros((3, 3, 2, 6, 6))},
            r"net: input 'image': takes samples of shape \(2, 6, 6\), these have \(3, 2, 6, 6\)",
        ),
        ({"x": np.zeros((0, 2, 6, 6)), "y": Y[:0]}, "the data set is empty"),
        ({"x": np.full((3, 2, 6, 6), 9.0)}, "net: input 'image' spans .* values lie beyond -2..2"),
        ({"ann": converted(random_ann())}, "ANN: network: has no activation"),
    ],
)
def test_other_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    network = converted(random_ann())
    given: dict[str, Any] = {"networks": {"net": network}, "x": X[:3].numpy(), "y": Y[:3]}
    given |= {"steps": [2], **arguments}
    with pytest.raises(InputError, match=message):
        diagnose_conversion(**given)


def test_an_ann_of_another_width_is_refused() -> None:
    from spikeport.trainer import from_ann
    from tests.helpers.anns import IMAGE, Residual

    wide = from_ann(Residual(6).eval(), IMAGE).eval()
    for network in (converted(random_ann()), export_float(converted(random_ann()))):
        with pytest.raises(InputError, match=r"net: layer '\w+': neurons of shape \(4, 6, 6\)"):
            diagnose_conversion({"net": network}, X[:3].numpy(), Y[:3], [2], ann=wide)
