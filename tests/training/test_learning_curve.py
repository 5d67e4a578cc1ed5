"""How good a probe is with fewer examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hftransfer as ht
from hftransfer.base.progress import Progress
from hftransfer.metrics.metric import Metric
from hftransfer.report.run_charts import learning_chart
from hftransfer.training.learning_curve import drawn_evenly
from tests.builders import TinyModels, recipe_for


def test_every_beginning_holds_the_classes_as_all_examples_do() -> None:
    targets = np.repeat([0, 1, 2], [80, 40, 8])
    order = drawn_evenly(targets, np.random.default_rng(0))
    assert sorted(order.tolist()) == list(range(128))
    for part in (16, 8, 4, 2):
        counts = np.bincount(targets[order[: 128 // part]], minlength=3)
        assert np.abs(counts - np.array([80, 40, 8]) / part).max() <= 1
    numbers = np.random.default_rng(1).normal(size=20)
    assert sorted(drawn_evenly(numbers, np.random.default_rng(0)).tolist()) == list(range(20))


def test_the_chart_tells_what_the_last_doubling_brought() -> None:
    metric = Metric("accuracy", is_share=True)
    chart = learning_chart([(25, [0.5, 0.7]), (50, [0.7, 0.7]), (100, [0.75])], metric)
    assert chart.note == "The last doubling of examples: +5.0 points"
    assert list(chart.series[0].y) == [0.6, 0.7, 0.75]
    assert chart.series[0].ends == ([0.5, 0.7, 0.75], [0.7, 0.7, 0.75])


@pytest.mark.parametrize("task", ["text-classification", "text-regression"])
def test_the_page_of_a_probe_has_its_curve(task: str, tiny: TinyModels, tmp_path: Path) -> None:
    words = ("bad", "dull", "fine", "good")
    rows = [(f"the film was {words[n % 4]} {n % 3}", n % 4 if "regr" in task else words[n % 4]) for n in range(120)]
    recipe = recipe_for(tiny("bert"), "memory") | {"task": task, "output": {"figures": False}}
    page = ht.run(recipe, data=rows, out=tmp_path / "run", progress=Progress(None)).report.read_text()
    assert "Learning curve" in page
    assert "The last doubling of examples:" in page
