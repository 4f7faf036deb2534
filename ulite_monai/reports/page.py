"""A page in HTML that needs nothing else: its style and its script lie in it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

__all__ = ["number", "render_page"]


def render_page(name: str, content: Mapping[str, Any]) -> str:
    """A page from a template.

    Args:
        name: of the template, `report.html` say.
        content: its variables; whatever a text in it holds is shown as text.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    css, script = _template("report.css"), _template("report.js").strip()
    # The page runs this script and no other, whatever a name in it holds.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": number, "markup": Markup, "signed": lambda n: number(n, "+.3g" if n else ".3g")}
    template = environment.from_string(_template(name))
    return template.render(content, css=Markup(css), script=Markup(script), script_sha256=digest)


def number(value: float | None, form: str = ".3g") -> str:
    """A number as a page shows it; None is a dash."""
    return "–" if value is None else format(value, form).replace("-", "−")


def _template(name: str) -> str:
    return (files(__package__) / "templates" / name).read_text("utf-8")
