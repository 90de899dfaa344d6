"""Speed and memory of the native simulator, compared with other simulators and machine limits.

`python -m benchmarks.simulators` compares, `python -m benchmarks.scaling` shows how the cost grows.
Nothing here is part of the installed package.
"""
