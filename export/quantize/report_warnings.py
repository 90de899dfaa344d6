"""Warnings about a quantized network, one sentence each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from spikeport.export.quantize.lowered import LoweredNetwork, Role, ceiling
from spikeport.export.quantize.report import (
    ConnectionReport,
    InputReport,
    PopulationReport,
)
from spikeport.export.quantize.rounding_loss import COARSE_BITS, FEW_UNITS, coarse_share
from spikeport.network import LOIHI
from spikeport.runs import Agreement, Outputs
from spikeport.runs.sample_values import COARSE, Change

CLIPPED_FRACTION, COARSE_CLIPPED_FRACTION = 0.01, 0.05
"""Share of clipped weights that causes a warning; with up to 4 bits, clipping is normal."""
DEEP_CLIPPING = 0.15
"""If the grid covers a smaller fraction of the largest weight, outliers are the reason."""
HALF_GRID = LOIHI.weight_end // 2
"""Weights that all stay below this value do not use all of their bits."""
FAR_OFF = 0.5
"""Relative error of spike counts that causes a warning, unless `coarse_share` is larger."""
SILENCED_FRACTION = 0.1
TIES = 0.01
"""Ties and spike mismatches that cause a warning, as a fraction of a population's spikes."""
AGREEMENT = 0.9
LOGGED = 16
"""Most warnings that are logged: a deep network may have one for each of its parts."""
ENOUGH = 10
"""Number of samples that should contain more than one class."""


def summarize(found: Agreement) -> str:
    """How often predictions agree, and on how many samples they are decided."""
    wanted, got = found.wanted, found.got
    if found.outputs == 1:
        return "The network has one output, so there are no predictions to compare."
    if found.rate is None:
        return (
            f"No prediction to compare: the float network decides none of {found.samples} "
            f"calibration samples; its outputs are {_idle(wanted)}."
        )
    where = f"On {found.samples} calibration samples"
    if wanted.decided < found.samples:
        where = (
            f"The float network decides {wanted.decided} of {found.samples} calibration samples "
            f"(outputs are {_idle(wanted)}); on these"
        )
    share = f"float and integer predictions agree in {100 * found.rate:.2f} %"
    idle = f"; integer outputs are {_idle(got)}" if got.decided < wanted.decided else ""
    single = "; all are of one class" if wanted.classes == 1 else ""
    return f"{where} {share}{idle}{single}."


def _idle(outputs: Outputs) -> str:
    parts = (("silent", outputs.silent), ("tied", outputs.tied))
    return ", ".join(f"{what} on {count}" for what, count in parts if count)


def input_warnings(inputs: Sequence[InputReport], changes: Sequence[Change]) -> Iterator[str]:
    """Warnings about the inputs: clipped samples and coarse integers.

    Args:
        changes: made in the samples by rounding to the chip's integers.
    """
    for part, found in zip(inputs, changes, strict=True):
        if part.clipped:
            yield (
                f"input '{part.name}': {part.clipped} of {found.values} calibration values lie "
                "beyond the declared range and are clipped"
            )
        if found.rounding > COARSE:
            yield (
                f"input '{part.name}': rounding to multiples of 1/{part.scale:g} changes the "
                f"calibration samples by {100 * found.rounding:.0f} % (rms)"
            )


def warnings(
    lowered: LoweredNetwork,
    populations: Sequence[PopulationReport],
    connections: Sequence[ConnectionReport],
    predictions: Agreement,
    sum_max: int | None = None,
) -> tuple[str, ...]:
    """All warnings: about the parts, then about the network as a whole.

    Args:
        sum_max: the largest sum of a step that the target's accumulator holds.
    """
    found = list(lowered.notes)
    biases = {connection.name for connection in lowered.connections if connection.biases}
    for connection in (c for c in connections if c.name not in biases):
        found += _of_connection(connection)
    for part in populations:
        names = {w.name for w in lowered.incoming(part.name) if w.weight.any()}
        found += _of_population(part, [c for c in connections if c.name in names], sum_max)
    found += _of_activity(lowered, populations, predictions.samples)
    found += _of_outputs(predictions)
    return tuple(found)


def to_log(found: Sequence[str]) -> tuple[str, ...]:
    """The lines to log: all warnings, or the first and last of many and how many others."""
    if len(found) <= LOGGED:
        return tuple(found)
    half = LOGGED // 2
    rest = f"... {len(found) - 2 * half} more warnings, which the report of quantization lists ..."
    return (*found[:half], rest, *found[-half:])


def _of_outputs(found: Agreement) -> Iterator[str]:
    if found.outputs == 1:
        return
    few = 2 * found.wanted.decided < found.samples
    if few or found.rate is None or found.rate < AGREEMENT:
        yield summarize(found)
    elif found.wanted.classes == 1 and found.samples >= ENOUGH:
        yield (
            f"All {found.wanted.decided} predictions on the calibration samples are of one class, "
            "so that their agreement proves little."
        )


def _of_activity(
    lowered: LoweredNetwork, populations: Sequence[PopulationReport], samples: int
) -> Iterator[str]:
    """Populations that never or always fire, in floats or in integers."""
    firing = [(part.name, part.activity) for part in populations if part.activity is not None]
    if dead := [name for name, own in firing if not own.float_spikes]:
        yield (
            f"{_named(dead)} on none of the {samples} calibration samples, not even in the float "
            f"network: {_reach(lowered, dead[0], dict(firing)[dead[0]].float_peak)}"
        )
    if lost := [(name, own) for name, own in firing if own.float_spikes and not own.spikes]:
        spikes = ", ".join(str(own.float_spikes) for _, own in lost)
        yield (
            f"{_named([name for name, _ in lost])} {spikes} times in the float network, but never "
            "in integers, on the calibration samples"
        )
    for part in populations:
        own = part.activity
        if own is None or not own.spikes:
            continue
        active = part.neurons - own.float_silent
        if own.silenced > SILENCED_FRACTION * active:
            yield (
                f"population '{part.name}': {own.silenced} of {active} neurons that fire in the "
                "float network never fire in integers"
            )
        if min(own.ties, own.spike_mismatches) > TIES * own.float_spikes:
            yield (
                f"population '{part.name}': membranes equal the threshold in {own.ties} "
                f"neuron-steps ({own.float_spikes} spikes); rounding decides which of them fire: "
                f"{own.spike_mismatches} spikes differ"
            )
    constant = {part.name for part in lowered.populations if part.role is Role.CONSTANT}
    if always := [n for n, own in firing if own.float_rate == 1 and n not in constant]:
        yield f"{_named(always)} at every step, even in the float network: no information"
    if stuck := [name for name, own in firing if own.rate == 1 > own.float_rate]:
        yield f"{_named(stuck)} at every step in integers, but not in the float network"


def _reach(lowered: LoweredNetwork, name: str, peak: float) -> str:
    """How close to its threshold a silent population comes, and how close it could come."""
    part = next(part for part in lowered.populations if part.name == name)
    assert part.threshold is not None  # only populations with a threshold can fire
    most = ceiling(lowered, part) / part.threshold
    text = f"the membrane of '{name}' reaches {100 * peak:.2g} % of its threshold"
    if most < 1:
        text += f", and no input can bring it above {100 * most:.2g} %"
    return f"{text}; is dt right?" if 0 < most < 1 else text


def _named(names: Sequence[str]) -> str:
    listed = ", ".join(f"'{name}'" for name in names)
    return f"population {listed} fires" if len(names) == 1 else f"populations {listed} fire"


def _of_connection(c: ConnectionReport) -> Iterator[str]:
    subject = f"connection '{c.name}'"
    coarse = c.weight_bits <= COARSE_BITS
    if c.clipped_fraction > (COARSE_CLIPPED_FRACTION if coarse else CLIPPED_FRACTION):
        yield f"{subject}: {c.clipped} of {c.weights} weights are clipped"
    if c.zeroed_fraction > coarse_share(c.weight_bits):
        yield (
            f"{subject}: {c.zeroed} of {c.weights} weights are rounded to zero, "
            f"{100 * c.zeroed_fraction:.0f} % of those that are not zero"
        )
    if c.emptied:
        yield f"{subject}: {c.emptied} of its targets lose all their weights to rounding"


def _of_population(
    p: PopulationReport, connections: Sequence[ConnectionReport], sum_max: int | None
) -> Iterator[str]:
    subject = f"population '{p.name}'"
    if connections and max(c.largest for c in connections) < HALF_GRID:
        limit = "its threshold, biases or states"
        if sum_max is not None and 2 * p.sum_bound > sum_max:  # at a scale that uses the grid
            limit = f"its sums of up to {p.sum_bound} in a step (limit: {sum_max})"
        yield (
            f"{subject}: scale {p.scale:g} is limited by {limit}; weights use "
            f"{max(c.largest for c in connections)} of {LOIHI.weight_end}"
        )
    bits = _bits(connections)
    half = 2 ** (LOIHI.weight_bits - bits)  # of a grid step
    if p.threshold is not None and p.vth <= FEW_UNITS and not p.lossless:
        yield (
            f"{subject}: its threshold is only {p.vth} weight units, so rounding changes a weight "
            f"by up to {100 * half / max(p.vth, 1):.0f} % of the threshold"
        )
    if p.reach < DEEP_CLIPPING:
        yield (
            f"{subject}: outliers: the best of {p.scales_tried} scales clips weights above "
            f"{100 * p.reach:.2g} % of the largest, {sum(c.clipped for c in connections)} of "
            f"{sum(c.weights for c in connections)}"
        )
    if p.relative_error > max(FAR_OFF, coarse_share(bits)):
        what = "spike counts are" if p.threshold is not None else "membrane is"
        yield (
            f"{subject}: its {what} off by {p.rms_error:.3g} (rms; the mean is "
            f"{p.float_mean:.3g}), even with the best of {p.scales_tried} scales"
        )
    yield from _of_registers(p, subject)


def _bits(connections: Iterable[ConnectionReport]) -> int:
    return min((c.weight_bits for c in connections), default=LOIHI.weight_bits)


def _of_registers(p: PopulationReport, subject: str) -> Iterator[str]:
    """Decays that vanish, sums that may wrap, states and biases at their limits."""
    for which, lost, kept in (
        ("decay_u", p.decay_u, p.decay_u_int),
        ("decay_v", p.decay_v, p.decay_v_int),
    ):
        if lost > 0 and kept == 0:
            yield f"{subject}: {which} {lost:.2e} is below 1/{LOIHI.decay_unity} and vanishes"
    if p.activation_bound > LOIHI.state_wrap >> LOIHI.activation_shift:
        yield (
            f"{subject}: u can reach {p.activation_bound} weight units in the worst case and "
            f"wraps beyond {LOIHI.state_wrap >> LOIHI.activation_shift}; "
            f"calibration reached {100 * p.u_peak:.0f} % of that"
        )
    if p.saturated:
        yield f"{subject}: v saturated in {p.saturated} neuron-steps of calibration"
    if p.bias_clipped:
        yield f"{subject}: {p.bias_clipped} biases are clipped to 13 bits"
