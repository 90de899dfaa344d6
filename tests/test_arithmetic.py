"""Bit widths as a value of the network: Loihi's, narrower ones, and who refuses those."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikeport import check
from spikeport.backends.lava import run_lava
from spikeport.errors import InputError
from spikeport.export import write_nir_file
from spikeport.network import (
    LOIHI,
    Arithmetic,
    ATRLIFPopulation,
    Coding,
    Conv1d,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    Reset,
    load_network,
    save_network,
)
from spikeport.network.file import build
from spikeport.simulators import (
    Stream,
    check_neurons,
    run_native,
    run_reference,
    sample_probes,
)
from spikeport.trainer.chip import QATNetwork
from spikeport.trainer.measure import evaluate_deployed

NARROW = replace(LOIHI, name="narrow", state_bits=16)


def network(arithmetic: Arithmetic = NARROW, **changes: Any) -> DeployedNetwork:
    """One neuron whose summed input is the value of its graded input, times 4."""
    fields: dict[str, Any] = {"vth": 400, "decay_u": 1000, "decay_v": 300}
    return DeployedNetwork(
        (Input("x", (1,), Coding.GRADED, -2000, 2000),),
        (Population("p", (1,), **(fields | changes)),),
        (Dense("x", "p", np.array([[4]])),),
        (Readout("p"),),
        steps=8,
        arithmetic=arithmetic,
    )


def test_loihi_has_the_published_widths() -> None:
    assert (LOIHI.decay_bits, LOIHI.decay_unity) == (12, 4096)
    assert (LOIHI.state_bits, LOIHI.state_wrap, LOIHI.state_max) == (24, 2**23, 2**23 - 1)
    assert (LOIHI.activation_shift, LOIHI.weight_unit) == (6, 64)
    assert (LOIHI.vth_max, LOIHI.theta_max) == (2**17 - 1, 4095)
    assert (LOIHI.bias_mantissa_min, LOIHI.bias_mantissa_max) == (-4096, 4095)
    assert (LOIHI.bias_exponent_max, LOIHI.delay_max, LOIHI.refractory_max) == (7, 62, 63)
    assert (LOIHI.weight_bits, LOIHI.weight_end) == (8, 256)
    assert (LOIHI.weight_exponent_min, LOIHI.weight_exponent_max) == (-8, 7)
    assert (LOIHI.payload_min, LOIHI.payload_max) == (-(2**23), 2**23 - 1)
    assert LOIHI.weight_grid(mixed=True) == (-256, 254, 2)
    assert LOIHI.weight_grid(mixed=False, bits=6) == (0, 252, 4)


@pytest.mark.parametrize("kind", [np.int16, np.int64])
@pytest.mark.parametrize("others", [[-2], [2], [-2, 2]], ids=str)
@pytest.mark.parametrize("bits", range(1, 9))
def test_weights_off_the_grid_are_found_one_by_one(
    bits: int, others: list[int], kind: type
) -> None:
    """Of each value beside weights of the given signs."""
    for value in range(-300, 301):
        weight: NDArray[Any] = np.array([value, *(256 // 2**bits * sign for sign in others)], kind)
        mixed = bool((weight < 0).any() and (weight > 0).any())
        low, high, step = LOIHI.weight_grid(mixed=mixed, bits=bits)
        legal = set(range(low, high + 1, step))
        signed = legal if mixed or weight.max() > 0 else {-one for one in legal}
        assert LOIHI.off_grid(weight, bits).tolist() == [int(w) not in signed for w in weight]
    assert LOIHI.bias_exponent_for(4095) == 0
    assert LOIHI.bias_exponent_for(4096) == 1
    assert LOIHI.bias_exponent_for(1e9) == 7


@settings(deadline=None)
@given(
    st.data(),
    st.integers(0, 4096),
    st.integers(0, 4096),
    st.integers(0, 500),
    st.sampled_from(Reset),
    st.sampled_from([8, 12, 16, 20, 24]),
)
def test_the_reference_computes_in_the_widths_of_the_network(
    data: st.DataObject, decay_u: int, decay_v: int, vth: int, reset: Reset, bits: int
) -> None:
    values = data.draw(st.lists(st.integers(-2000, 2000), min_size=8, max_size=8))
    arithmetic = LOIHI if bits == 24 else replace(LOIHI, name="narrow", state_bits=bits)
    made = network(arithmetic, decay_u=decay_u, decay_v=decay_v, vth=vth, reset=reset)
    samples = {"x": np.array(values).reshape(8, 1, 1)}
    run = run_reference(made, samples, record=("spikes", "u", "v"))
    assert run.trace is not None
    half = 2 ** (bits - 1)
    u = v = 0
    for t, x in enumerate(values):
        u = int(u * (4096 - decay_u) / 4096) + 64 * 4 * x
        u += (u <= -half) * 2 * half - (u > half) * 2 * half
        v = int(v * (4096 - decay_v) / 4096) + u
        v = min(max(v, 1 - half), half - 1)
        spike = v > 64 * vth
        if spike:
            v = 0 if reset is Reset.ZERO else v - 64 * vth
        found = [run.trace[name]["p"].ravel()[t] for name in ("u", "v", "spikes")]
        assert found == [u, v, spike]
    probed = run_reference(made, samples, record=sample_probes(made, 1))
    assert check_neurons(made, samples, probed).equal


def test_a_state_wraps_and_saturates_at_the_end_of_its_width() -> None:
    made = network(decay_u=4096, decay_v=0, vth=2**17 - 1)
    step = run_reference(made, {"x": np.array([[100]])}, record=("u", "v")).trace
    assert step is not None
    # 100 * 4 * 64 = 25600 fits; two of them exceed 2^15 - 1.
    assert step.u["p"].ravel().tolist() == [25600] * 8
    assert step.v["p"].ravel().tolist() == [25600] + [2**15 - 1] * 7
    wrapped = run_reference(made, {"x": np.array([[130]])}, record=("u",)).trace
    assert wrapped is not None
    assert wrapped.u["p"].ravel().tolist() == [130 * 256 - 2**16] * 8
    # Unlike two's complement, the range is (-2^15, 2^15].
    for x in (128, -128):
        end = run_reference(made, {"x": np.array([[x]])}, record=("u",)).trace
        assert end is not None
        assert end.u["p"].ravel().tolist() == [2**15] * 8


def test_a_convolution_wraps_its_sum_to_the_width_of_states() -> None:
    made = DeployedNetwork(
        (Input("x", (1, 1), Coding.GRADED, 0, 255),),
        (Population("p", (1, 1), vth=9),),
        (Conv1d("x", "p", np.array([[[200]]]), exponent=-8),),
        (Readout("p"),),
        steps=1,
        arithmetic=NARROW,
    )
    samples = {"x": np.array([[[200]]])}
    narrow = run_reference(made, samples, record=("u",)).trace
    wide = run_reference(made.replace(arithmetic=LOIHI), samples, record=("u",)).trace
    assert narrow is not None
    assert wide is not None
    assert narrow.u["p"].item() == ((200 * 200 - 2**16) >> 8) << 6
    assert wide.u["p"].item() == (200 * 200 >> 8) << 6


def test_a_shift_and_decays_of_other_widths_count() -> None:
    arithmetic = replace(LOIHI, name="small", decay_bits=4, activation_shift=2)
    made = network(arithmetic, decay_u=16, decay_v=4, vth=100)
    trace = run_reference(made, {"x": np.array([[10]])}, record=("spikes", "v")).trace
    assert trace is not None
    assert trace.v["p"].ravel().tolist() == [160, 280, 370, 0, 160, 280, 370, 0]
    assert trace.spikes["p"].ravel().tolist() == [0, 0, 0, 1] * 2


def test_only_an_arithmetic_other_than_loihis_is_stated(tmp_path: Path) -> None:
    plain = network(LOIHI)
    data, arrays = plain.canonical_form()
    assert data.keys() == {"steps", "inputs", "populations", "connections", "readouts"}
    # Of 0.1.0's form, written before networks had an arithmetic.
    assert build(data, arrays, {}).arithmetic is LOIHI
    assert plain.replace(arithmetic=replace(LOIHI)).content_hash == plain.content_hash
    narrow = network()
    assert narrow != plain
    assert narrow.content_hash != plain.content_hash
    assert narrow.canonical_form()[0]["arithmetic"]["state_bits"] == 16
    save_network(narrow, tmp_path / "a.spikeport")
    loaded = load_network(tmp_path / "a.spikeport")
    assert (loaded, loaded.arithmetic) == (narrow, NARROW)
    save_network(plain, tmp_path / "b.spikeport")
    assert b"arithmetic" not in (tmp_path / "b.spikeport").read_bytes()


def test_a_width_that_came_later_changes_no_form_without_it(tmp_path: Path) -> None:
    narrow = network()
    data, arrays = narrow.canonical_form()
    # As computed before adaptive thresholds had a width of their own.
    assert narrow.content_hash.startswith("fb19e3ee43990b26")
    assert "theta_bits" not in data["arithmetic"]
    stated = {**data, "arithmetic": {**data["arithmetic"], "theta_bits": 12}}
    assert build(stated, arrays, {}).content_hash == narrow.content_hash
    smaller = narrow.replace(arithmetic=replace(NARROW, theta_bits=5))
    assert smaller.content_hash != narrow.content_hash
    save_network(smaller, tmp_path / "a.spikeport")
    assert load_network(tmp_path / "a.spikeport").arithmetic == replace(NARROW, theta_bits=5)


@given(st.integers(1, 12), st.integers(0, 4095), st.integers(0, 4095))
def test_adaptive_thresholds_have_the_width_of_the_network(
    bits: int, theta_0: int, theta_step: int
) -> None:
    part = ATRLIFPopulation("p", (1,), theta_0=theta_0, theta_step=theta_step)
    arithmetic = replace(LOIHI, name="narrow", theta_bits=bits, state_bits=20)
    wrong = [
        f"{name} is {value}, must lie in 0..{2**bits - 1}"
        for name, value in (("theta_0", theta_0), ("theta_step", theta_step))
        if value >= 2**bits
    ]
    if not wrong:
        made = network().replace(populations=(part,), arithmetic=arithmetic)
        assert made.arithmetic.theta_max == 2**bits - 1
        return
    with pytest.raises(InputError) as caught:
        network().replace(populations=(part,), arithmetic=arithmetic)
    assert str(caught.value) == (
        f"network: does not fit arithmetic 'narrow': population 'p': {wrong[0]}"
    )


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ("loihi9", "network: arithmetic must state activation_shift, "),
        ({"name": "a"}, "network: arithmetic must state activation_shift, "),
        ({"unknown": 1}, "network: arithmetic must state .*, and may state theta_bits$"),
        ({"name": 3}, "network: arithmetic: name 3 must be 1 to 64 letters"),
        ({"name": "loihi"}, "'loihi' has other widths than Loihi's, must have another name"),
        ({"state_bits": 25}, r"state_bits is 25, must be an integer in 2..24: none may be wider"),
        ({"state_bits": 16.0}, "state_bits is 16.0, must be an integer"),
        ({"vth_bits": True}, "vth_bits is True, must be an integer"),
        ({"weight_exponent_min": -9}, "weight_exponent_min is -9, must be an integer in -8..0"),
        ({"delay_max": -1}, "delay_max is -1, must be an integer in 0..62"),
        ({"theta_bits": 13}, "theta_bits is 13, must be an integer in 1..12"),
    ],
)
def test_an_invalid_arithmetic_of_a_file_is_one_error(stated: Any, message: str) -> None:
    data, arrays = network().canonical_form()
    data = json.loads(json.dumps(data))
    if isinstance(stated, dict) and stated != {"name": "a"}:
        stated = {**data["arithmetic"], **stated}
    with pytest.raises(InputError, match=message) as caught:
        build({**data, "arithmetic": stated}, arrays, {})
    assert "\n" not in str(caught.value)


def test_parts_that_are_too_wide_are_one_error() -> None:
    arithmetic = replace(
        LOIHI, name="small", vth_bits=8, weight_bits=6, bias_bits=4, payload_bits=8, delay_max=1
    )
    with pytest.raises(InputError) as caught:
        DeployedNetwork(
            (Input("x", (1,), Coding.GRADED, 0, 128),),
            (
                Population("a", (1,), vth=256),
                Population("b", (1,), vth=255, bias=np.array([8])),
                Population("c", (1,), vth=255, bias=np.array([7])),
            ),
            (
                Dense("x", "a", np.array([[4]])),
                Dense("a", "b", np.array([[4]]), weight_bits=6, delay=2),
                Dense("b", "c", np.array([[4]]), weight_bits=6, delay=1),
            ),
            (Readout("c"),),
            steps=1,
            arithmetic=arithmetic,
        )
    assert str(caught.value) == (
        "network: does not fit arithmetic 'small': "
        "input 'x' (graded): high is 128, must lie in -128..127; "
        "population 'a': vth is 256, must lie in 0..255; "
        "population 'b': bias mantissa 8 must lie in -8..7 (4 bits); "
        "connection 'a_to_b': delay is 2, must lie in 0..1; "
        "connection 'x_to_a': weight_bits is 8, must lie in 1..6"
    )


def test_everything_else_refuses_it_by_name(tmp_path: Path) -> None:
    made = network(decay_u=4096)
    samples = {"x": np.array([[1]])}
    for refused, where in (
        (lambda: run_native(made, samples), "the native simulator"),
        (lambda: Stream(made, 1), "the native simulator"),
        (lambda: run_lava(made, samples), "backend 'lava'"),
        (lambda: evaluate_deployed(made, samples), "evaluate_deployed"),
        (lambda: QATNetwork(made), "training"),
        (lambda: write_nir_file(made, tmp_path / "a.nir"), "the float view"),
    ):
        with pytest.raises(InputError) as caught:
            refused()
        assert str(caught.value) == (
            f"network: has arithmetic 'narrow', but {where} supports only 'loihi'; the reference "
            "simulator runs any"
        )
    assert not list(tmp_path.iterdir())
    told = {one.target: one for one in check(made)}
    assert {name for name, one in told.items() if one.runs} == {"reference"}
    for name in told.keys() - {"reference"}:
        found = [(one.part, one.quantity, one.value) for one in told[name].unsupported]
        assert ("the network", "arithmetic", "narrow") in found
