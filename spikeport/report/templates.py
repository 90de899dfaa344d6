"""The templates of the pages, and the filters they share."""

from __future__ import annotations

from typing import Any

from spikeport.errors import BackendUnavailableError
from spikeport.report.section import cell_text
from spikeport.report.units import (
    format_change,
    format_count,
    format_energy,
    format_percent,
    format_range,
    format_time,
)
from spikeport.text import shown


def render(template: str, **values: Any) -> str:
    """Render a template of this package.

    Raises:
        BackendUnavailableError: jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise BackendUnavailableError(
            "the HTML report needs jinja2: pip install '.[report]'"
        ) from error
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("spikeport.report", "."),
        autoescape=True,
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "energy": format_energy,
        "range": format_range,
        "change": format_change,
        "count": format_count,
        "percent": format_percent,
        "time": format_time,
        "cell": cell_text,
    }
    return environment.get_template(template).render(values)


def _shown(value: Any) -> Any:
    """A value as shown on the page; the output of macros is already safe."""
    return shown(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
