"""Speed and memory of the native simulator beside other simulators and the machine's limits.

`python -m benchmarks.simulators` compares, `python -m benchmarks.scaling` shows how cost grows.
Nothing here is part of the installed package.
"""
