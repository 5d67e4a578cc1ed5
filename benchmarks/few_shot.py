"""A few sentences of each class to learn from: contrastive fine-tuning against SetFit, each pair with another draw.

Ours chooses its L2 strength by a few further examples; SetFit trains on those too, so that both see the same labels.
With `--strategy linear-probe` nothing but a head learns on our side.
"""

from __future__ import annotations

from typing import Any

from benchmarks import data, ours
from benchmarks.harness import Benchmark, Goal, Side, faster
from benchmarks.rivals import setfit


def ours_trained(settings: dict[str, Any]) -> dict[str, Any]:
    """Our side."""
    from hftransfer.strategies import strategy_of

    if settings["strategy"] != "contrastive":
        return ours.trained(settings, "text-classification", strategy_of(settings["strategy"]), cache="off")
    strategy = {"kind": "fine-tune", "objective": "contrastive"}
    return ours.trained(settings, "text-classification", strategy, batch_size=settings["batch_size"])


def _better(wanted: float | None) -> Goal:
    return Goal("accuracy gained", lambda own, other: (own.accuracy or 0) - (other.accuracy or 0), wanted)


def _benchmark(shots: int) -> Benchmark:
    """A goal where there are 16 or more: better accuracy in less time."""
    goals = (faster(1), _better(0.001)) if shots >= 16 else (faster(), _better(None))
    return Benchmark(
        name=f"few-shot-{shots}",
        about=f"{shots} sentences of each class to learn from",
        sides=(
            Side("ours", ours_trained),
            Side("SetFit", setfit.trained, goals, environment="setfit"),
        ),
        settings={
            "data": data.SENTENCES,
            "model": data.TEXT_MODEL,
            "strategy": "contrastive",
            "batch_size": 16,
            "rows": 0,
            "shots": shots,
        },
        prepare=data.sentences,
        warm_up={"rows": 20, "shots": 4},
    )


BENCHMARKS = tuple(_benchmark(shots) for shots in (8, 16, 64))
