"""HTML that needs nothing beside it: pages from templates, and fragments as notebooks show them.

Names and texts of people are shown, and never obeyed.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from hftransfer.base.errors import printable

if TYPE_CHECKING:
    from PIL import Image

_WIDEST_PX = 1000


def render_page(package: str, template: str, **values: object) -> str:
    """Return an HTML page from a template that lies in a package; what is filled in is escaped, and made printable.

    A template may extend `hftransfer.base/layout.html.jinja`, which has the styles of all pages and the one script that
    they may run: the page's policy names it by its hash, so that a browser runs no other.
    """
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        loader=jinja2.FunctionLoader(lambda name: _source(*name.split("/", 1))),
        trim_blocks=True,
    )
    script = _source("hftransfer.base", "page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Both are files of this package.
    shared = {
        "style": Markup(_source("hftransfer.base", "page.css")),  # noqa: S704
        "script": Markup(script),  # noqa: S704
        "script_hash": Markup(digest),  # noqa: S704
    }
    return environment.get_template(f"{package}/{template}").render(**shared, **values)


def _source(package: str, name: str) -> str:
    return files(package).joinpath(name).read_text(encoding="utf-8")


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


def jpeg_uri(image: Image.Image, edge: int | None = None) -> str:
    """Return a picture as an address that holds it as a JPEG, its longer edge as many pixels at most."""
    if edge is not None and max(image.size) > edge:
        image = image.copy()
        image.thumbnail((edge, edge))
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=82)
    return data_uri(buffer.getvalue(), "jpeg")


def small_uri(picture: bytes) -> str:
    """Return a picture of any format as an address that holds it as a JPEG, at most 1,000 pixels wide."""
    from PIL import Image

    image = Image.open(io.BytesIO(picture)).convert("RGB")
    if image.width > _WIDEST_PX:
        image = image.resize((_WIDEST_PX, round(image.height * _WIDEST_PX / image.width)))
    return jpeg_uri(image)


@dataclass(frozen=True)
class Thumbnail:
    """A picture of a fragment, as an address that holds all of it, and what is said under it."""

    source: str
    caption: str = ""
    wide: bool = False
    """Whether it has a line of its own."""


@dataclass(frozen=True)
class Fragment:
    """The part of a result that a notebook shows: a title, lines, a table, words with their weights, pictures.

    It takes the colours of the page around it, light or dark, and asks for nothing from elsewhere.
    """

    title: str
    lines: Sequence[str] = ()
    table: Sequence[Sequence[str]] = ()
    """The first row names the columns."""
    words: Sequence[Sequence[dict[str, str]]] = ()
    """Texts word by word, each with `text`, `style` and `title`."""
    tiles: Sequence[Thumbnail] = ()
    notes: Sequence[str] = ()

    def html(self, *, titled: bool = True) -> str:
        """Return it as HTML without a head."""
        return render_page("hftransfer.base", "fragment.html.jinja", fragment=self, titled=titled).strip()

    def page(self) -> str:
        """Return it as a page of its own, light or dark as the browser is."""
        from markupsafe import Markup

        # What is in the fragment was escaped there.
        body = Markup(self.html(titled=False))  # noqa: S704
        return render_page("hftransfer.base", "sheet.html.jinja", title=self.title, body=body)
