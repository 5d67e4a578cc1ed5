"""`train.refit`: validation chooses, and then its examples are trained on as well."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

import hftransfer as ht
from hftransfer.base.errors import HftransferError
from hftransfer.base.progress import Progress
from hftransfer.data.splits import Splits
from hftransfer.jobs import refit
from hftransfer.jobs.run import check, run
from hftransfer.jobs.session import Session
from hftransfer.training.probe import _in_words
from tests.builders import TinyModels, faults_of, missing_words
from tests.jobs.test_folds import ROWS

SILENT = Progress(None)
TRAIN, VALIDATION, TEST = ROWS[::3], ROWS[1::3], ROWS[2::3]
SPLITS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}


def fitted(model: Path, strategy: ht.LinearProbe | ht.FineTune | ht.LoRA, **more: Any) -> ht.Predictor:
    settings = {"precision": "fp32", "calibrate": False, **more}
    return ht.fit("text-classification", model=str(model), progress=SILENT, strategy=strategy, **settings)


def scores_of(model: ht.Predictor) -> np.ndarray:
    return np.array([list(one.scores.values()) for one in model.predict([row["text"] for row in TEST])])


def test_a_refitted_probe_is_solved_on_both_splits_with_the_strength_that_validation_chose(
    tiny: TinyModels,
) -> None:
    model = tiny("bert")
    once = fitted(model, ht.LinearProbe(), train=TRAIN, validation=VALIDATION, test=TEST)
    again = fitted(model, ht.LinearProbe(), train=TRAIN, validation=VALIDATION, test=TEST, refit=True)
    l2 = next(float(line) for line in _strengths(model))
    both = fitted(model, ht.LinearProbe(l2=l2), train=TRAIN + VALIDATION, validation=VALIDATION, test=TEST)
    np.testing.assert_allclose(scores_of(again), scores_of(both), atol=1e-5)  # the strength is shown in 6 digits
    assert np.abs(scores_of(again) - scores_of(once)).max() > 1e-4
    # Validation is told of the model that had not seen it; the test split of the one that is kept.
    assert again.metrics["validation"] == once.metrics["validation"]
    assert again.metrics["test"]["log_loss"] == pytest.approx(both.metrics["test"]["log_loss"], abs=1e-4)
    assert again.metrics["refit"] == {"examples": len(TRAIN) + len(VALIDATION)}
    # Of the second training, which learns the rows of validation, no score is told.
    solved = SimpleNamespace(l2=0.5, measure="validation log loss", measured=0.1)
    told = [_in_words(cast("Any", SimpleNamespace(taken=taken)), cast("Any", solved)) for taken in (None, object())]
    assert told == ["L2 strength 0.5, validation log loss 0.1000", "L2 strength 0.5"]


def _strengths(model: Path) -> list[str]:
    log = StringIO()
    told = Progress(log)
    ht.fit("text-classification", model=str(model), progress=told, precision="fp32", train=TRAIN, validation=VALIDATION)
    lines = log.getvalue().splitlines()
    return [line.split("L2 strength ")[1].split(",")[0] for line in lines if "L2 strength" in line]


def test_a_refitted_training_takes_the_epochs_that_validation_chose(
    tiny: TinyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[int, Any]] = []
    refitted = refit.refitted

    def watched(recipe: Any, splits: Splits, session: Session, train: refit.Train) -> Any:
        def seen(splits: Splits, taken: Any, own: Session) -> Any:
            learned = train(splits, taken, own)
            given.append((len(splits.train), taken or learned.made))
            return learned

        return refitted(recipe, splits, session, seen)

    monkeypatch.setattr(refit, "refitted", watched)
    told: list[str] = []
    model = fitted(
        tiny("bert"),
        ht.FineTune(),
        train=TRAIN,
        validation=VALIDATION,
        test=TEST,
        on_evaluate=lambda name, scores: told.append(name),
        epochs=3,
        refit=True,
    )
    (few, chosen), (all_rows, taken) = given
    assert (few, all_rows) == (len(TRAIN), len(TRAIN) + len(VALIDATION))
    assert (taken.epochs, taken.mean) == (chosen.epochs, chosen.mean)
    assert told[-1] == "test"
    assert told.count("test") == 1
    assert set(told) == {"test", "validation"}
    assert len(model.history) == 4  # with the start, of the first training alone


@pytest.mark.parametrize("strategy", ["linear-probe", "contrastive", "lora"])
def test_a_run_of_a_few_shots_learns_from_those_of_validation_too(
    tiny: TinyModels, tmp_path: Path, strategy: str
) -> None:
    recipe = {
        "task": "text-classification",
        "model": str(tiny("bert")),
        "data": {"source": "memory", "shots": 3},
        "strategy": strategy,
        "train": {"precision": "fp32", "epochs": 2 if strategy != "linear-probe" else None, "refit": True},
        "output": {"figures": False},
    }
    result = run(recipe, data=SPLITS, out=tmp_path / "run", progress=SILENT)
    assert result.metrics["refit"] == {"examples": 12}
    assert result.metrics["examples"]["train"] == 6
    model = ht.load(result.folder)
    accuracy = np.mean([model.predict(row["text"]).label == row["label"] for row in TEST])
    assert accuracy == pytest.approx(result.metrics["test"]["accuracy"])
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    assert not missing_words(page, ["12 examples of training and validation"])


@pytest.mark.parametrize("strategy", ["linear-probe", "lora"])
def test_a_refitted_run_is_of_the_data_that_others_of_the_same_splits_are_of(
    tiny: TinyModels, tmp_path: Path, strategy: str
) -> None:
    recipe = {
        "task": "text-classification",
        "model": str(tiny("bert")),
        "data": {"source": "memory"},
        "strategy": strategy,
        "output": {"figures": False},
    }
    prints, log = [], StringIO()
    for refit_too in (False, True):
        train = {"precision": "fp32", "refit": refit_too, "epochs": None if strategy == "linear-probe" else 1}
        told = run({**recipe, "train": train}, data=SPLITS, out=tmp_path / f"{refit_too}", progress=SILENT)
        resolved = ht.load_recipe(told.folder).recipe.resolved
        assert resolved is not None
        prints.append(resolved.data_fingerprint)
    assert prints[0] == prints[1]
    # Nor does the run that repeats it say that the data are others.
    run(tmp_path / "True" / "recipe.yaml", data=SPLITS, out=tmp_path / "again", progress=Progress(log))
    assert "differs" not in log.getvalue()


@pytest.mark.parametrize(
    ("task", "data", "words"),
    [
        ("text-classification", {"folds": 4}, ("train.refit", "data.folds")),
        ("text-generation", {}, ("train.refit", "text-generation")),
    ],
)
def test_refit_goes_with_one_split_and_tasks_that_can_train_without_validation(
    tiny: TinyModels, task: str, data: dict[str, Any], words: tuple[str, ...]
) -> None:
    recipe = {"task": task, "model": str(tiny("bert")), "data": {"source": "memory", **data}, "train": {"refit": True}}
    if task == "text-generation":
        recipe["strategy"] = "lora"
    with pytest.raises(HftransferError) as caught:
        check(recipe, data=ROWS)
    assert not missing_words(faults_of(caught), words)
