"""The version of the installed package, as stated in `pyproject.toml`."""

from importlib import metadata

__version__ = metadata.version("spikeport")
