"""Run a netx file with lava-dl's own `netx.hdf5.Network` on Lava; needs nothing of Spikeport.

`python netx_worker.py NETWORK.net INPUT.npy OUTPUT.npy OPTIONS` in the environment that
`benchmarks.netx` describes. Input and output have netx's axes, with time last; OPTIONS are further
arguments of `Network`, as JSON.
"""

import json
import sys

import numpy as np
from lava.lib.dl import netx
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc import io

if __name__ == "__main__":
    path, given, out, options = sys.argv[1:]
    data = np.load(given, allow_pickle=False)
    steps = data.shape[-1]
    net = netx.hdf5.Network(net_config=path, **json.loads(options))
    if data.ndim - 1 > len(net.inp.shape):  # a flat input: channels, rows, columns
        data = data.transpose(2, 1, 0, 3).reshape(-1, steps)
    source = io.source.RingBuffer(data=data)
    sink = io.sink.RingBuffer(shape=net.out.shape, buffer=steps)
    source.s_out.connect(net.inp)
    net.out.connect(sink.a_in)
    net.run(condition=RunSteps(num_steps=steps), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
    np.save(out, sink.data.get())
    net.stop()
