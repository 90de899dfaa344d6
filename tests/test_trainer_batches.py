"""Batches of one sample with batch norm are refused, with a batch_size that works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from spikeport.errors import InputError
from spikeport.export import QuantizeConfig
from spikeport.network import Coding, Input
from spikeport.trainer import LIF, Dataset, Node, SpikingNetwork, TrainConfig, build_network, train
from spikeport.trainer.data import Augment, Feed
from spikeport.trainer.data.batches import check_batches

INPUT = Input("input", (1, 4, 4), Coding.GRADED, 0, 1, scale=1.0)
PLAIN = nn.Linear(2, 2)
NORM = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))


def feed(total: int, batch_size: int, share: tuple[int, int] = (0, 1)) -> Feed:
    x, y = np.zeros((total, 1), np.float32), np.zeros(total, np.int64)
    return Feed(x, y, np.arange(total), Augment(), 0, batch_size, share)


def sizes(one: Feed) -> list[int]:
    return [whole for _, _, whole in one.epoch(0, 0, 0)]


@given(st.integers(1, 40), st.integers(1, 45))
def test_batches_of_one_are_refused_and_no_others(total: int, batch_size: int) -> None:
    one = feed(total, batch_size)
    check_batches(one, PLAIN)
    if min(sizes(one)) > 1:
        check_batches(one, NORM)
        return
    with pytest.raises(InputError) as raised:
        check_batches(one, NORM)
    text = str(raised.value)
    assert text.startswith("training: ")
    assert "batch norm '1'" in text
    if batch_size > 1 and total > 1:
        advised = int(text.rpartition("batch_size of ")[2].split(",")[0])
        assert min(sizes(feed(total, advised))) > 1


@pytest.mark.parametrize("rank", [0, 1])
def test_processes_share_the_statistics_of_a_batch(rank: int) -> None:
    """One sample per process is enough: only the whole batch counts."""
    check_batches(feed(8, 2, (rank, 2)), NORM)
    with pytest.raises(InputError, match="2 processes need one each"):
        check_batches(feed(9, 2, (rank, 2)), NORM)


def data(total: int) -> Dataset:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 2, (total, 1, 4, 4)).astype(np.float32), np.arange(total) % 2
    return Dataset("few", x, y, x, y, INPUT, 2)


@pytest.mark.parametrize(
    ("total", "changes", "message"),
    [
        (8, {"batch_size": 1}, r"batches of one sample \(batch_size 1\), but batch norm 'norm1'"),
        (
            9,
            {"batch_size": 4},
            "the last batch of an epoch of 9 samples has one .* batch_size of 5",
        ),
        (9, {"batch_size": 8}, "last batch of an epoch of 9 samples .* batch_size of 9"),
        (12, {"batch_size": 8, "validation": 0.25}, "last batch of an epoch of 9 samples"),
    ],
)
@pytest.mark.parametrize("architecture", ["mlp", "conv"])
def test_training_refuses_batches_of_one_before_it_starts(
    tmp_path: Path, total: int, changes: dict[str, Any], message: str, architecture: str
) -> None:
    path = tmp_path / "m.safetensors"
    config = TrainConfig(architecture=architecture, widths=(3,), steps=2, epochs=1, **changes)
    with pytest.raises(InputError, match=message):
        train(config, data(total), checkpoint=path)
    assert not path.exists()


def test_maps_of_one_pixel() -> None:
    """One value per channel and sample, so batches of one are refused here too."""
    nodes = (
        Node("conv", ("input",), nn.Conv2d(1, 3, 4)),
        Node("norm", ("conv",), nn.BatchNorm2d(3)),
        Node("lif", ("norm",), LIF()),
        Node("readout", ("lif",), nn.Linear(3, 2)),
    )
    network = SpikingNetwork(INPUT, nodes, 2)
    assert network.shapes["norm"] == (3, 1, 1)
    with pytest.raises(InputError, match="batch norm 'norm' needs several"):
        check_batches(feed(8, 1), network)
    check_batches(feed(8, 2), network)
    network.train()
    with pytest.raises(InputError, match="batch norm of 3 channels: one value per channel"):
        network(torch.ones(1, 1, 4, 4))
    assert network(torch.ones(2, 1, 4, 4)).shape == (2, 2)
    assert network.eval()(torch.ones(1, 1, 4, 4)).shape == (1, 2)


def test_without_batch_norm_one_sample_is_enough() -> None:
    from spikeport.workflow import prepare_qat

    few = data(8)
    config = TrainConfig(architecture="mlp", widths=(3,), steps=2, epochs=1)
    network = build_network(config, INPUT, 2)
    network.eval()
    chip = prepare_qat(network, few.train_x[:], QuantizeConfig(weight_bits=4))
    check_batches(feed(8, 1), chip)
