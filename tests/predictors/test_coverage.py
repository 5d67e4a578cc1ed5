"""Calibrated models and sets of labels: in the head itself, accuracy untouched, and told on the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import hftransfer as ht
from hftransfer.base.errors import RecipeError
from hftransfer.metrics.calibration import needed_for
from tests.builders import TinyModels
from tests.predictors.builders import SILENT, call


def noisy(count: int, seed: int) -> list[tuple[str, str]]:
    """Texts of two kinds, every fifth with the other kind's label."""
    random = np.random.default_rng(seed)
    words = {"pos": ("good", "great", "fine", "lovely"), "neg": ("bad", "awful", "dull", "poor")}
    rows = []
    for number in range(count):
        kind = ("pos", "neg")[number % 2]
        label = kind if random.random() > 0.2 else {"pos": "neg", "neg": "pos"}[kind]
        rows.append((f"the film was {random.choice(words[kind])}", label))
    return rows


@pytest.fixture(scope="module")
def fitted(tiny):
    """Two models that smoothed labels made too unsure, without and with a temperature (which is given here)."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hftransfer.training.temperature.temperature_of", lambda logits, labels: 0.5)
        found += [_fitted(tiny, calibrate=calibrate) for calibrate in (False, True)]
    return found


def _fitted(tiny: TinyModels, *, calibrate: bool) -> ht.Predictor:
    return ht.fit(
        "text-classification",
        model=str(tiny("bert")),
        train=noisy(80, 0),
        validation=noisy(80, 1),
        test=noisy(80, 2),
        strategy={"kind": "fine-tune", "learning_rate": 0.003, "head_init": "random"},
        progress=SILENT,
        epochs=3,
        label_smoothing=0.7,
        calibrate=calibrate,
    )


def test_a_temperature_in_the_head_changes_log_loss_and_no_label(fitted):
    plain, calibrated = fitted
    temperature = calibrated.metrics["temperature"]
    assert "temperature" not in plain.metrics
    for before, after in zip(plain.source.head.parameters(), calibrated.source.head.parameters(), strict=True):
        torch.testing.assert_close(after * temperature, before)
    for split in ("validation", "test"):
        assert calibrated.metrics[split]["accuracy"] == plain.metrics[split]["accuracy"]
        assert calibrated.metrics[split]["confusion_matrix"] == plain.metrics[split]["confusion_matrix"]
    assert calibrated.metrics["validation"]["log_loss"] != plain.metrics["validation"]["log_loss"]
    texts = [text for text, _ in noisy(8, 2)]
    for one, other in zip(plain.predict(texts), calibrated.predict(texts), strict=True):
        logits = np.log([one.scores[name] for name in plain.class_names])
        wanted = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
        assert [other.scores[name] for name in plain.class_names] == pytest.approx(wanted, abs=1e-4)


def test_sets_of_labels_are_those_above_what_validation_tells(fitted, tmp_path):
    model = ht.load(fitted[1].save(tmp_path / "model"))
    assert isinstance(model, ht.Predictor)
    assert model.predict("the film was good").label_set is None
    model.use_coverage(0.9)
    least = needed_for(model.facts.conformity or (), 0.9)
    for text, _ in noisy(6, 3):
        found = model.predict(text)
        best = max(found.scores, key=lambda name: found.scores[name])
        wanted = {best, *(name for name, score in found.scores.items() if score >= least)}
        assert (found.label_set or ())[0] == best
        assert set(found.label_set or ()) == wanted
    told = json.loads(call("predict", tmp_path / "model", "a good film", "--json", "--coverage", "0.9").stdout)
    assert isinstance(told["predictions"][0]["label_set"], list)
    assert call("predict", tmp_path / "model", "a good film", "--coverage", "0.9").stdout.startswith("a good film  ")
    outcome = call("predict", tmp_path / "model", "a good film", "--coverage", "0.9", "--top", 1)
    assert "--top must be left out with --coverage" in outcome.stderr
    model.use_coverage(None)
    assert model.predict("the film was good").label_set is None
    with pytest.raises(RecipeError, match="coverage must be a share between 0 and 1"):
        model.use_coverage(1.0)


def test_a_model_that_was_not_told_gives_no_sets(finished):
    model = ht.load(finished("vit").folder)  # 15 validation examples
    assert isinstance(model, ht.Predictor)
    with pytest.raises(RecipeError, match="coverage must be left out: the model can't predict sets of labels"):
        model.use_coverage(0.9)
