"""Metrics of masks, beside a plain count of pixels."""

from __future__ import annotations

import numpy as np
import pytest

from hftransfer.metrics.segmentation import Agreement, image_score, joined, score_masks


def _masks(seed: int, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.integers(-1, classes, (20, 30)).astype(np.int16)
    predicted = np.where(random.random((20, 30)) < 0.6, np.maximum(truth, 0), random.integers(0, classes, (20, 30)))
    return truth, predicted


def test_scores_are_those_of_a_plain_count() -> None:
    pairs = [_masks(seed) for seed in range(5)]
    found = score_masks([Agreement.of(t, p, 4) for t, p in pairs], ["a", "b", "c", "d"])
    truth = np.concatenate([t.ravel() for t, _ in pairs])
    predicted = np.concatenate([p.ravel() for _, p in pairs])
    known = truth >= 0
    ious, dices, recalls = [], [], []
    for label in range(4):
        true, said = (truth == label) & known, (predicted == label) & known
        both = (true & said).sum()
        ious.append(both / (true | said).sum())
        dices.append(2 * both / (true.sum() + said.sum()))
        recalls.append(both / true.sum())
    assert found["mean_iou"] == pytest.approx(np.mean(ious))
    assert found["mean_dice"] == pytest.approx(np.mean(dices))
    assert found["mean_class_accuracy"] == pytest.approx(np.mean(recalls))
    assert found["pixel_accuracy"] == pytest.approx((truth == predicted)[known].mean())
    assert found["per_class"]["c"]["iou"] == pytest.approx(ious[2])
    low, high = found["mean_iou_interval"]
    assert low < found["mean_iou"] < high


def test_a_class_that_the_data_lack_has_no_part_in_the_mean() -> None:
    truth, predicted = np.zeros((4, 4), dtype=np.int16), np.zeros((4, 4), dtype=np.int16)
    predicted[0] = 2
    found = score_masks([Agreement.of(truth, predicted, 3)], ["a", "b", "c"])
    assert found["mean_iou"] == pytest.approx(12 / 16)
    for name in ("b", "c"):  # 0 would say that it was missed
        assert found["per_class"][name] == dict.fromkeys(("iou", "dice", "precision", "recall", "f1")) | {"support": 0}
    assert image_score(Agreement.of(truth, truth, 3), 3) == 1.0
    assert image_score(Agreement.of(np.full((2, 2), -1, dtype=np.int16), predicted[:2, :2], 3), 3) == 1.0


def test_parts_add_up_to_the_whole() -> None:
    truth, predicted = _masks(9)
    whole = Agreement.of(truth, predicted, 4)
    parts = joined(
        [Agreement.of(truth[:, :13], predicted[:, :13], 4), Agreement.of(truth[:, 13:], predicted[:, 13:], 4)], 4
    )
    assert (whole.matrix(4) == parts.matrix(4)).all()


def test_borders_agree_within_their_reach() -> None:
    truth = np.zeros((100, 100), dtype=np.int16)
    truth[:, 50:] = 1
    near, far = np.roll(truth, 1, axis=1), np.roll(truth, 8, axis=1)
    near[:, 0], far[:, :8] = 0, 0
    scores = [score_masks([Agreement.of(truth, p, 2)], ["a", "b"])["boundary_f1"] for p in (truth, near, far)]
    assert scores == [pytest.approx(1.0), pytest.approx(1.0), pytest.approx(0.0)]
