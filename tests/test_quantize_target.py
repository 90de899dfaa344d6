"""Quantization for a target: what netx takes comes out, anything else is refused by name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeport.errors import InputError
from spikeport.export import FloatNetwork, QuantizeConfig, read_netx, write_netx
from spikeport.export.netx.synapse import kept_exactly
from spikeport.export.quantize.lower import lower
from spikeport.export.quantize.rounding import round_layer
from spikeport.network import Coding, Input, Reset
from spikeport.workflow import write_nir
from tests.helpers.command import Spikeport
from tests.helpers.effort import examples
from tests.helpers.lowered import run_lowered
from tests.helpers.quantize_networks import (
    DT,
    affine,
    chain,
    conv,
    integrate_and_fire,
    leaky,
    quantized,
    spikes_in,
)
from tests.helpers.random_floats import SIGNS, float_networks

NETX = QuantizeConfig(target="netx")
REASONS = "must be zero for netx|no matrix of zeros|below one weight unit"


@settings(max_examples=examples(60), deadline=None)
@given(float_networks(), st.sampled_from([2, 3, 4, 8, 8, 8]))
def test_what_is_quantized_for_netx_is_written_and_comes_back(
    source: FloatNetwork, bits: int
) -> None:
    rng = np.random.default_rng(1)
    shape = source.inputs[0].shape
    spiking = source.inputs[0].coding is Coding.SPIKES
    samples = rng.integers(0, 2, (5, *shape)) if spiking else rng.uniform(-1, 1, (5, *shape))
    try:
        made = quantized(source, samples, QuantizeConfig(bits, target="netx"))
    except InputError as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert re.search(REASONS, refused), refused
        return
    assert made.report.target is not None
    with TemporaryDirectory() as folder:
        path = Path(folder) / "n.net"
        write_netx(made.network, path)
        again = read_netx(path, isolate=False)
    assert again == made.network
    assert again.provenance == made.network.provenance


@settings(max_examples=1000, deadline=None)
@given(st.data())
def test_weights_are_rounded_to_what_netx_keeps(data: st.DataObject) -> None:
    """Whatever the signs in one or two matrices, unless everything is rounded to zero."""
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 16)))
    scaled = []
    for _ in range(data.draw(st.integers(1, 2))):
        signs = SIGNS[data.draw(st.sampled_from(sorted(SIGNS)))]
        weight = signs(rng.normal(0, 1, (3, 4)))
        end = data.draw(st.sampled_from([64.0, 127.4, 128.0, 200.3, 255.0, 256.0, 400.0]))
        scaled.append(end * weight / max(np.abs(weight).max(), 1e-9))
    bits = data.draw(st.integers(3, 8))
    made = round_layer(scaled, QuantizeConfig(bits, target="netx"), dense=True)
    matrices = [weight.astype(np.int64) for weight, _ in made]
    assert kept_exactly(*matrices) or not any(matrix.any() for matrix in matrices)
    for real, (weight, own) in zip(scaled, made, strict=True):
        step = 2 ** (9 - min(bits, own))
        assert (np.abs(np.clip(real, -256 + step, 256 - step) - weight) <= 2.5 * step).all()


def test_without_a_target_nothing_changes() -> None:
    net = chain({"fc": affine([[0.7, -0.3]], [0.013]), "lif": leaky((1,), 0.9)}, spikes_in(2))
    samples = np.eye(2)
    plain, kept = quantized(net, samples), quantized(net, samples, NETX)
    assert plain.report.target is None
    assert "target" not in json.loads(plain.network.provenance["quantize"])
    assert json.loads(kept.network.provenance["quantize"])["target"] == "netx"
    assert plain.network.populations[0].bias_exponent == 0
    assert kept.network.populations[0].bias_exponent == 6
    found = kept.report.target
    assert found is not None
    assert (found.name, found.agreement_without) == ("netx", plain.report.agreement)
    changes = {(one.part, one.quantity): (one.without, one.kept) for one in found.changes}
    assert changes["population 'lif'", "bias_exponent"] == (0, 6)
    without, with_target = changes["population 'lif'", "bias_max_error"]
    assert without is not None
    assert with_target is not None
    assert without < with_target == kept.report.populations[0].bias_max_error


def test_an_inhibitory_matrix_with_zeros_loses_a_bit() -> None:
    weight = [[-0.91, 0.0, -0.333], [-0.2, -0.1, 0.0]]
    net = chain({"fc": affine(weight, 0.5), "lif": leaky((2,), 0.9)}, spikes_in(3))
    (report,) = quantized(net, np.eye(3), NETX).report.connections
    assert report.weight_bits == 7
    assert report.clipped == 0


def test_what_netx_cannot_express_is_refused_before_calibration() -> None:
    """With the part, its value, the rule and what to do instead."""
    line = chain(
        {"conv": conv(np.ones((1, 1, 2))), "if": integrate_and_fire((1, 3))}, spikes_in((1, 4))
    )
    dense = {"fc": affine([[0.7, -0.3]]), "if": integrate_and_fire((1,))}
    subtracting = chain(dense, spikes_in(2), reset=Reset.SUBTRACT)
    empty = chain({"fc": affine([[0.0, 0.0]]), "if": integrate_and_fire((1,))}, spikes_in(2))
    late = chain(
        {
            "wait": nir.Delay(np.full((1, 4, 4), DT)),
            "conv": conv(np.ones((1, 1, 1, 1))),
            "if": integrate_and_fire((1, 4, 4)),
        },
        spikes_in((1, 4, 4)),
    )
    for net, message in (
        (line, "connection 'conv': is a Conv1d, which netx does not have; use Conv2d or Dense"),
        (subtracting, "'if': reset is subtract, must be zero for netx; train with reset zero"),
        (empty, "'fc': all its weights are 0, and netx runs no matrix of zeros; leave"),
        (late, "delay is 1, netx has none in convolutions; delay a dense connection"),
    ):
        with pytest.raises(InputError, match=message):
            quantized(net, np.zeros((1, *net.inputs[0].shape)), NETX)


@st.composite
def pooled_networks(draw: st.DrawFn) -> FloatNetwork:
    """A pool in front of a convolution, a dense layer or neurons, perhaps after another pool.

    Weights and means are multiples of 1/1024, so that sums in any order are equal.
    """
    rng = np.random.default_rng(draw(st.integers(0, 1 << 16)))
    nodes: dict[str, Any] = {}
    shape: tuple[int, ...] = (2, draw(st.integers(6, 9)), draw(st.integers(6, 9)))
    source = spikes_in(shape)
    for name in ("one", "two")[: draw(st.integers(1, 2))]:
        mean = draw(st.booleans())
        sizes = [(2, 2), (1, 2), (2, 1), *(() if mean else ((3, 2),))]
        size = draw(st.sampled_from([s for s in sizes if s[0] <= shape[1] and s[1] <= shape[2]]))
        stride = size if draw(st.booleans()) else (1, 2)
        make = nir.AvgPool2d if mean else nir.SumPool2d
        nodes[name] = make(np.array(size), np.array(stride), np.array([0, 0]))
        sides = [(n - k) // s + 1 for n, k, s in zip(shape[1:], size, stride, strict=True)]
        shape = (2, *sides)
    kind = draw(st.sampled_from(["conv", "dense", "neurons"]))
    if kind == "conv":
        groups, padding = draw(st.sampled_from([1, 2])), draw(st.sampled_from([0, 1]))
        padding = max(padding, int(min(shape[1:]) < 2))
        weight = rng.integers(-16, 24, (4, 2 // groups, 2, 1)) / 16
        nodes["map"] = conv(weight, groups=groups, padding=padding)
        shape = (4, shape[1] + 2 * padding - 1, shape[2] + 2 * padding)
    elif kind == "dense":
        nodes["flat"] = nir.Flatten({"input": np.array(shape)}, 0, -1)
        nodes["map"] = affine(rng.integers(-16, 24, (5, int(np.prod(shape)))) / 16)
        shape = (5,)
    nodes["lif"] = leaky(shape, 0.5, 1.25)
    return chain(nodes, source)


@settings(max_examples=examples(60), deadline=None)
@given(pooled_networks(), st.integers(0, 100))
def test_pools_become_part_of_the_map_where_the_target_has_none(
    source: FloatNetwork, seed: int
) -> None:
    """The same membranes and spikes, and a file that comes back."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 2, (4, *source.inputs[0].shape)).astype(float)
    with_pools, without = lower(source), lower(source, pools=False)
    assert not any(part.pool for part in without.connections)
    for name, (spikes, charged) in run_lowered(with_pools, x).items():
        again, membrane = run_lowered(without, x)[name]
        assert np.array_equal(spikes, again)
        assert np.array_equal(charged, membrane)
    made = quantized(source, x, NETX).network
    with TemporaryDirectory() as folder:
        write_netx(made, Path(folder) / "n.net")
        assert read_netx(Path(folder) / "n.net", isolate=False) == made


def test_the_report_says_what_became_of_a_pool() -> None:
    pool = nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    kernel = np.arange(1.0, 10.0).reshape(1, 1, 3, 3)
    net = chain(
        {"pool": pool, "conv": conv(kernel), "lif": leaky((1, 2, 2), 0.5)}, spikes_in((1, 8, 8))
    )
    (part,) = lower(net, pools=False).connections
    assert part.stride == (2, 2)
    assert np.array_equal(part.weight[0, 0], np.kron(kernel[0, 0], np.ones((2, 2))))
    x = np.random.default_rng(0).integers(0, 2, (3, 1, 8, 8)).astype(float)
    assert quantized(net, x, NETX).report.rewrites == (
        "'pool' and 'conv' became one convolution of kernel 6x6, stride 2",
    )


def test_an_unknown_target() -> None:
    with pytest.raises(InputError, match="target is 'loihi9', must be one of 'netx'"):
        QuantizeConfig(target="loihi9")


def test_the_command_line_shows_what_the_target_costs(tmp_path: Path, spikeport: Spikeport) -> None:
    rng = np.random.default_rng(2)
    nodes = {
        "flat": nir.Flatten({"input": np.array((1, 8, 8))}, 0, -1),
        "fc": affine(rng.normal(0, 0.2, (10, 64)), rng.normal(0, 0.01, 10)),
        "lif": leaky((10,), 0.9),
    }
    source = Input("input", (1, 8, 8), Coding.GRADED, 0, 255, 255.0)
    path, chip, net = (tmp_path / name for name in ("f.nir", "c.spikeport", "c.net"))
    write_nir(chain(nodes, source), path)
    code, out, err = spikeport("quantize", str(path), "-o", str(chip), "--target", "netx")
    assert code == 0, err
    assert "Quantization for netx" in out
    assert "bias exponent" in out
    assert "without the target on" in " ".join(out.split())
    assert spikeport("export", str(chip), "-o", str(net))[0] == 0
    code, _, err = spikeport("quantize", str(path), "-o", str(chip), "--target", "tpu")
    assert (code, "target is 'tpu'" in err) == (2, True)
