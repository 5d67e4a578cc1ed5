"""Sides of a comparison, each run in turn in a process of its own, and what their figures come to."""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.environments import CannotRun, python_of
from benchmarks.processes import Finished, run_process

Settings = dict[str, Any]
Work = Callable[[Settings], dict[str, Any]]
SAME_ACCURACY = 0.01
_ALONE = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "PYTHONDONTWRITEBYTECODE": "",  # the warm-up leaves our byte code, as installing left that of packages
}
_NO_BF16 = "this processor has no bfloat16, which is then emulated"
_THREADS = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "RAYON", "TORCH", "VECLIB")


@dataclass(frozen=True)
class Measured:
    """What one run of a side took and found."""

    seconds: float
    peak_bytes: int
    anonymous_bytes: int
    accuracy: float | None = None
    predictions: list[Any] = field(default_factory=list)
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Goal:
    """A figure made of our run and another of the same pair, and what it should come to (None: it is only told)."""

    figure: str
    of: Callable[[Measured, Measured], float]
    wanted: float | None = None
    at_most: bool = False
    needs_accuracy: bool = False
    """Whether it counts only where our accuracy is no more than 0.01 below the rival's."""

    def reached(self, value: float, accuracy: float | None, theirs: float | None) -> bool | None:
        """Whether a median reaches what is wanted."""
        if self.wanted is None:
            return None
        lacking = 0.0 if accuracy is None or theirs is None else theirs - accuracy
        if self.needs_accuracy and lacking > SAME_ACCURACY + 1e-9:
            return False
        return value <= self.wanted if self.at_most else value >= self.wanted


def faster(times: float | None = None) -> Goal:
    """The rival's seconds divided by ours; `times` at least."""
    return Goal("rival ÷ us", lambda own, other: other.seconds / own.seconds, times, needs_accuracy=True)


@dataclass(frozen=True)
class Side:
    """One way to do the work, a function that is called in a process of its own."""

    name: str
    work: Work
    goals: tuple[Goal, ...] = ()
    settings: Settings = field(default_factory=dict)
    environment: str | None = None
    """A file of pins in rivals/, without its ending: the function runs where they are installed."""
    bf16: bool = False
    """Whether it computes in bfloat16: run once where that is emulated."""


@dataclass(frozen=True)
class Benchmark:
    """Sides that do the same work, ours first, and the settings they share."""

    name: str
    about: str
    sides: tuple[Side, ...]
    settings: Settings
    prepare: Work | None = None
    """Writes data and models for all sides, in a process of its own; what it returns is added to the settings."""
    warm_up: Settings = field(default_factory=dict)
    """What differs in the run of each side that goes before and does not count."""
    small: Settings | None = None
    """What differs in `make bench`; None: it is no part of it."""
    pairs: int = 5

    def goals(self) -> str:
        """All goals in a few words."""
        goals = [(side, goal) for side in self.sides for goal in side.goals if goal.wanted is not None]
        found = [f"{side.name}: {goal.figure} {told(goal)}" for side, goal in goals]
        return "; ".join(found) or "none"


def told(goal: Goal) -> str:
    """A goal in a few words."""
    return f"{'≤' if goal.at_most else '≥'} {goal.wanted:g}" if goal.wanted is not None else "–"


@dataclass
class Compared:
    """The runs of all sides by pair, and why some sides can't run."""

    benchmark: Benchmark
    settings: Settings
    pairs: int
    hardware: dict[str, Any]
    runs: dict[str, dict[int, Measured]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def ours(self) -> Side:
        """The side that all others are compared with."""
        return self.benchmark.sides[0]

    def once(self, side: Side) -> bool:
        """Whether a side runs in the first pair alone: it would take long and be slower than its neighbour."""
        return side.bf16 and not self.hardware.get("bf16", True)

    def note(self, side: Side) -> str:
        """What is to be said of a side's runs."""
        return f"run once: {_NO_BF16}" if self.once(side) and self.pairs > 1 else ""

    def figures(self, side: Side, goal: Goal) -> list[float]:
        """The figure of each pair in which both ran."""
        ours, theirs = self.runs[self.ours.name], self.runs[side.name]
        return [goal.of(ours[pair], theirs[pair]) for pair in sorted(ours.keys() & theirs.keys())]

    def accuracy(self, side: Side) -> float | None:
        """The median accuracy of a side."""
        found = [run.accuracy for run in self.runs[side.name].values() if run.accuracy is not None]
        return statistics.median(found) if found else None

    def same_predictions(self, side: Side) -> float | None:
        """The share of predictions that are those of our side in the same pair, at its lowest."""
        ours = self.runs[self.ours.name]
        shares = [
            sum(one == other for one, other in zip(ours[pair].predictions, run.predictions, strict=True))
            / len(run.predictions)
            for pair, run in self.runs[side.name].items()
            if run.predictions and pair in ours
        ]
        return min(shares, default=None)


def compare(
    benchmark: Benchmark,
    settings: Settings,
    pairs: int,
    threads: int,
    hardware: dict[str, Any],
    *,
    only: Sequence[str] = (),
    quick: bool = False,
    limit_seconds: float = 7200,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
) -> Compared:
    """The sides in turn, each pair of runs with a seed of its own, every second pair in reverse; one run of each goes
    before and does not count. A rival that fails is named with the reason and left out from there on. `quick` leaves
    out what would run once for the record alone.

    Raises:
        CannotRun: our side fails, or the preparation.
    """
    sides = [side for side in benchmark.sides if not only or side.name in only or side == benchmark.sides[0]]
    found = Compared(benchmark, settings, pairs, hardware, {side.name: {} for side in sides})
    if quick:
        found.failed = {side.name: f"not in the small set: {_NO_BF16}" for side in sides if found.once(side)}
    with tempfile.TemporaryDirectory() as kept:
        for pair in range(-1, pairs):
            shared = settings | (benchmark.warm_up if pair < 0 else {}) | {"threads": threads, "kept": kept}
            shared["seed"] = max(pair, 0)
            say(f"{benchmark.name}: {'warm-up' if pair < 0 else f'pair {pair + 1} of {pairs}'}")
            with tempfile.TemporaryDirectory() as folder:
                prepared: dict[str, Settings] = {}
                for side in sides[::-1] if pair % 2 == 1 and pair > 0 else sides:
                    if side.name in found.failed or (pair > 0 and found.once(side)):
                        continue
                    try:
                        own = _prepared(benchmark, shared | side.settings, Path(folder), prepared)
                        measured = run_side(side, own, threads, limit_seconds)
                    except CannotRun as error:
                        if side == benchmark.sides[0]:
                            raise
                        found.failed[side.name], found.runs[side.name] = str(error), {}
                        say(f"  {side.name}: {error}")
                        continue
                    say(f"  {side.name}: {measured.seconds:.2f} s")
                    if pair >= 0:
                        found.runs[side.name][pair] = measured
    return found


def _prepared(benchmark: Benchmark, settings: Settings, folder: Path, known: dict[str, Settings]) -> Settings:
    """The settings with what the preparation adds; it is done once for sides that differ in what it isn't told."""
    if benchmark.prepare is None:
        return settings
    told = {name: value for name, value in settings.items() if name in (*benchmark.settings, "seed", "kept")}
    key = json.dumps(told, sort_keys=True)
    if key not in known:
        own = folder / f"prepared-{len(known)}"
        own.mkdir()
        known[key], _ = run_work(benchmark.prepare, told | {"folder": str(own)}, settings["threads"])
    return settings | known[key]


def run_side(side: Side, settings: Settings, threads: int, limit_seconds: float) -> Measured:
    """What one run of a side took and found, with a cache and an output folder of its own.

    Raises:
        CannotRun: it fails, or takes too long.
    """
    with tempfile.TemporaryDirectory() as folder:
        caches = {"HFTRANSFER_CACHE": f"{folder}/cache", "HF_HOME": f"{folder}/hub"}
        own = settings | {"folder": folder}
        found, ended = run_work(side.work, own, threads, side.environment, caches, limit_seconds)
    if "cannot" in found:
        raise CannotRun(str(found["cannot"]))
    return Measured(
        seconds=found.pop("seconds", ended.seconds),
        peak_bytes=ended.peak_bytes,
        anonymous_bytes=ended.anonymous_bytes,
        accuracy=found.pop("accuracy", None),
        predictions=found.pop("predictions", []),
        more=found,
    )


def run_work(
    work: Work,
    settings: Settings,
    threads: int,
    environment: str | None = None,
    variables: Mapping[str, str] | None = None,
    limit_seconds: float = 7200,
) -> tuple[dict[str, Any], Finished]:
    """What a function returns in a process of its own, and what that took.

    Raises:
        CannotRun: it fails, or takes too long.
    """
    root = Path(__file__).resolve().parents[1]
    python = python_of(environment) if environment else sys.executable
    command = [python, "-m", "benchmarks.side", f"{work.__module__}:{work.__qualname__}", json.dumps(settings)]
    threaded = {f"{name}_NUM_THREADS": str(threads) for name in _THREADS}
    given = os.environ | threaded | _ALONE | {"PYTHONPATH": str(root)} | dict(variables or {})
    ended = run_process(command, given, root, limit_seconds)
    if ended.status:
        raise CannotRun(ended.reason)
    try:
        found: dict[str, Any] = json.loads(ended.output.splitlines()[-1])
    except (IndexError, ValueError):
        raise CannotRun("it ended without a result") from None
    return found, ended


def pin(threads: int) -> None:
    """Nothing; this process and those it starts run on so many cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def spread(values: Iterable[float]) -> tuple[float, float, float]:
    """Median, lowest and highest value."""
    found = sorted(values)
    return float(statistics.median(found)), found[0], found[-1]
