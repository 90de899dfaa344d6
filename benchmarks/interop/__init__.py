"""Frameworks run themselves, and their NIR files run in Spikeport under their presets."""
