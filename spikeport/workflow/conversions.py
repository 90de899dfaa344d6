"""The errors of converted networks, side by side: checkpoints and NIR graphs alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeport.checks import integer
from spikeport.errors import ConversionError, InputError, LabelsError, SamplesError
from spikeport.export import FloatNetwork
from spikeport.network import Input
from spikeport.parity import Accuracy, accuracy
from spikeport.runs import Samples, SampleSet, check_float_samples
from spikeport.simulators import (
    ConversionDiagnosis,
    NetworkErrors,
    float_accuracy_by_steps,
    float_conversion_errors,
)
from spikeport.trainer import SpikingNetwork, measure_accuracy
from spikeport.trainer.conversion import (
    SAMPLES,
    accuracy_by_steps,
    activation_arrays,
    check_ann,
    conversion_errors,
    error_batches,
)

if TYPE_CHECKING:
    from spikeport.simulators.if_errors import Reals

Converted: TypeAlias = SpikingNetwork | FloatNetwork
STEPS = (4, 8, 16, 32)
"""Numbers of steps that are compared by default, besides each network's own."""
MOST_STEPS = 2**16


def diagnose_conversion(
    networks: Mapping[str, Converted],
    x: ArrayLike,
    y: ArrayLike,
    steps: Iterable[int] | None = None,
    *,
    ann: SpikingNetwork | None = None,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> ConversionDiagnosis:
    """Measure the conversion errors of every layer, and the accuracy, after several T.

    Accuracies are those of all samples, errors those of the first `SAMPLES`; the equations are
    in `simulators.if_errors`.

    Args:
        networks: by name, converted networks of integrate-and-fire neurons that subtract, such as
            the same ANN converted with and without a remedy.
        x: samples (B, *shape), presented at every step.
        y: classes (B,).
        steps: numbers of steps T; by default `STEPS` and that of each network.
        ann: the reference of total errors: its activations are those of the layers of the same
            names. It is one ANN for all networks, so what training changed in the conversion of
            one of them is part of that network's total error.
        progress: called with the name of a network before it is measured.

    Raises:
        InputError: neurons leak or reset to zero, the samples do not fit a network or have several
            steps, there is a label without an output, or `ann` is no ANN; the message names the
            network.
    """
    if not networks:
        raise ConversionError("diagnose: no network, needs at least one")
    wanted = _steps(networks, steps)
    samples, labels = np.asarray(x, np.float32), np.asarray(y)
    if len(samples) != len(labels):
        raise LabelsError(
            f"diagnose: {len(samples)} samples but {len(labels)} labels, must be equal"
        )
    reference = None
    if ann is not None:
        with _about("ANN"):
            check_ann(ann)
            _checked((ann.input,), samples)
            reference = _accuracy(measure_accuracy(ann, samples, labels), len(labels))
    found = []
    for done, (name, network) in enumerate(networks.items()):
        progress(name, done, len(networks))
        with _about(name):
            found.append(_measured(name, network, samples, labels, wanted, ann))
    return ConversionDiagnosis(
        wanted, len(labels), min(SAMPLES, len(labels)), reference, tuple(found)
    )


def _steps(networks: Mapping[str, Converted], steps: Iterable[int] | None) -> tuple[int, ...]:
    if steps is None:
        steps = (*STEPS, *(network.steps for network in networks.values()))
    found = tuple(sorted(set(steps)))
    if not found:
        raise ConversionError("diagnose: no number of steps (T), needs at least one")
    for count in found:
        integer("diagnose: steps (T)", count, 1, MOST_STEPS)
    return found


@contextmanager
def _about(name: str) -> Iterator[None]:
    """Errors name the network."""
    try:
        yield
    except InputError as error:
        raise type(error)(f"{name}: {error}") from error


def _checked(inputs: Sequence[Input], x: NDArray[np.float32]) -> SampleSet:
    if len(inputs) == 1 and x.shape[1:] != inputs[0].shape:
        raise SamplesError(
            f"input '{inputs[0].name}': takes samples of shape {inputs[0].shape}, these have "
            f"{x.shape[1:]}"
        )
    return check_float_samples(inputs, 1, x, static=True)


def _measured(
    name: str,
    network: Converted,
    x: NDArray[np.float32],
    y: NDArray[np.int64],
    steps: tuple[int, ...],
    ann: SpikingNetwork | None,
) -> NetworkErrors:
    if isinstance(network, SpikingNetwork):
        _checked((network.input,), x)
        errors = conversion_errors(network, error_batches(network, x, steps[-1]), steps, ann)
        rates = accuracy_by_steps(network, x, y, steps)
    elif isinstance(network, FloatNetwork):
        samples = _checked(network.inputs, x)
        first = _checked(network.inputs, x[:SAMPLES])
        reference = None if ann is None else _activations(ann)
        errors = float_conversion_errors(network, first, steps, reference)
        rates = float_accuracy_by_steps(network, samples, y, steps)
    else:
        raise ConversionError(
            f"is a {type(network).__name__}, must be a converted network in float units: a "
            "SpikingNetwork or a FloatNetwork"
        )
    reached = {count: _accuracy(rate, len(y)) for count, rate in rates.items()}
    return NetworkErrors(name, network.steps, errors, reached)


def _activations(ann: SpikingNetwork) -> Callable[[Samples], Mapping[str, Reals]]:
    def of_ann(samples: Samples) -> Mapping[str, Reals]:
        assert isinstance(samples, Mapping)  # a checked set of a single input
        (x,) = samples.values()
        return activation_arrays(ann, np.asarray(x))

    return of_ann


def _accuracy(rate: float, count: int) -> Accuracy:
    return accuracy(round(rate * count), count)
