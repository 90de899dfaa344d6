"""Runs Lava. Started by Lava's own interpreter as `python -m worker`, not part of Spikeport's.

`__main__` starts one child that imports Lava (`simulate`) and outlives it, so that whatever ends
the parent, Spikeport or Lava, nothing stays behind. Only the standard library is imported here.
"""
