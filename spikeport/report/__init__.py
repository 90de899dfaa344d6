"""Showing a parity ladder, its energy estimates or a diagnosis: terminal, HTML page, JSON."""

from spikeport.report.diagnosis import render_diagnosis as render_diagnosis
from spikeport.report.document import to_json as to_json
from spikeport.report.html import render_html as render_html
from spikeport.report.quantization import quantization_sections as quantization_sections
from spikeport.report.terminal import render_energy as render_energy
from spikeport.report.terminal import render_section as render_section
from spikeport.report.terminal import render_terminal as render_terminal
