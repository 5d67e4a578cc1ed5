"""What a person sees while a run goes on: one bar per stage, plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from hftransfer.base.errors import printable
from hftransfer.base.notebooks import CellOutput, in_notebook

Advance = Callable[[int], None]
_COLOR, _PLAIN = "\033[1;32m", "\033[0m"


class Progress:
    """Tells a person how far a run is, on standard error, and keeps the same lines in a log file. In a notebook the
    cell itself shows it, once.

    `Progress(stream=None)` is silent (the log is still kept).
    """

    def __init__(self, stream: IO[str] | None = sys.stderr) -> None:
        self.stream = stream
        self.cell = CellOutput() if stream is sys.stderr and in_notebook() else None
        self.log: Path | None = None
        self._early: list[str] = []

    def write_log(self, path: Path) -> None:
        """Keep all lines, those told before too, at the end of the file `path`."""
        with path.open("a", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in self._early)
        self._early.clear()
        self.log = path

    def move_log(self, path: Path) -> None:
        """Put the log so far into the file `path`, where it goes on."""
        if self.log is not None:
            # Moved, and not copied: the log stands in one place at a time.
            self.log.replace(path)
        self.write_log(path)

    def end_log(self) -> None:
        """Close the log: what is told from here on is no part of it."""
        self.log = None

    def note(self, text: str) -> None:
        """Keep a line in the log that a person is told in another way."""
        self._keep(text)

    def line(self, text: str) -> None:
        """Tell one line (or several, broken by newlines)."""
        self._keep(text)
        if self.cell is not None:
            self.cell.line(text)
        elif self.stream is not None:
            print(printable(text), file=self.stream, flush=True)

    def parts(self, before: str, parts: Sequence[tuple[str, bool]]) -> None:
        """Tell a text in parts, some of which are marked: in colour on a terminal, in brackets elsewhere."""
        plain = before + "".join(f"[{text}]" if marked else text for text, marked in parts)
        self._keep(plain)
        if self.cell is not None:
            self.cell.line(plain)
        if self.stream is None or self.cell is not None:
            return
        start, end = (_COLOR, _PLAIN) if self.stream.isatty() else ("[", "]")
        shown = [f"{start}{printable(text)}{end}" if marked else printable(text) for text, marked in parts]
        print(printable(before) + "".join(shown), file=self.stream, flush=True)

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Advance]:
        """Show a stage of `total` steps: call what it gives with the number of steps just done."""
        started = time.perf_counter()
        if self.cell is not None:
            yield self._in_cell(self.cell, name, total)
        elif self.stream is not None and self.stream.isatty() and total > 0:
            with self._bar(name, total) as advance:
                yield advance
        else:
            yield self._plain(name, total)
        told = f"{name}: {total} in {time.perf_counter() - started:.1f} s"
        if self.cell is not None:
            self.cell.end(name, told)
        self._keep(told)

    def _in_cell(self, cell: CellOutput, name: str, total: int) -> Advance:
        done = 0
        cell.bar(name, done, total)

        def advance(steps: int) -> None:
            nonlocal done
            done += steps
            cell.bar(name, done, total)

        return advance

    @contextmanager
    def _bar(self, name: str, total: int) -> Iterator[Advance]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with RichProgress(*columns, console=Console(file=self.stream)) as bars:
            bar = bars.add_task(name, total=total)
            yield lambda steps: bars.advance(bar, steps)

    def _plain(self, name: str, total: int) -> Advance:
        """Print lines at the start, at most every 10 seconds, and at the end."""
        done, last = 0, time.perf_counter()

        def advance(steps: int) -> None:
            nonlocal done, last
            done += steps
            now = time.perf_counter()
            if self.stream is not None and steps and (done >= total or now - last > 10):
                last = now
                print(f"{name}: {done}/{total}", file=self.stream, flush=True)

        return advance

    def aside(self) -> Progress:
        """Return one for work that keeps a log of its own: it shows how far its stages are, and tells no lines."""
        aside = _Aside(self.stream if self.stream is not None and self.stream.isatty() else None)
        aside.cell = self.cell
        return aside

    def in_background(self) -> Progress:
        """Return one that keeps its lines in this one's log alone, and shows how far its stages are."""
        return _Background(self)

    def _keep(self, text: str) -> None:
        stamped = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {printable(text)}"
        if self.log is None:
            # The run folder is made after the first lines are told.
            self._early.append(stamped)
        else:
            with self.log.open("a", encoding="utf-8") as file:
                file.write(stamped + "\n")


class _Background(Progress):
    def __init__(self, above: Progress) -> None:
        super().__init__(above.stream if above.stream is not None and above.stream.isatty() else None)
        self.above = above

    def line(self, text: str) -> None:
        self.above.note(text)

    def _keep(self, text: str) -> None:
        self.above.note(text)


class _Aside(Progress):
    """Shows stages; lines go to its log alone."""

    def line(self, text: str) -> None:
        self._keep(text)
