"""What a comparison comes to: the results of its cells, the arms that they make, and the whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hftransfer.base.errors import counted
from hftransfer.base.html import Fragment, Thumbnail, small_uri
from hftransfer.base.runs import COMPARISON
from hftransfer.metrics.metric import Metric, metric_words
from hftransfer.study.cells import Cell
from hftransfer.study.statistics import Difference, Scores
from hftransfer.tasks.shown import Chance


@dataclass(frozen=True)
class CellResult:
    """The result of one cell: its score on the test split, or why it failed."""

    cell: Cell
    folder: Path
    score: float | None = None
    interval: tuple[float, float] | None = None
    """Of the score, over the test examples."""
    seconds: float = 0.0
    activations_seconds: float = 0.0
    """Of these, for what the frozen part computes; little where it was kept from another run."""
    trainable: int = 0
    scores: Scores | None = None
    data_fingerprint: str = ""
    metric: Metric | None = None
    """What the score is."""
    chance: Chance | None = None
    """What the best constant answer reaches by it."""
    error: str = ""


@dataclass(frozen=True)
class Arm:
    """One strategy of one model with one number of shots, over all seeds that finished."""

    name: str
    model: str
    strategy: str
    shots: int | str
    score: float
    interval: tuple[float, float] | None
    """95 %: over seeds, or over test examples where there is one seed."""
    over_seeds: bool
    seconds: float
    """The median over seeds, as of a run that finds nothing kept of what the frozen part computes."""
    trainable: int
    results: tuple[CellResult, ...]

    def row(self) -> list[str]:
        """Return it as a row of a table: name, score, interval, seconds, trained parameters, seeds."""
        low, high = self.interval or (self.score, self.score)
        shots = "" if self.shots == "all" else f", {self.shots} {'shot' if self.shots == 1 else 'shots'}"
        interval, seconds = f"{low:.4f} to {high:.4f}", f"{self.seconds:.1f}"
        return [
            self.name + shots,
            f"{self.score:.4f}",
            interval,
            seconds,
            f"{self.trainable:,}",
            str(len(self.results)),
        ]


@dataclass(frozen=True, repr=False)
class Study:
    """The results of a comparison, and the folder they lie in."""

    folder: Path
    title: str
    metric: str
    results: list[CellResult]
    arms: list[Arm]
    """Best first; of the most shots alone where there are several."""
    differences: list[Difference]
    """Of each pair of these arms."""
    curve: list[Arm]
    """Arms of every number of shots, where there are several."""
    advice: str
    missing: int = 0
    """How many cells an interrupted comparison did not come to."""
    notes: tuple[str, ...] = ()
    """What a reader has to know besides: runs that could not be paired."""

    def __repr__(self) -> str:
        scores = ", ".join(f"{arm.name} {arm.score:.4f}" for arm in self.arms[:4])
        failed = f"; {len(self.failed)} failed" if self.failed else ""
        told = f"{metric_words(self.metric)}: {scores or 'none'}; {counted(len(self.results), 'run')}{failed}"
        return f"Study({told}, {str(self.folder)!r})"

    @property
    def table(self) -> list[list[str]]:
        """The arms as a table, under a row that names the columns; of a curve those of every number of shots."""
        head = ["strategy", metric_words(self.metric), "95 % interval", "seconds", "trained parameters", "seeds"]
        return [head, *(arm.row() for arm in self.curve or self.arms)]

    @property
    def report(self) -> Path:
        """The page of the comparison: one file that needs nothing beside it."""
        return self.folder / COMPARISON

    def _repr_html_(self) -> str:
        failed = [f"Failed: {one.cell.name}: {one.error.partition(chr(10))[0]}" for one in self.failed]
        picture = self._repr_png_()
        tiles = [Thumbnail(small_uri(picture), wide=True)] if picture is not None else []
        notes = [*self.notes, *failed, f"{self.folder}: {COMPARISON} is the whole page."]
        return Fragment(self.title, [self.advice], self.table, tiles=tiles, notes=notes).html()

    def _repr_png_(self) -> bytes | None:
        """Return the score against what it costs, or of a curve against shots; None where nothing was drawn."""
        file = self.folder / "figures" / ("shots.png" if self.curve else "seconds.png")
        return file.read_bytes() if file.is_file() else None

    @property
    def failed(self) -> list[CellResult]:
        """The cells that came to nothing."""
        return [result for result in self.results if result.error]
