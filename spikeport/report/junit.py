"""JUnit XML of a gate, as read by Jenkins, GitLab and the actions of GitHub.

Its form is that of the schema `junit-10.xsd` of Jenkins' xUnit plugin
(https://github.com/jenkinsci/xunit-plugin). Every text passes `spikeport.text.shown`, because XML
cannot hold most control characters.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from spikeport.parity import Gate, GateCase, GateOutcome, GateSuite
from spikeport.storage import write_text
from spikeport.text import shown
from spikeport.version import __version__


def write_junit(
    path: str | os.PathLike[str], gate: Gate, properties: Mapping[str, str] | None = None
) -> None:
    """Write a gate as JUnit XML: a suite for each run, a test case for each limit.

    Args:
        properties: further facts to state besides versions, such as hashes of files.

    Raises:
        OutputError: the file cannot be written; an existing file is unharmed.
    """
    write_text(path, render_junit(gate, properties or {}))


def render_junit(gate: Gate, properties: Mapping[str, str]) -> str:
    """The XML document."""
    facts = {
        "spikeport": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(),
        **properties,
    }
    cases = [case for suite in gate.suites for case in suite.cases]
    seconds = sum(suite.wall_s for suite in gate.suites)
    root = _element("testsuites", name="spikeport compare", **_totals(cases), time=f"{seconds:.3f}")
    for suite in gate.suites:
        root.append(_suite(suite, facts))
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(root, "unicode")}\n'


def _suite(suite: GateSuite, facts: Mapping[str, str]) -> Element:
    skipped = sum(case.outcome is GateOutcome.INCONCLUSIVE for case in suite.cases)
    totals = {**_totals(suite.cases), "skipped": str(skipped), "time": f"{suite.wall_s:.3f}"}
    found = _element("testsuite", name=suite.name, **totals)
    own = {
        "backend": f"{suite.backend} {suite.version}",
        "network": suite.network_hash,
        "samples": str(suite.samples),
    }
    stated = SubElement(found, "properties")
    for name, value in {**facts, **own}.items():
        stated.append(_element("property", name=name, value=value))
    for case in suite.cases:
        found.append(_case(suite, case))
    return found


def _case(suite: GateSuite, case: GateCase) -> Element:
    found = _element("testcase", name=case.name, classname=f"spikeport.compare.{suite.name}")
    if case.failed:
        found.append(_element("failure", type="limit", message=str(case)))
    elif case.outcome is GateOutcome.INCONCLUSIVE:
        found.append(_element("skipped", message=str(case)))
    SubElement(found, "system-out").text = shown(f"{case.outcome}: {case}")
    return found


def _totals(cases: Iterable[GateCase]) -> dict[str, str]:
    listed = list(cases)
    failures = sum(case.failed for case in listed)
    return {"tests": str(len(listed)), "failures": str(failures), "errors": "0"}


def _element(tag: str, **attributes: str) -> Element:
    return Element(tag, {name: shown(value) for name, value in attributes.items()})
