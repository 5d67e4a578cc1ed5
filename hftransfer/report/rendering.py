"""Names and texts of people put on pages: shown, and never obeyed."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from PIL import Image

from hftransfer.base.errors import printable


def render_page(package: str, template: str, **values: object) -> str:
    """Return an HTML page from a template that lies in a package; what is filled in is escaped, and made printable."""
    import jinja2

    source = files(package).joinpath(template).read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, finalize=_shown)
    return environment.from_string(source).render(**values)


def _shown(value: object) -> object:
    """Return what is filled into a page: of texts what would steer a terminal or turn the direction of writing is
    escaped."""
    # Markup is the template's own, or was escaped already.
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return printable(value.replace("\r\n", "\n"))
    return value


def data_uri(content: bytes, kind: str) -> str:
    """Return a picture (png, jpeg) as an address that holds all of it."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def jpeg_uri(image: Image.Image) -> str:
    """Return a picture as an address that holds it as a JPEG."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=82)
    return data_uri(buffer.getvalue(), "jpeg")


@dataclass(frozen=True)
class Marked:
    """A part of a text as it stands on a page."""

    text: str
    weight: float | None = None
    """How much it speaks for something, below 0 against it; None: not weighed."""
    is_read: bool = True
    """Whether the model read it."""


def marked_words(words: Sequence[Marked]) -> list[dict[str, str]]:
    """Return each word with its style and title: green speaks for the label, red against it, what was not read is
    pale."""
    # One scale for all words: the strongest gets the full colour.
    most = max((abs(word.weight) for word in words if word.weight is not None), default=0.0) or 1.0
    return [{"text": word.text, **_mark(word, most)} for word in words]


def _mark(word: Marked, most: float) -> dict[str, str]:
    if not word.is_read:
        return {"style": "opacity: 0.5; text-decoration: line-through", "title": "not read"}
    if word.weight is None:
        return {"style": "", "title": ""}
    color = "42, 127, 98" if word.weight >= 0 else "192, 57, 43"
    return {"style": f"background: rgba({color}, {0.7 * abs(word.weight) / most:.2f})", "title": f"{word.weight:+.3f}"}


def plain_text(text: str) -> str:
    """Return a text as it can stand in Markdown: one line that steers nothing, no HTML, no backticks, no end of a
    table's cell."""
    cleaned = printable(" ".join(text.split()))
    for sign in "`<>|":
        cleaned = cleaned.replace(sign, "")
    return cleaned
