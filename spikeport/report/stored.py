"""Read the JSON of a report back, to render it again."""

from __future__ import annotations

import json
import os
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from spikeport.errors import (
    FileFormatError,
    FileMissingError,
    MissingPackageError,
)
from spikeport.parity import Difference, ParityReport
from spikeport.report.document import SCHEMA, Document
from spikeport.report.figures import FIGURES, Figure
from spikeport.report.fit import Fit
from spikeport.report.section import Section, Topic
from spikeport.storage import parse_json
from spikeport.text import quoted

FILE = "ladder.json"
SCHEMA_FILE = "report.schema.json"
LARGEST = 64 << 20
"""Largest file that is read, in bytes."""


NOT_STATED: Mapping[type, Mapping[str, Any]] = {
    Difference: {"network": "", "spikes_before": 0, "extra_errors": 0, "unexplained": None}
}
"""Values of fields that the reports of 0.1.0 do not have, and that no report shows."""


def read_document(path: str | os.PathLike[str]) -> Document:
    """Read `ladder.json`, or that of the folder of a ladder.

    Raises:
        InputError: no such file, not JSON, not a report, or it breaks the published schema.
        BackendUnavailableError: jsonschema is not installed.
    """
    path = Path(path)
    path = path / FILE if path.is_dir() else path
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST + 1)
    except OSError as error:
        raise FileMissingError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(text) > LARGEST:
        raise FileFormatError(f"{path}: has more than {LARGEST} bytes, too many for a report")
    try:
        data = parse_json(text)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path}: is not the JSON of a report: {error}") from error
    found = data.get("schema") if isinstance(data, dict) else None
    if found != SCHEMA:
        raise FileFormatError(
            f"{path}: schema is {quoted(found)}, this version reads reports of '{SCHEMA}'"
        )
    _check(data, path)
    return document_from(data)


def document_from(data: Mapping[str, Any]) -> Document:
    """The document of valid JSON data. The verdict is formed again."""
    return Document(
        parity=_built(ParityReport, data["parity"]),
        energy=data["energy"],
        sections=tuple(map(_section, data["sections"])),
        priced=data.get("priced", ""),
        fit=_built(Fit | None, data.get("fit")),
        network=data.get("network", {}),
        data=data.get("data", {}),
        limits=data.get("limits", {}),
    )


@cache
def schema() -> Mapping[str, Any]:
    """The published JSON schema of a report."""
    text = files("spikeport.report").joinpath(SCHEMA_FILE).read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def _check(data: Any, path: Path) -> None:
    try:
        import jsonschema
    except ImportError as error:
        raise MissingPackageError(
            "reading a report needs jsonschema: pip install '.[report]'"
        ) from error
    validator = jsonschema.Draft202012Validator(schema())
    problem = jsonschema.exceptions.best_match(validator.iter_errors(data))
    if problem is not None:
        raise FileFormatError(
            f"{path}: {quoted(problem.json_path)} is {quoted(problem.instance)}, which breaks the "
            f"rule {quoted({problem.validator: problem.validator_value})} of {SCHEMA_FILE}"
        )


def _section(data: Mapping[str, Any]) -> Section:
    rows = data["rows"]
    columns = data.get("columns") or list(dict.fromkeys(key for row in rows for key in row))
    return Section(
        title=data["title"],
        columns=tuple(columns),
        rows=tuple(tuple(row.get(column) for column in columns) for row in rows),
        note=data["note"],
        warnings=tuple(data["warnings"]),
        topic=Topic(data.get("topic", Topic.OTHER)),
        figures=tuple(map(_figure, data.get("figures", ()))),
    )


def _figure(data: Mapping[str, Any]) -> Figure:
    found: Figure = _built(FIGURES[data["kind"]], data)
    return found


def _built(kind: Any, data: Any) -> Any:
    """The value of type `kind` whose plain data this is."""
    arguments = get_args(kind)
    if get_origin(kind) in (Union, types.UnionType):
        wanted = next(one for one in arguments if one is not type(None))
        return None if data is None else _built(wanted, data)
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        names = [item.name for item in fields(kind) if item.name in data]
        values = {name: _built(hints[name], data[name]) for name in names}
        return kind(**{**NOT_STATED.get(kind, {}), **values})
    if get_origin(kind) is tuple:
        kinds = arguments if arguments[-1] is not Ellipsis else (arguments[0],) * len(data)
        return tuple(_built(one, item) for one, item in zip(kinds, data, strict=True))
    if isinstance(get_origin(kind), type) and issubclass(get_origin(kind), Mapping):
        return {key: _built(arguments[1], item) for key, item in data.items()}
    if kind is int and isinstance(data, float):  # JSON's 1.0 is an integer to the schema
        return int(data)
    return kind(data) if isinstance(kind, type) and issubclass(kind, StrEnum) else data
