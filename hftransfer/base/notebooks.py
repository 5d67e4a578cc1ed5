"""What a notebook shows of work that goes on: one output of a cell, which is drawn anew as the work goes on."""

from __future__ import annotations

import html
import sys
import threading
import time
import warnings
from typing import Protocol

from hftransfer.base.errors import printable

_LEAST_SECONDS = 0.1
_MOST_LINES = 200
_STYLE = "font-family: monospace; font-size: 0.9em; line-height: 1.4; white-space: pre-wrap; color: inherit"


class Handle(Protocol):
    """An output of a cell that can be replaced."""

    def update(self, obj: object) -> None:
        """Show something else in its place."""


class Displayed:
    """An output as plain text and as HTML: a notebook takes what it can show."""

    def __init__(self, text: str, page: str) -> None:
        self._text, self._page = text, page

    def __repr__(self) -> str:
        return self._text

    def _repr_html_(self) -> str:
        return self._page


class CellOutput:
    """The output of a cell with the lines that were told, and bars of the stages that go on.

    It goes to the cell itself and not to standard error, which notebooks colour as a fault.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._bars: dict[str, tuple[int, int]] = {}
        self._handle: Handle | None = None
        self._drawn = 0.0
        # Stages may go on in threads.
        self._one_at_a_time = threading.RLock()

    def line(self, text: str) -> None:
        """Tell one line, or several."""
        with self._one_at_a_time:
            self._lines += printable(text).split("\n")
            del self._lines[:-_MOST_LINES]
            self._draw()

    def bar(self, name: str, done: int, total: int) -> None:
        """Show how far a stage is."""
        with self._one_at_a_time:
            self._bars[name] = (done, total)
            self._draw(at_once=done == 0)

    def end(self, name: str, told: str) -> None:
        """Put a line in place of a stage's bar."""
        with self._one_at_a_time:
            self._bars.pop(name, None)
            self.line(told)

    def _draw(self, *, at_once: bool = True) -> None:
        now = time.monotonic()
        if not at_once and now - self._drawn < _LEAST_SECONDS:
            return
        self._drawn = now
        shown = self._shown()
        if self._handle is not None:
            self._handle.update(shown)
            return
        from IPython.display import display

        self._handle = display(shown, display_id=True)

    def _shown(self) -> Displayed:
        bars = [f"{name}: {done:,}/{total:,}" for name, (done, total) in self._bars.items()]
        drawn = [
            f'<div>{html.escape(printable(name))} <progress value="{done}" max="{total}"></progress>'
            f" {done:,}/{total:,}</div>"
            for name, (done, total) in self._bars.items()
        ]
        told = html.escape("\n".join(self._lines))
        return Displayed("\n".join([*self._lines, *bars]), f'<div style="{_STYLE}">{told}{"".join(drawn)}</div>')


def hush_tqdm() -> None:
    """In a notebook, import tqdm without its warning that ipywidgets are missing: we draw bars ourselves, and other
    libraries' bars are plain text then."""
    if "ipykernel" in sys.modules:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import tqdm.auto  # noqa: F401


def in_notebook() -> bool:
    """Return whether what is displayed goes to a notebook: the code runs in a kernel of Jupyter."""
    if "ipykernel" not in sys.modules or "IPython" not in sys.modules:  # nobody pays for them who has no notebook
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None
