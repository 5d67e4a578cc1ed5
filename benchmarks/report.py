"""What a comparison came to, as JSON and as a Markdown table that can be quoted."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from benchmarks.hardware import in_words
from benchmarks.harness import Compared, Side, spread, told

_HEAD = (
    "| side | seconds | peak memory | accuracy | figure | goal | reached |\n| --- | --- | --- | --- | --- | --- | --- |"
)


def summary(found: Compared) -> dict[str, Any]:
    """All figures of a comparison, as they stand in its JSON file."""
    return {
        "benchmark": found.benchmark.name,
        "about": found.benchmark.about,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "hardware": found.hardware,
        "hardware_class": in_words(found.hardware),
        "settings": {name: _shown(value) for name, value in found.settings.items()},
        "pairs": found.pairs,
        "sides": [_side(found, side) for side in found.benchmark.sides if side.name in found.runs],
    }


def _side(found: Compared, side: Side) -> dict[str, Any]:
    runs = found.runs[side.name]
    if not runs:
        return {"side": side.name, "cannot_run": found.failed.get(side.name, "it was not run")}
    accuracy = found.accuracy(side)
    figures = []
    for goal in side.goals:
        median, low, high = spread(found.figures(side, goal))
        reached = goal.reached(median, found.accuracy(found.ours), accuracy)
        figures.append(
            {"figure": goal.figure, "median": median, "low": low, "high": high, "goal": told(goal), "reached": reached}
        )
    median, low, high = spread(run.seconds for run in runs.values())
    return {
        "side": side.name,
        "seconds": {"median": median, "low": low, "high": high},
        "peak_memory_bytes": spread(run.peak_bytes for run in runs.values())[0],
        "accuracy": accuracy,
        "same_predictions": found.same_predictions(side) if side != found.ours else None,
        "figures": figures,
        "note": found.note(side),
        "runs": [
            {
                "pair": pair,
                "seconds": run.seconds,
                "peak_memory_bytes": run.peak_bytes,
                "anonymous_memory_bytes": run.anonymous_bytes,
                "accuracy": run.accuracy,
                **run.more,
            }
            for pair, run in sorted(runs.items())
        ],
    }


def table(found: dict[str, Any]) -> str:
    """The Markdown of a comparison."""
    pairs = "1 pair" if found["pairs"] == 1 else f"{found['pairs']} interleaved pairs"
    told_settings = ", ".join(f"{name} {value}" for name, value in found["settings"].items())
    lines = [
        f"### {found['benchmark']}: {found['about']}",
        "",
        f"{found['date']}, {found['hardware_class']}; {pairs}, median (lowest to highest); {told_settings}.",
        "",
        _HEAD,
    ]
    for side in found["sides"]:
        if "cannot_run" in side:
            lines.append(f"| {side['side']} | did not run: {side['cannot_run'].replace('|', '/')} | | | | | |")
            continue
        name = side["side"] + (f" ({side['note']})" if side["note"] else "")
        figures = side["figures"] or [None]
        for place, figure in enumerate(figures):
            own = [name, _of_three(side["seconds"]), f"{side['peak_memory_bytes'] / 2**30:.2f} GiB", _accuracy(side)]
            lines.append(f"| {' | '.join((own if place == 0 else [''] * 4) + _figure(figure))} |")
    return "\n".join(lines) + "\n"


def _figure(figure: dict[str, Any] | None) -> list[str]:
    if figure is None:
        return ["", "", ""]
    reached = {None: "", True: "yes", False: "no"}[figure["reached"]]
    return [f"{figure['figure']}: {_of_three(figure)}", figure["goal"], reached]


def _accuracy(side: dict[str, Any]) -> str:
    same = side["same_predictions"]
    parts = [] if side["accuracy"] is None else [f"{side['accuracy']:.3f}"]
    parts += [] if same is None else [f"{same:.1%} predicted as ours"]
    return ", ".join(parts)


def _of_three(found: dict[str, float]) -> str:
    median, low, high = (f"{found[name]:.{3 if abs(found[name]) < 1000 else 4}g}" for name in ("median", "low", "high"))
    return median if low == high else f"{median} ({low} to {high})"


def _shown(value: Any) -> Any:
    """A setting without the folders of this machine."""
    return Path(value).name if isinstance(value, str) and value.startswith(("/", "~", ".")) else value


def write(found: Compared, folder: Path) -> str:
    """The Markdown of a comparison, which lies then in the folder beside its JSON; and the page of all that lie there
    is written anew."""
    folder.mkdir(parents=True, exist_ok=True)
    content = summary(found)
    (folder / f"{found.benchmark.name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    files = sorted(folder.glob("*.json"))
    tables = [table(json.loads(file.read_text(encoding="utf-8"))) for file in files]
    (folder / "README.md").write_text("\n".join(tables), encoding="utf-8")
    text = table(content)
    (folder / f"{found.benchmark.name}.md").write_text(text, encoding="utf-8")
    return text
