"""A page in HTML that needs nothing else: its style and its script lie in it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

__all__ = ["MOST_ROWS", "number", "render_page"]

MOST_ROWS = 3000  # of a table of cases


def render_page(name: str, content: Mapping[str, Any]) -> str:
    """A page from a template.

    Args:
        name: of the template, `report.html` say, which fills the blocks of `page.html`.
        content: its variables; whatever a text in it holds is shown as text.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    css, script = _template("report.css"), _template("report.js").strip()
    # The page runs this script and no other, whatever a name in it holds.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "markup": Markup, "signed": lambda n: number(n, "+.3g" if n else ".3g")}
    return environment.get_template(name).render(content, css=Markup(css), script=Markup(script), script_sha256=digest)


def number(value: float | None, form: str = ".3g") -> str:
    """A number as a page shows it; None is a dash."""
    return "–" if value is None else format(value, form).replace("-", "−")


def _template(name: str) -> str:
    return (files(__package__) / "templates" / name).read_text("utf-8")
