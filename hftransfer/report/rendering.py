"""Names and texts of people put on pages: shown, and never obeyed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hftransfer.base.errors import printable

_STRONGEST = 0.5
"""How much of a colour lies under the strongest word: what stands on it can still be read, light and dark."""


@dataclass(frozen=True)
class Marked:
    """A part of a text as it stands on a page."""

    text: str
    weight: float | None = None
    """How much it speaks for something, below 0 against it; None: not weighed."""
    is_read: bool = True
    """Whether the model read it."""
    divides: bool = False
    """Whether it stands between two texts, and is none itself."""


def marked_words(words: Sequence[Marked]) -> list[dict[str, str]]:
    """Return each word with its style and title: green speaks for the label, red against it, what was not read is
    pale."""
    # One scale for all words: the strongest gets the full colour.
    most = max((abs(word.weight) for word in words if word.weight is not None), default=0.0) or 1.0
    return [{"text": word.text, **_mark(word, most), "divides": "yes" if word.divides else ""} for word in words]


def _mark(word: Marked, most: float) -> dict[str, str]:
    if not word.is_read:
        return {"style": "text-decoration: line-through; color: var(--quiet, inherit)", "title": "not read"}
    if word.weight is None:
        return {"style": "", "title": ""}
    color = "42, 127, 98" if word.weight >= 0 else "192, 57, 43"
    return {
        "style": f"background: rgba({color}, {_STRONGEST * abs(word.weight) / most:.2f})",
        "title": f"{word.weight:+.3f}",
    }


DIVIDER = Marked("", divides=True)
"""What stands between the two texts of a pair."""


def sentence(text: str) -> str:
    """Return a text that begins as sentences do, unless it begins with a name in lower case."""
    first = text.split(maxsplit=1)[0] if text.strip() else ""
    return text[:1].upper() + text[1:] if first.rstrip(",:;").isalpha() else text


def plain_text(text: str) -> str:
    """Return a text as it can stand in Markdown: one line that steers nothing, no HTML, no backticks, no end of a
    table's cell."""
    cleaned = printable(" ".join(text.split()))
    for sign in "`<>|":
        cleaned = cleaned.replace(sign, "")
    return cleaned
