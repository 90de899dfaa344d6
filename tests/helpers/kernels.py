"""`python -m tests.helpers.kernels` compiles what random networks need of the native simulator.

Otherwise the processes of the suite begin by compiling the same kernels, each for itself.
"""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from spikeport.runs import everything
from spikeport.simulators import run_native
from tests.helpers.strategies import networks, samples_for


@settings(
    max_examples=100,
    phases=[Phase.generate],
    database=None,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(st.data(), st.booleans())
def compile_kernels(data: st.DataObject, adaptive: bool) -> None:
    """Run random networks, of which each needs the kernels for its kinds."""
    network = data.draw(networks(adaptive=adaptive))
    run_native(network, data.draw(samples_for(network)), record=everything(network))


if __name__ == "__main__":
    compile_kernels()
