"""`python -m spikeport.cli`."""

from spikeport.cli import main

main()
