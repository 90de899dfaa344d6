"""Runs Lava. Started by Lava's own interpreter as `python -m worker`; not part of Spikeport's code.

`__main__` forks a child that imports Lava (`simulate`) and outlives it, so that whatever ends the
parent, Spikeport or Lava, nothing is left behind. Only the standard library is imported here.
"""
