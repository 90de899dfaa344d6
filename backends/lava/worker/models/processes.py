"""The few Lava processes that lava-nc 0.10.0 does not have, each with its model."""

# mypy: disable-error-code="misc, untyped-decorator"
# ruff: noqa: D101, D102 (models do what their process says, through the methods that Lava calls)

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.atrlif.models import PyATRLIFModelFixed
from lava.proc.atrlif.process import ATRLIF
from lava.proc.conv.models import PyConvModelFixed
from lava.proc.conv.process import Conv
from lava.proc.lif.models import PyLifResetModelBitAcc
from lava.proc.lif.process import LIFReset
from numpy.lib import format as npy_format


class RecordedLIF(LIFReset):
    """LIFReset that also records to files; its dynamics are entirely Lava's.

    A separate process for each recording would cost three messages per step, and reading a buffer
    through Lava's own Var.get about 25 us per value.

    Each of `tapes` has a name ("spikes", a state variable, or "end", v at the end of each sample)
    and the arguments of `Tape`; `depth` is the Lava step before the population's first. `resets` is
    that of `Resets`.
    """

    def __init__(self, *, resets: Any, tapes: Any, depth: int, **stock: Any) -> None:
        super().__init__(**stock)
        self.proc_params["resets"] = resets
        self.proc_params["tapes"] = tapes
        self.proc_params["depth"] = depth


class PyRecordedLIF(PyLifResetModelBitAcc):
    implements_process: Any = RecordedLIF  # The decorator refuses to change an inherited one.

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.tapes = Tapes(proc_params)
        self.resets = Resets(proc_params)

    def reset_voltage(self, spike_vector: Any) -> None:
        self.fired = spike_vector
        super().reset_voltage(spike_vector)

    def run_spk(self) -> None:
        # Lava resets where the step modulo the interval equals this.
        self.reset_offset = self.resets.phase(self.time_step)
        super().run_spk()
        self.tapes.keep(self.time_step, spikes=self.fired, u=self.u, v=self.v)


class SampleLIF(RecordedLIF):
    """RecordedLIF that can also start at v_init, reset by subtraction, be refractory after a spike
    and take a bias per step; everything else is LIFReset's own."""

    def __init__(self, *, v_init: int, subtract: bool, refractory: int, **stock: Any) -> None:
        super().__init__(**stock)
        self.bias_in = InPort(shape=stock["shape"])
        self.proc_params["v_init"] = v_init
        self.proc_params["subtract"] = subtract
        self.proc_params["refractory"] = refractory


class PySampleLIF(PyRecordedLIF):
    bias_mant: Any
    implements_process = SampleLIF
    bias_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.v_init = proc_params["v_init"]
        self.subtract = proc_params["subtract"]
        # As in Lava's PyLifRefractoryModelFloat: the last refractory step; v is held until then.
        self.refractory_period = proc_params["refractory"]
        self.refractory_period_end = np.zeros(proc_params["shape"], np.int64)

    def scale_bias(self) -> None:
        # LIFReset calls this directly after resetting u and v, before integrating.
        if self.time_step % self.reset_interval == self.reset_offset:
            self.v[:] = self.v_init
            self.refractory_period_end[:] = 0
        static = self.bias_mant
        self.bias_mant = static + self.bias_in.recv()
        super().scale_bias()
        self.bias_mant = static

    def subthr_dynamics(self, activation_in: Any) -> None:
        resting = self.refractory_period_end >= self.time_step
        held = self.v[resting]
        super().subthr_dynamics(activation_in)
        self.v[resting] = held

    def spiking_activation(self) -> Any:
        return super().spiking_activation() & (self.refractory_period_end < self.time_step)

    def reset_voltage(self, spike_vector: Any) -> None:
        self.refractory_period_end[spike_vector] = self.time_step + self.refractory_period
        if self.subtract:
            self.fired = spike_vector
            self.v[spike_vector] -= self.effective_vth
        else:
            super().reset_voltage(spike_vector)


class SampleATRLIF(ATRLIF):
    """ATRLIF that starts each sample afresh, at v_init, can take a bias per step, and writes what
    it did to files as RecordedLIF does; of its dynamics, nothing is ours."""

    def __init__(
        self,
        *,
        v_init: int,
        reset_interval: int,
        reset_offset: int,
        resets: Any,
        tapes: Any,
        depth: int,
        **stock: Any,
    ) -> None:
        super().__init__(**stock)
        self.bias_in = InPort(shape=stock["shape"])
        self.proc_params["v_init"] = v_init
        self.proc_params["reset_interval"] = reset_interval
        self.proc_params["reset_offset"] = reset_offset
        self.proc_params["resets"] = resets
        self.proc_params["tapes"] = tapes
        self.proc_params["depth"] = depth


class PySampleATRLIF(PyATRLIFModelFixed):
    bias_mant: Any
    implements_process = SampleATRLIF  # The decorator refuses to change an inherited one.
    bias_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.v_init, self.interval = proc_params["v_init"], proc_params["reset_interval"]
        self.tapes = Tapes(proc_params)
        self.resets = Resets(proc_params)

    def scale_bias(self) -> None:
        # ATRLIF calls this right after it has received, before it scales theta_0 and integrates.
        if self.time_step % self.interval == self.resets.phase(self.time_step):
            self.i[:], self.v[:], self.r[:] = 0, self.v_init, 0
            self.theta[:] = self.theta_0  # Scaled from the first step on, which does that itself.
        static = self.bias_mant
        self.bias_mant = static + self.bias_in.recv()
        super().scale_bias()
        self.bias_mant = static

    def run_spk(self) -> None:
        super().run_spk()
        self.tapes.keep(
            self.time_step, spikes=self.s, u=self.i, v=self.v, theta=self.theta, r=self.r
        )


class Resets:
    """When neurons start afresh: at `reset_offset`, where a sample begins, and within samples in
    the steps of `resets`, None or (interval, offset)."""

    def __init__(self, proc_params: Any) -> None:
        self.period, self.begin = proc_params["reset_interval"], proc_params["reset_offset"]
        self.interval: int
        self.offset: int
        self.interval, self.offset = proc_params["resets"] or (self.period, 0)

    def phase(self, time_step: int) -> int:
        """The step modulo the period if neurons start afresh in it, else -1."""
        step = (time_step - self.begin) % self.period
        due = step == 0 or step % self.interval == self.offset
        return time_step % self.period if due else -1


class Tapes:
    """The recordings of a population; "end" records v."""

    def __init__(self, proc_params: Any) -> None:
        self.depth = proc_params["depth"]
        self.tapes = [
            (tape["what"], Tape(tuple(tape["shape"]), **tape["how"]))
            for tape in proc_params["tapes"]
        ]

    def keep(self, time_step: int, **state: Any) -> None:
        state["end"] = state["v"]
        for what, tape in self.tapes:
            tape.keep(time_step - self.depth, state[what])


class Tape:
    """Records the last of every `every` steps, counted from 1; once it has `frames` of them, writes
    them to `file` (.npy, shape (frames, *shape))."""

    def __init__(self, shape: Any, *, file: str, dtype: str, frames: int, every: int) -> None:
        self.file, self.every = file, every
        self.kept = np.zeros((frames, *shape), dtype)

    def keep(self, step: int, values: Any) -> None:
        frame, rest = divmod(step, self.every)
        if rest or not 1 <= frame <= len(self.kept):
            return
        self.kept[frame - 1] = values
        if frame == len(self.kept):
            # Not np.save, which hides why a file could not be written.
            with open(self.file, "wb") as file:
                header = npy_format.header_data_from_array_1_0(self.kept)
                npy_format.write_array_header_1_0(file, header)
                file.write(self.kept.data)


class WideConv(Conv):
    """Conv with a weight exponent, and sums that may exceed 32 bits before they wrap to 24."""


class PyWideConv(PyConvModelFixed):
    implements_process = WideConv  # The decorator refuses to change an inherited one.
    weight: Any = LavaPyType(np.ndarray, np.int64, precision=8)

    def clamp_precision(self, x: Any) -> Any:
        exponent = self.weight_exp.item()
        wrapped = super().clamp_precision(x)
        return wrapped << exponent if exponent >= 0 else wrapped >> -exponent


class DelayLine(AbstractProcess):
    """Delays messages by `delay` steps, and passes on only those of each sample's first `kept`
    steps.

    `offset` is the depth of its source: step t of the samples arrives at offset + t.
    """

    def __init__(self, *, shape: Any, delay: int, kept: int, period: int, offset: int) -> None:
        super().__init__(shape=shape, delay=delay, kept=kept, period=period, offset=offset)
        self.s_in = InPort(shape=shape)
        self.a_out = OutPort(shape=shape)


@implements(proc=DelayLine, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyDelayLine(PyLoihiProcessModel):
    s_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    a_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.delay, self.kept = proc_params["delay"], proc_params["kept"]
        self.period, self.offset = proc_params["period"], proc_params["offset"]
        self.line = np.zeros((self.delay + 1, *proc_params["shape"]), np.int32)

    def run_spk(self) -> None:
        message = self.s_in.recv()
        if (self.time_step - 1 - self.offset) % self.period >= self.kept:
            message = np.zeros_like(message)
        length = self.delay + 1
        self.line[self.time_step % length] = message
        self.a_out.send(self.line[(self.time_step + 1) % length])
