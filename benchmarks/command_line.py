"""How long a command takes from the shell's prompt and back: ours beside the help of `transformers`.

Every run is a process of its own, started five times; the median counts.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import Any

from benchmarks.harness import Benchmark, Side, faster


def ours(settings: dict[str, Any]) -> dict[str, Any]:
    """Our command."""
    return _timed(["hftransfer", *settings["command"].split()])


def transformers_help(settings: dict[str, Any]) -> dict[str, Any]:
    """The help of transformers' command."""
    del settings
    return _timed(["transformers.cli.transformers", "--help"])


def _timed(command: list[str]) -> dict[str, Any]:
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", *command], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - began)
    return {"seconds": statistics.median(seconds), "all_seconds": seconds}


def _benchmark(name: str, command: str, small: bool = False) -> Benchmark:
    return Benchmark(
        name=name,
        about=f"`hftransfer {command}` beside the help of transformers' command",
        sides=(Side("ours", ours), Side("transformers --help", transformers_help, (faster(10),))),
        settings={"command": command},
        small={} if small else None,
    )


BENCHMARKS = (
    _benchmark("help", "--help", small=True),
    _benchmark("check", "check short_reviews_linear_probe"),
    _benchmark("show", "show short_reviews_linear_probe"),
)
