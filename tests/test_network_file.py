"""The network file: exact round trip, damage found, nothing harmed on failure."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikeport.errors import InputError, OutputError
from spikeport.network import DeployedNetwork, load_network, save_network
from tests.helpers.networks import small
from tests.helpers.strategies import networks


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(network=networks())
def test_round_trip_is_exact(
    network: DeployedNetwork, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("round") / "network.spikeport"
    save_network(network, path)
    again = load_network(path)
    assert again == network
    assert again.provenance == network.provenance
    assert again.content_hash == network.content_hash


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "network.spikeport"
    save_network(small(), path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"network\.spikeport: not a Spikeport network file"):
            load_network(path)


def test_a_flipped_weight_is_found_by_the_content_hash(tmp_path: Path) -> None:
    path = tmp_path / "network.spikeport"
    save_network(small(), path)
    data = bytearray(path.read_bytes())
    position = data.rindex(np.full(9, 7, "<i2").tobytes())
    data[position] = 9
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match="it was changed after writing"):
        load_network(path)


def test_foreign_and_future_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "other.spikeport"
    with pytest.raises(InputError, match="no such file"):
        load_network(path)
    path.write_bytes(safetensors.numpy.save({"a": np.zeros(3)}))
    with pytest.raises(InputError, match="is a safetensors file, but not a Spikeport network"):
        load_network(path)
    header = json.dumps({"format": "spikeport.network", "version": 2})
    path.write_bytes(safetensors.numpy.save({"a": np.zeros(3)}, metadata={"spikeport": header}))
    with pytest.raises(InputError, match="format version 2, this Spikeport reads 1"):
        load_network(path)
    header = json.dumps({"format": "spikeport.network", "version": 1, "network": {"inputs": 3}})
    path.write_bytes(safetensors.numpy.save({"a": np.zeros(3)}, metadata={"spikeport": header}))
    with pytest.raises(InputError, match="bad header"):
        load_network(path)


def test_a_header_nested_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.spikeport"
    deep = {"spikeport": "[" * 200_000}
    path.write_bytes(safetensors.numpy.save({"a": np.zeros(3)}, metadata=deep))
    with pytest.raises(InputError, match="not a Spikeport network file, or damaged"):
        load_network(path)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=20))
def test_any_damage_is_one_clear_error(
    changes: list[tuple[float, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "network.spikeport"
    save_network(small(), path)
    data = bytearray(path.read_bytes())
    for place, value in changes:
        data[int(place * (len(data) - 1))] = value
    path.write_bytes(bytes(data))
    with suppress(InputError):  # Anything else, another network included, fails the test.
        assert load_network(path) == small()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"missing/n\.spikeport: cannot be written: No such file"):
        save_network(small(), tmp_path / "missing" / "n.spikeport")
