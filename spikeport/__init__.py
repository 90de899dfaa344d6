"""Spikeport: spiking networks from training to neuromorphic simulators, exactly."""
