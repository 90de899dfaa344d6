"""Event counts of networks by NeuroBench, and by Spikeport from the same weights and spikes.

NeuroBench runs in an environment and a process of its own; files pass between them.
"""
