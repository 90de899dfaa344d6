"""Spikeport's own Lava processes. Lava imports every module beside a process to find its model,
so this folder holds nothing else."""
