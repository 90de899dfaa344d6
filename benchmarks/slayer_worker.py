"""Run a netx file with lava-dl's own SLAYER; needs nothing of Spikeport.

`python slayer_worker.py NETWORK.net INPUT.npy OUTPUT.npy` in the environment that `benchmarks.netx`
describes. Input and output are (neurons, T).
"""

import sys

import numpy as np
import torch
from lava.lib.dl import slayer

if __name__ == "__main__":
    path, given, out = sys.argv[1:]
    spikes = torch.from_numpy(np.load(given, allow_pickle=False)).to(torch.float32)
    network = slayer.auto.SequentialNetwork(path)
    with torch.no_grad():
        np.save(out, network(spikes[None])[0].numpy())
