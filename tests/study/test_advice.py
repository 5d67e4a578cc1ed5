"""What a comparison advises: never an arm that is not shown to be about as good; p and interval are one test."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import permutation_test

from hftransfer.auditing.duplicates import Named
from hftransfer.auditing.examine import LEAST_CLOSELY, LEAST_QUICKLY, Subject, examine
from hftransfer.base.progress import Progress
from hftransfer.data.rows import Row, TextContent
from hftransfer.data.texts import TEXTS
from hftransfer.jobs import evaluation
from hftransfer.predictors import load as reload
from hftransfer.recipe import load_recipe
from hftransfer.study.results import Arm
from hftransfer.study.statistics import SignFlips, differences, examples_needed
from hftransfer.study.study import compare
from hftransfer.study.words import advice_on
from hftransfer.tasks.image_classification import ImageClassification
from tests.builders import WORDS, TinyModels, picture, recipe_for


def _arm(name: str, scores: dict[str, float], seconds: float) -> Arm:
    score = float(np.mean(list(scores.values())))
    return Arm(name, "m", name, "all", score, None, False, seconds, 10, ())


def _advice(arms: dict[str, tuple[float, list[int]]], margin: float = 0.01) -> str:
    """The advice on arms given as seconds, and right (1) or wrong (0) of each test example."""
    scores = {name: {str(place): float(one) for place, one in enumerate(own)} for name, (_, own) in arms.items()}
    listed = sorted((_arm(name, scores[name], seconds) for name, (seconds, _) in arms.items()), key=lambda a: -a.score)
    return advice_on(listed, differences({arm.name: {0: scores[arm.name]} for arm in listed}), margin)


def test_of_twelve_test_photos_the_arm_that_is_42_points_worse_is_not_advised_since_it_is_cheap() -> None:
    said = _advice({"lora:8": (90.0, [1] * 12), "linear-probe": (5.0, [1] * 7 + [0] * 5)})
    assert said.startswith("12 test examples are too few to advise; the best so far is LoRA of rank 8: 1.0000")
    assert "Take" not in said


def test_few_examples_suffice_where_the_difference_is_sure() -> None:
    said = _advice({"lora:8": (90.0, [1] * 12), "linear-probe": (5.0, [1] * 2 + [0] * 10)})
    assert said.startswith("Take LoRA of rank 8: 1.0000")


def test_a_cheaper_arm_is_advised_only_where_it_is_shown_to_lose_less_than_the_margin() -> None:
    alike = [1] * 1999 + [0]
    shown = _advice({"lora:8": (90.0, alike), "linear-probe": (5.0, [0, *alike[1:]])})
    assert shown.startswith("Take the linear probe")
    assert "worse than the best mean by less than 1 point, if at all" in shown
    some = [1] * 950 + [0] * 50
    other = [0] * 45 + [1] * 905 + [1] * 35 + [0] * 15  # a point worse, and p far from 0.05
    unsure = _advice({"lora:8": (90.0, some), "linear-probe": (5.0, other)})
    assert unsure.startswith("Take LoRA of rank 8")
    assert "The linear probe costs less, but was not shown to be worse by less than 1 point." in unsure
    assert _advice({"lora:8": (90.0, some), "linear-probe": (5.0, other)}, 0.05).startswith("Take the linear probe")


def test_equal_answers_to_few_examples_show_nothing() -> None:
    assert examples_needed(0.01) == 299  # 0.99 ** 299 < 0.05 <= 0.99 ** 298
    said = _advice({"lora:8": (90.0, [1] * 20), "linear-probe": (5.0, [1] * 20)})
    assert said.startswith("20 test examples are too few to advise")


@pytest.mark.parametrize(("number", "seed"), [(7, 0), (11, 1), (40, 2)])
def test_p_is_that_of_the_permutation_test_of_scipy_also_at_the_ends_of_the_interval(number: int, seed: int) -> None:
    gaps = np.round(np.random.default_rng(seed).normal(0.1, 0.3, number), 3)
    test = SignFlips(gaps)

    def oracle(mean: float) -> float:
        given = (gaps - mean, np.zeros(number))
        found = permutation_test(
            given,
            lambda one, two, axis: np.mean(one - two, axis=axis),
            permutation_type="samples",
            n_resamples=9999,
            vectorized=True,
            rng=np.random.default_rng(1),
        )
        return float(found.pvalue)

    tolerance = 1e-9 if number < 13 else 0.02  # all draws, or some of them
    low, high = test.interval(0.05)
    for mean in (0.0, gaps.mean(), low - 1e-6, low + 1e-6, high - 1e-6, high + 1e-6):
        assert test.p_of(mean) == pytest.approx(oracle(mean), abs=tolerance)
    if number < 13:
        assert oracle(low - 1e-6) < 0.05 <= oracle(low + 1e-6)
        assert oracle(high + 1e-6) < 0.05 <= oracle(high - 1e-6)


def test_an_interval_leaves_out_zero_exactly_where_the_corrected_p_is_below_five_percent() -> None:
    random, real = np.random.default_rng(3), 0
    for number in (5, 6, 8, 12, 30, 80):
        for _ in range(6):
            shares = random.choice([0.5, 0.7, 0.95], 3)
            arms = {
                n: {0: {str(i): float(random.random() < s) for i in range(number)}}
                for n, s in zip("abc", shares, strict=True)
            }
            for d in differences(arms):
                low, high = d.interval
                assert (d.holm_p < 0.05) == (not low <= 0 <= high), d
                assert low - 1e-9 <= d.mean <= high + 1e-9
                real += d.is_real
    assert real > 5


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    random, held = np.random.default_rng(4), 0
    for _ in range(60):
        gaps = (random.random(60) < 0.8).astype(float) - (random.random(60) < 0.7)
        low, high = SignFlips(gaps).interval(0.05)
        held += low <= 0.1 <= high
    assert held >= 53


def test_the_margin_is_a_setting() -> None:
    document = {"task": "image-classification", "model": "m", "data": "d", "compare": {"margin_points": 2.5}}
    compared = load_recipe(document).recipe.compare
    assert compared is not None
    assert compared.margin_points == 2.5


def test_each_strategy_is_warmed_up_once_before_the_first_run_and_leaves_nothing(
    tiny: TinyModels, tmp_path: Path, without_figures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    warmed: list[Any] = []
    made_up = ImageClassification.made_up

    def noting(task: ImageClassification, count: int) -> list[Any]:
        warmed.append(task.name)
        return made_up(task, count)

    monkeypatch.setattr(ImageClassification, "made_up", noting)
    given = [(picture(color, seed), color) for color in ("red", "blue") for seed in range(12)]
    asked: dict[str, Any] = {"strategies": ["linear-probe"], "seeds": [0, 1], "data": given}
    study = compare(recipe_for(tiny("resnet"), "memory"), out=tmp_path / "c", progress=Progress(None), **asked)
    assert warmed == ["image-classification"]
    assert sorted(path.name for path in (study.folder / "cells").iterdir()) == [
        "linear-probe-tiny-resnet-seed0",
        "linear-probe-tiny-resnet-seed1",
    ]


# --- the page of a run, its audit, and its evaluation ----------------------------------------------------------------


def test_labels_are_judged_alike_however_closely_duplicates_are_looked_for() -> None:
    """Twins whose features lie 0.6 apart are found by the closer look alone."""
    random, numbers = np.random.default_rng(0), 60
    words = [" ".join(random.choice(WORDS, 12)) for _ in range(numbers)]
    texts = [*words, *(f"{text} indeed" for text in words)]
    labels = np.tile(random.integers(0, 2, numbers), 2)
    first = random.normal(size=(numbers, 16)) + 1.2 * labels[:numbers, None]
    features = np.concatenate([first, 0.6 * first + 0.8 * random.normal(size=first.shape)]).astype(np.float32)
    wrong = labels.copy()
    wrong[::11] = 1 - wrong[::11]
    wrong[numbers:] = wrong[:numbers]
    rows = [
        Row(str(place), TextContent(text), str(label))
        for place, (text, label) in enumerate(zip(texts, wrong, strict=True))
    ]
    named = [Named("train", row.id, row.target) for row in rows]
    digests = [text.encode() for text in texts]
    found = [
        examine(Subject(TEXTS, rows, named, digests, wrong, ("0", "1"), {"train": [1, 1]}, features), 0, least=least)
        for least in (LEAST_CLOSELY, LEAST_QUICKLY)
    ]
    assert len(found[0].of("duplicate")) > len(found[1].of("duplicate"))
    assert found[0].of("label")
    assert found[0].of("label") == found[1].of("label")


def test_a_run_is_evaluated_in_its_own_precision(
    finished: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []
    own = reload.load

    def noting(model: str, precision: Any, base: str | None) -> Any:
        asked.append(precision)
        return own(model, precision="fp32", base=base)

    monkeypatch.setattr("hftransfer.jobs.evaluation.load", noting)
    folder = tmp_path / "run"
    shutil.copytree(finished("resnet").folder, folder)
    for precision, given in (("fp32", None), ("bf16", None), ("fp16", None), ("bf16", "fp32")):
        found = json.loads((folder / "environment.json").read_text())
        (folder / "environment.json").write_text(json.dumps(found | {"precision": precision}))
        evaluation.evaluate_model(str(folder), None, precision=given, progress=Progress(None))  # type: ignore[arg-type]
    assert asked == ["fp32", "bf16", "auto", "fp32"]
