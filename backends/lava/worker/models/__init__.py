"""Spikeport's own Lava processes. Lava imports every module in the folder of a process to find its
model, so this folder contains nothing else."""
