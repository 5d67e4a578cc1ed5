"""Names and texts of people put on pages: shown, and never obeyed."""

from __future__ import annotations

import base64
import io
from importlib.resources import files
from typing import Any

from PIL import Image


def render_page(package: str, template: str, **values: Any) -> str:
    """An HTML page from a template that lies in a package; what is filled in is escaped."""
    import jinja2

    source = files(package).joinpath(template).read_text(encoding="utf-8")
    return jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(source).render(**values)


def data_uri(content: bytes, kind: str) -> str:
    """A picture (png, jpeg) as an address that holds all of it."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def jpeg_uri(image: Image.Image) -> str:
    """A picture as an address that holds it as a JPEG."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=82)
    return data_uri(buffer.getvalue(), "jpeg")


def plain_text(text: str) -> str:
    """A text as it can stand in Markdown: one line, no HTML, no backticks, no end of a table's cell."""
    cleaned = " ".join(text.split())
    for sign in "`<>|":
        cleaned = cleaned.replace(sign, "")
    return cleaned
