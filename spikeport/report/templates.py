"""The templates of the pages, and the filters they share."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from spikeport.errors import MissingPackageError
from spikeport.report.section import cell_text
from spikeport.report.units import (
    format_change,
    format_count,
    format_energy,
    format_percent,
    format_range,
    format_short,
    format_span,
    format_time,
)
from spikeport.text import shown

if TYPE_CHECKING:
    import jinja2


SYMBOLS = ("u", "v", "vth", "rms")
"""First words of headings that stay in lower case."""


def render(template: str, **values: Any) -> str:
    """Render a template of this package.

    Raises:
        BackendUnavailableError: jinja2 is not installed.
    """
    return str(_environment().get_template(template).render(values))


@cache
def _environment() -> jinja2.Environment:
    """The templates, which are compiled once."""
    try:
        import jinja2
    except ImportError as error:
        raise MissingPackageError(
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
        "short": format_short,
        "range": format_range,
        "span": format_span,
        "change": format_change,
        "count": format_count,
        "percent": format_percent,
        "time": format_time,
        "cell": cell_text,
        "heading": _heading,
    }
    return environment


def _heading(text: str) -> str:
    """A heading of a column with a capital letter, unless it begins with a symbol."""
    first = text.split(" ")[0].rstrip(",")
    return text if first in SYMBOLS else text[:1].upper() + text[1:]


def _shown(value: Any) -> Any:
    """A value as shown on the page; the output of macros is already safe."""
    return shown(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
