"""Ten and a hundred times the photos: whether time grows as they do, and memory does not.

Every copy has bytes of its own, so that nothing is found in the store. Memory is that without mapped files.
"""

from __future__ import annotations

import math
from typing import Any

from benchmarks import data
from benchmarks.harness import Benchmark, Goal, Measured, Side
from benchmarks.linear_probe import our_photos


def _goals(times: int) -> tuple[Goal, Goal]:
    def exponent(once: Measured, many: Measured) -> float:
        return math.log(many.seconds / once.seconds) / math.log(times)

    def memory(once: Measured, many: Measured) -> float:
        return many.anonymous_bytes / max(once.anonymous_bytes, 1)

    return Goal("exponent of time", exponent, 1.02, at_most=True), Goal("memory", memory, 1.1, at_most=True)


def _side(times: int) -> Side:
    return Side(f"ours, {times} times the photos", our_photos, _goals(times), {"times": times})


def _benchmark(name: str, most: int, rows: int, pairs: int, small: dict[str, Any] | None) -> Benchmark:
    return Benchmark(
        name=name,
        about=f"a linear probe on up to {most} times the photos",
        sides=(Side("ours, the photos once", our_photos), *(_side(times) for times in (10, 100) if times <= most)),
        settings={"data": data.PHOTOS, "model": data.IMAGE_MODEL, "rows": rows, "times": 1},
        prepare=data.photos,
        warm_up={"rows": 10},
        small=small,
        pairs=pairs,
    )


BENCHMARKS = (
    _benchmark("growth", 10, 0, 3, {"rows": 20}),
    _benchmark("growth-100", 100, 100, 1, None),
)
