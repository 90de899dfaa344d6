"""Read NIR files, Spikeport's own and those of other tools."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from spikeport.errors import (
    FileFormatError,
    GraphError,
    InputError,
    UnknownNameError,
    UnstatedError,
    ValueRangeError,
)
from spikeport.export.nir.deployed import NEWEST_FORM, float_view
from spikeport.export.nir.fields import NODE_TYPES, kind
from spikeport.export.nir.flatten import FlatGraph, flatten
from spikeport.export.nir.float_network import FloatNetwork
from spikeport.export.nir.graph import CheckedGraph, check_graph, difference
from spikeport.export.nir.hdf5 import RawFile, read_raw
from spikeport.export.nir.isolated import read_isolated
from spikeport.export.nir.metadata import (
    ARRAYS,
    KEY,
    deployed_network,
    header_of,
    original_of,
    run_facts,
    stated_rewrites,
    stated_semantics,
)
from spikeport.export.nir.plausibility import implausible
from spikeport.export.nir.portable import restore, stated_forms
from spikeport.export.nir.presets import departures, preset, rules_text
from spikeport.export.nir.semantics import DEFAULTS, RULES, Rules, Semantics
from spikeport.export.nir.shapes import parameter_shape
from spikeport.network import DeployedNetwork, Input
from spikeport.text import quoted

fail = GraphError.fail

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class FloatContents:
    """A float graph as read from a file, which may state neither dt nor T.

    The attributes are those of a `FloatNetwork`; dt and T are None where neither the file nor an
    argument states them.
    """

    path: Path
    checked: CheckedGraph
    dt_s: float | None
    steps: int | None
    semantics: Semantics
    inputs: tuple[Input, ...]
    inputs_assumed: bool
    provenance: Mapping[str, str]
    rewrites: tuple[str, ...] = ()
    not_reproduced: tuple[str, ...] = ()
    """What the framework that was named does otherwise than `semantics`."""

    def network(self) -> FloatNetwork:
        """The network, with warnings about what looks wrong or is not reproduced.

        Raises:
            InputError: dt or T is missing or not positive.
        """
        missing = f"{self.path}: no %s in the file (NIR has no field for it): give %s"
        if self.dt_s is None:
            UnstatedError.fail(missing % ("time step", "dt_s (--dt), in seconds"))
        if self.steps is None:
            UnstatedError.fail(missing % ("number of steps", "steps (--steps)"))
        with _reading(self.path):
            network = FloatNetwork(
                self.checked.graph,
                self.dt_s,
                self.steps,
                self.inputs,
                self.semantics,
                self.inputs_assumed,
                self.provenance,
                self.rewrites,
                _checked=self.checked,
            )
        odd = implausible(network.graph, self.dt_s, self.semantics)
        for oddity in (*odd, *self.not_reproduced):
            _log.warning("%s", oddity)
        return network


def read_nir(
    path: str | os.PathLike[str],
    *,
    dt_s: float | None = None,
    steps: int | None = None,
    semantics: Semantics | str | None = None,
    inputs: Sequence[Input] | None = None,
    isolate: bool = True,
    **rules: Unpack[Rules],
) -> FloatNetwork | DeployedNetwork:
    """Read a NIR file: the deployed network if the file contains its integers, else the graph.

    If only one of them is acceptable, call `read_nir_float` or `read_nir_deployed`.

    Nested graphs are flattened and unsafe names made safe (`flatten`). NIR files do not state dt, T
    or how equations become steps; files written by Spikeport do, in their metadata, but arguments
    given here take precedence. What a file of another tool does not state and no argument gives is
    assumed, and named in `FloatNetwork.provenance`.

    Args:
        dt_s, steps: required for a file from another tool. NIR's times are seconds.
        semantics: the rules of a step, or the name of the framework that the file is from; default
            `Semantics()`, which is as documented by NIR.
        rules: fields of `Semantics` that differ from it, such as reset="subtract".
        inputs: default 0/1 spikes for every Input node, because NIR does not describe input values;
            required for any other input (see `FloatNetwork.inputs_assumed`).
        isolate: read the HDF5 in a separate process (about 0.4 s), because a damaged file can hang
            or crash libhdf5. Set it to False only for a file that is known to be intact.

    Raises:
        InputError: no such file, not NIR, damaged or hostile; a node, field or edge breaks a rule
            (the message names it); dt or T is missing; or the float view was changed by another
            tool, so that the integers are stale.
    """
    found = read_nir_contents(
        path,
        dt_s=dt_s,
        steps=steps,
        semantics=semantics,
        inputs=inputs,
        isolate=isolate,
        **rules,
    )
    return found if isinstance(found, DeployedNetwork) else found.network()


def read_nir_contents(
    path: str | os.PathLike[str],
    *,
    dt_s: float | None = None,
    steps: int | None = None,
    semantics: Semantics | str | None = None,
    inputs: Sequence[Input] | None = None,
    isolate: bool = True,
    **rules: Unpack[Rules],
) -> FloatContents | DeployedNetwork:
    """Like `read_nir`, for a graph that is only looked at: dt and T may be unknown."""
    given = {"dt_s": dt_s, "steps": steps, "semantics": semantics, "inputs": inputs, **rules}
    given = {name: value for name, value in given.items() if value is not None}
    if odd := sorted(rules.keys() - set(RULES)):
        UnknownNameError.fail(f"argument {odd[0]}: no such rule, must be one of {', '.join(RULES)}")
    raw = (read_isolated if isolate else read_raw)(path, KEY)
    with _reading(path):
        header = header_of(raw.graph.metadata)
        if header is not None and header["kind"] == "deployed":
            if given:
                InputError.fail(
                    f"arguments {sorted(given)}: the file contains a deployed network with its own"
                )
            return _deployed_network(header, raw)
        return _float_contents(Path(path), raw, header, given)


def read_nir_float(
    path: str | os.PathLike[str],
    *,
    dt_s: float | None = None,
    steps: int | None = None,
    semantics: Semantics | str | None = None,
    inputs: Sequence[Input] | None = None,
    isolate: bool = True,
    **rules: Unpack[Rules],
) -> FloatNetwork:
    """Like `read_nir`, for a file that contains a float graph.

    Raises:
        InputError: as for `read_nir`, or the file contains a deployed network.
    """
    network = read_nir(
        path,
        dt_s=dt_s,
        steps=steps,
        semantics=semantics,
        inputs=inputs,
        isolate=isolate,
        **rules,
    )
    if isinstance(network, DeployedNetwork):
        FileFormatError.fail(
            f"{path}: contains a deployed network, must be a float graph; see `read_nir_deployed`"
        )
    return network


def read_nir_deployed(path: str | os.PathLike[str], *, isolate: bool = True) -> DeployedNetwork:
    """Read the deployed network of a NIR file written by `write_nir`.

    Raises:
        InputError: as for `read_nir`, or the file contains only a float graph.
    """
    raw = (read_isolated if isolate else read_raw)(path, KEY)
    with _reading(path):
        header = header_of(raw.graph.metadata)
        if header is None or header["kind"] != "deployed":
            FileFormatError.fail("a float graph without chip integers; see `read_nir_float`")
        return _deployed_network(header, raw)


@contextmanager
def _reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Convert errors in the block to errors that name the file."""
    try:
        yield
    except InputError as error:
        raise type(error)(f"{path}: {error}") from error
    except MemoryError as error:
        raise FileFormatError(f"{path}: reading it needs more memory than is available") from error


def _deployed_network(header: dict[str, Any], raw: RawFile) -> DeployedNetwork:
    network = deployed_network(header, raw.graph.metadata.get(ARRAYS, {}))
    view = float_view(network, float(header["dt_s"]), min(header["version"], NEWEST_FORM))
    drawn = _checked(raw, _own_graph(raw, header), view.dt_s).graph
    if (found := difference(drawn, view.graph)) is not None:
        fail(
            f"{found}: the float graph was changed after writing, so the integers in its "
            f"metadata are stale; remove metadata '{KEY}' to read the graph alone"
        )
    return network


def _float_contents(
    path: Path,
    raw: RawFile,
    header: dict[str, Any] | None,
    given: dict[str, Any],
) -> FloatContents:
    flat = _own_graph(raw, header)
    dt_s = given.get("dt_s", header and header["dt_s"])
    if dt_s is not None and not (isinstance(dt_s, float | int) and 0 < dt_s < np.inf):
        ValueRangeError.fail(f"dt_s is {quoted(dt_s)}, must be positive seconds")
    asked = given.get("semantics", DEFAULTS if header is None else stated_semantics(header))
    kinds = {kind(node) for node in flat.nodes.values()}
    base = preset(asked, kinds) if isinstance(asked, str) else asked
    semantics = base.changed(**{name: given[name] for name in RULES if name in given})
    checked = _checked(raw, flat, dt_s, semantics.late_spikes)
    facts: dict[str, Any] = {"inputs_assumed": True, "provenance": {}}
    if header is not None:
        facts = run_facts(header, checked.shapes)
    elif "inputs" not in given:
        facts["inputs"] = tuple(
            Input(name, checked.shapes[name]) for name in sorted(checked.graph.inputs)
        )
    facts |= {name: given[name] for name in ("steps", "inputs") if name in given}
    assumed = facts["inputs_assumed"] and "inputs" not in given
    provenance = facts["provenance"]
    otherwise = departures(asked if isinstance(asked, str) else None, checked)
    if header is None:
        provenance = {
            "format": "NIR",
            "source": path.name,
            "source_sha256": raw.sha256,
            **_assumptions(given, semantics, assumed),
            **_spread(flat, checked),
        }
        if otherwise:
            provenance["not_reproduced"] = "; ".join(otherwise)
    elif provenance and given:
        named = {"semantics": asked} if isinstance(asked, str) else {}
        provenance = {**provenance, "stated_later": rules_text(named | _stated(given))}
    return FloatContents(
        path,
        checked,
        dt_s,
        facts.get("steps"),
        semantics,
        tuple(facts["inputs"]),
        assumed,
        provenance,
        () if header is None else stated_rewrites(raw.graph.metadata),
        otherwise,
    )


def _assumptions(
    given: Mapping[str, Any], semantics: Semantics, inputs_assumed: bool
) -> dict[str, str]:
    """How a foreign file was read: what was stated, and what was assumed."""
    found = {"stated": rules_text(_stated(given)) or "nothing"}
    others = {n: rule for n, rule in semantics.as_dict().items() if n not in given}
    if "semantics" not in given:
        found["assumed"] = rules_text(others)
    else:
        name = given["semantics"] if isinstance(given["semantics"], str) else "given"
        found["semantics"] = f"{name}: {rules_text(others)}"
    if inputs_assumed:
        found["assumed_inputs"] = "0/1 spikes"
    return found


def _spread(flat: FlatGraph, checked: CheckedGraph) -> dict[str, str]:
    """Which parameters are smaller than their layer, whose neurons then share them."""
    found = []
    for name, node in flat.nodes.items():
        if NODE_TYPES[kind(node)].elementwise:
            own, layer = parameter_shape(node), checked.shapes[name]
            found += [f"'{name}' from {own} to {layer}"] if own != layer else []
    return {"assumed_parameters": "; ".join(found)} if found else {}


def _stated(given: Mapping[str, Any]) -> dict[str, Any]:
    """dt, T and single rules that were given, and that inputs were."""
    names = ("dt_s", "steps", "inputs", *RULES)
    return {n: "given" if n == "inputs" else given[n] for n in names if n in given}


def _own_graph(raw: RawFile, header: dict[str, Any] | None) -> FlatGraph:
    """The flat graph in its own form, whatever form and reader it was written for."""
    flat, stated = flatten(raw.graph), stated_forms(raw.graph.metadata)
    flat.nodes = {name: restore(name, node, stated.get(name)) for name, node in flat.nodes.items()}
    return original_of(header, raw.graph.metadata, flat)


def _checked(
    raw: RawFile, flat: FlatGraph, dt_s: float | None, late_spikes: bool = False
) -> CheckedGraph:
    checked = check_graph(flat.nodes, flat.edges, dt_s, raw.file_bytes, late_spikes=late_spikes)
    flat.check_ports(checked.shapes)
    return checked
