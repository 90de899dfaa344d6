"""Backends: where a deployed network can run."""
