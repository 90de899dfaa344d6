"""Evaluations and sweeps in shards over Dask; every number equals that of a single process."""

from spikeport.sharding.engine import SHARD as SHARD
from spikeport.sharding.engine import run_sharded as run_sharded
from spikeport.sharding.engine import run_sweep as run_sweep
