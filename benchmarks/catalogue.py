"""All that can be run, by name."""

from __future__ import annotations

from benchmarks import linear_probe

BENCHMARKS = {benchmark.name: benchmark for module in (linear_probe,) for benchmark in module.BENCHMARKS}

PROGRAMS = {
    "kill-resume": "runs killed at random moments and resumed, against one that was left alone, bit by bit",
    "pointing": "whether maps of what a model looks at point at the animal they name",
}
