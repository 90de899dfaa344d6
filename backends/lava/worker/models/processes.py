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
from lava.proc.conv.models import PyConvModelFixed
from lava.proc.conv.process import Conv
from lava.proc.lif.models import PyLifResetModelBitAcc
from lava.proc.lif.process import LIFReset
from numpy.lib import format as npy_format


class SampleLIF(LIFReset):
    """LIFReset that can also start at v_init, reset by subtraction, take a bias per step, and
    send u and v; everything else is LIFReset's own."""

    def __init__(self, *, v_init: int, subtract: bool, **stock: Any) -> None:
        super().__init__(**stock)
        self.bias_in = InPort(shape=stock["shape"])
        self.u_out = OutPort(shape=stock["shape"])
        self.v_out = OutPort(shape=stock["shape"])
        self.proc_params["v_init"] = v_init
        self.proc_params["subtract"] = subtract


class PySampleLIF(PyLifResetModelBitAcc):
    bias_mant: Any
    implements_process = SampleLIF  # The decorator refuses to change an inherited one.
    bias_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    u_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    v_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.v_init = proc_params["v_init"]
        self.subtract = proc_params["subtract"]

    def scale_bias(self) -> None:
        # LIFReset calls this right after it has reset u and v, before it integrates.
        if self.time_step % self.reset_interval == self.reset_offset:
            self.v[:] = self.v_init
        static = self.bias_mant
        self.bias_mant = static + self.bias_in.recv()
        super().scale_bias()
        self.bias_mant = static

    def reset_voltage(self, spike_vector: Any) -> None:
        if self.subtract:
            self.v[spike_vector] -= self.effective_vth
        else:
            super().reset_voltage(spike_vector)

    def run_spk(self) -> None:
        super().run_spk()
        self.u_out.send(self.u)
        self.v_out.send(self.v)


class WideConv(Conv):
    """Conv whose weight exponent acts and whose sums may exceed 32 bits before they wrap to 24."""


class PyWideConv(PyConvModelFixed):
    implements_process = WideConv  # The decorator refuses to change an inherited one.
    weight: Any = LavaPyType(np.ndarray, np.int64, precision=8)

    def clamp_precision(self, x: Any) -> Any:
        exponent = self.weight_exp.item()
        wrapped = super().clamp_precision(x)
        return wrapped << exponent if exponent >= 0 else wrapped >> -exponent


class DelayLine(AbstractProcess):
    """Passes messages on `delay` steps later, and only those of each sample's first `kept` steps.

    `offset` is the depth of its source: step t of the samples reaches it at offset + t.
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


class Recorder(AbstractProcess):
    """Writes what it receives to `file` (.npy, shape (frames, *shape)), then stays idle.

    The last of every `every` steps is kept, counted from step offset + 1. (Reading a buffer
    through Lava's own Var.get takes about 25 us for each value.)
    """

    def __init__(
        self, *, shape: Any, file: str, dtype: str, frames: int, every: int, offset: int
    ) -> None:
        super().__init__(
            shape=shape, file=file, dtype=dtype, frames=frames, every=every, offset=offset
        )
        self.a_in = InPort(shape=shape)


@implements(proc=Recorder, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyRecorder(PyLoihiProcessModel):
    a_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.file, self.offset = proc_params["file"], proc_params["offset"]
        self.frames, self.every = proc_params["frames"], proc_params["every"]
        self.kept = np.zeros((self.frames, *proc_params["shape"]), proc_params["dtype"])

    def run_spk(self) -> None:
        values = self.a_in.recv()
        frame, rest = divmod(self.time_step - self.offset, self.every)
        if rest or not 1 <= frame <= self.frames:
            return
        self.kept[frame - 1] = values
        if frame == self.frames:
            self.write()

    def write(self) -> None:
        # Not np.save: it hides why a file could not be written.
        with open(self.file, "wb") as file:
            header = npy_format.header_data_from_array_1_0(self.kept)
            npy_format.write_array_header_1_0(file, header)
            file.write(self.kept.data)
