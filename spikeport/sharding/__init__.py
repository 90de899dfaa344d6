"""Evaluations and sweeps in shards over Dask distributed; equal to one process in every number."""

from spikeport.sharding.engine import SHARD as SHARD
from spikeport.sharding.engine import run_sharded as run_sharded
from spikeport.sharding.engine import run_sweep as run_sweep
