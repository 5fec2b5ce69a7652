"""A template and the files of `static/`, as one file that may fetch nothing and run no script but these."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from layeratlas.files.inert import shown_text
from layeratlas.runs.writing import write_file

PAGE = "report.html"
_PACKAGE = "layeratlas.report.page"
_NOTHING_ELSE = "base-uri 'none'; form-action 'none'"
_STATIC = resources.files(_PACKAGE) / "static"


def write_page(folder: Path, template: str, scripts: Sequence[str], content: Mapping[str, Any]) -> Path:
    """Render a template with these scripts of `static/`, in this order, into `folder`/report.html."""
    text = rendered(template, scripts, content)
    return write_file(folder / PAGE, lambda path: path.write_text(text, encoding="utf-8"))


def rendered(template: str, scripts: Sequence[str], content: Mapping[str, Any]) -> str:
    script = '"use strict";\n(() => {\n' + "\n".join(_static(name) for name in scripts) + "\n})();\n"
    style = _static("page.css")
    policy = f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data:; {_NOTHING_ELSE}"
    return (
        _environment().get_template(template).render(script=Markup(script), style=Markup(style), policy=Markup(policy), **content)
    )


@cache
def _static(name: str) -> str:
    return (_STATIC / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _environment() -> Environment:
    return Environment(
        autoescape=True,
        loader=PackageLoader(_PACKAGE, "templates"),
        undefined=StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _finalized(value: Any) -> Any:
    """Texts without control characters and marks of direction; line ends stay. Escaping is the template's."""
    return shown_text(value) if isinstance(value, str) and not isinstance(value, Markup) else value
