"""Numbers and headers of additional tables stay whole at 100 columns."""

from __future__ import annotations

import pytest

from spikeport.report.screen import show
from spikeport.report.section import cell_text, section_of
from spikeport.report.terminal import render_section


def test_no_number_and_no_word_of_a_header_is_broken(capsys: pytest.CaptureFixture[str]) -> None:
    row = {
        "weights": 131071, "threshold": 131072, "weight exponent": -3, "scale": 1234.5678,
        "saturated share": 0.01234, "error of weights": 0.001234, "clipped biases": 1310712,
        "decay of u": 4096,
    }  # fmt: skip
    show(render_section(section_of("Quantization", [{"layer": "population", **row}])))
    words = capsys.readouterr().out.split()
    for name, value in row.items():
        assert cell_text(value) in words
        assert set(name.split()) <= set(words)
