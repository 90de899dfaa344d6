"""An ordinary network (ANN) on another device, beside the estimate: `DeviceComparison`.

The ANN runs once per sample. It is the one that the network was converted from, if its MACs are
given; otherwise it has the same layers, with one MAC per synapse and position. It costs as much as
the spiking network

- at E / e_mac MACs: one of fewer operations costs less;
- at the activity x that solves F + x V = E_ann, with F the energy that does not depend on activity
  (visits, updates and static power) and V the rest at the counted activity, x = 1: below it the
  spiking network costs less. In synaptic events per MAC: x S / MACs, with S synaptic events per
  sample; for an ANN of the same layers these are spikes per synapse.

A device whose price includes static power is compared with the total, others with the dynamic
energy. Per level: low of one with low of the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from spikeport.energy.devices import Device
from spikeport.energy.interval import LEVELS, ZERO, Interval


@dataclass(frozen=True, slots=True)
class SpikingCost:
    """What is compared, per sample; energies in pJ.

    Attributes:
        fixed: the part of `dynamic` that does not depend on activity.
        macs: of one pass of the ANN.
    """

    steps: int
    dynamic: Interval
    fixed: Interval
    static: Interval
    synaptic_events: float
    macs: int


@dataclass(frozen=True, slots=True)
class BreakEven:
    """A quantity at which both cost the same.

    It is None at a level at which the spiking network costs more even without any spike.
    """

    low: float | None
    nominal: float | None
    high: float | None

    def as_dict(self) -> dict[str, float | None]:
        """Level to value."""
        return {"low": self.low, "nominal": self.nominal, "high": self.high}


@dataclass(frozen=True, slots=True)
class DeviceComparison:
    """One device. Energies in pJ per sample.

    Attributes:
        bits: of activations.
        ann: one pass.
        macs: MACs per sample at which an ANN costs as much as the spiking network.
        activity: factor of all spikes at which both cost the same.
        spikes_per_synapse: the same as synaptic events per MAC.
        with_static: whether static power is part of both.
    """

    device: Device
    bits: int
    ann: Interval
    macs: Interval
    activity: BreakEven
    spikes_per_synapse: BreakEven
    with_static: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        source = self.device.source
        return {
            "device": self.device.name,
            "title": self.device.title,
            "bits": self.bits,
            "batch": self.device.batch,
            "static_power": self.with_static,
            "ann_per_sample": self.ann.as_dict(),
            "break_even_macs": self.macs.as_dict(),
            "break_even_activity": self.activity.as_dict(),
            "break_even_spikes_per_synapse": self.spikes_per_synapse.as_dict(),
            "source": source.citation,
            "url": source.url,
            "basis": str(source.basis),
            "conditions": source.conditions,
        }


def compare(cost: SpikingCost, device: Device) -> DeviceComparison:
    """A device beside a spiking network that has MACs as an ordinary one."""
    each = device.mac_pj(cost.steps)
    static = device.source.includes_static
    fixed = cost.fixed + (cost.static if static else ZERO)
    spiking = cost.dynamic + (cost.static if static else ZERO)
    ann = each * cost.macs
    moving, left = spiking - fixed, ann - fixed
    activity = {
        level: left.at(level) / moving.at(level)
        if moving.at(level) > 0 and left.at(level) > 0
        else None
        for level in LEVELS
    }
    per_synapse = cost.synaptic_events / cost.macs
    return DeviceComparison(
        device=device,
        bits=device.bits_for(cost.steps),
        ann=ann,
        macs=Interval(*(spiking.at(level) / each.at(level) for level in LEVELS)),
        activity=BreakEven(**activity),
        spikes_per_synapse=BreakEven(
            **{level: x and x * per_synapse for level, x in activity.items()}
        ),
        with_static=static,
    )
