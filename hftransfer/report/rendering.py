"""Names and texts of people put on pages: shown, and never obeyed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hftransfer.base.errors import printable


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
