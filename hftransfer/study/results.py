"""What a comparison comes to: the results of its cells, the arms that they make, and the whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hftransfer.metrics.metric import Metric
from hftransfer.study.cells import Cell
from hftransfer.study.statistics import Difference, Scores


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


@dataclass(frozen=True)
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

    @property
    def failed(self) -> list[CellResult]:
        """The cells that came to nothing."""
        return [result for result in self.results if result.error]
