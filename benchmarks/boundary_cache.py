"""What keeping activations at the freeze boundary gives: our own run with and without."""

from __future__ import annotations

from benchmarks import fine_tune
from benchmarks.harness import Benchmark, Side, faster

_LAST_STAGES = fine_tune.BENCHMARKS[0]

BENCHMARKS = (
    Benchmark(
        name="boundary-cache",
        about="the last 2 stages fine-tuned, their activations kept, against computed anew in every epoch",
        sides=(
            Side("ours, activations kept", fine_tune.stepped, (), {"cache": "on"}),
            Side("ours, computed anew", fine_tune.stepped, (faster(),), {"cache": "off"}),
        ),
        settings=_LAST_STAGES.settings,
        prepare=fine_tune.prepare,
        warm_up=_LAST_STAGES.warm_up,
    ),
)
