"""What training features look like: the distances beside those of scikit-learn, and shares that mean what they say."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load, save
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score

from hftransfer.metrics.familiarity import Familiarity, familiarity, unseen_class_areas

CLASSES, WIDTH = 3, 12


def features_of(count: int, seed: int, width: int = WIDTH) -> tuple[np.ndarray, np.ndarray]:
    """Features around the centre of a class each, wider in some directions than in others."""
    mixing = np.random.default_rng(7).normal(size=(width, width)) * np.linspace(0.2, 1, width)
    centers = np.random.default_rng(8).normal(scale=3, size=(CLASSES, width))
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count)
    return (centers[labels] + random.normal(size=(count, width)) @ mixing).astype(np.float32), labels


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


@pytest.mark.parametrize(("count", "width"), [(200, WIDTH), (60, 100)])
def test_distances_are_those_of_scikit_learns_covariance(count, width):
    features, labels = features_of(count, 1, width)
    others, _ = features_of(20, 2, width)
    found = familiarity(features, labels, CLASSES)
    assert found is not None
    mean, scale = features.mean(axis=0), features.std(axis=0)
    rows, there = unit((features - mean) / scale), unit((others - mean) / scale)
    centers = np.stack([rows[labels == place].mean(axis=0) for place in range(CLASSES)])
    precision = LedoitWolf(assume_centered=True).fit(rows - centers[labels]).precision_
    gaps = there[:, None] - centers  # (B, C, D)
    mahalanobis = np.einsum("bcd,de,bce->bc", gaps, precision, gaps).min(axis=1)
    cosine = (there @ unit(centers).T).max(axis=1)
    distances = found.distances(others)
    np.testing.assert_allclose(distances[:, 0], mahalanobis, rtol=2e-3)
    np.testing.assert_allclose(distances[:, 1], 1 - cosine, rtol=2e-3, atol=1e-5)


def test_the_share_of_less_unusual_examples_is_even_over_new_ones_of_the_same_kind():
    found = familiarity(*features_of(600, 1), CLASSES)
    assert found is not None
    shares = found.unlike(features_of(4000, 2)[0])
    assert shares.min() >= 0
    assert shares.max() <= 1
    for share in (0.25, 0.5, 0.9, 0.99):
        assert np.mean(shares >= share) == pytest.approx(1 - share, abs=0.04)
    assert found.unlike(-features_of(50, 3)[0]).mean() > 0.95


def test_what_was_not_learned_from_tells_what_is_usual_where_it_is_given():
    features, labels = features_of(600, 1)
    unseen = 1.5 * features_of(300, 2)[0]  # as if features of new examples were farther off
    found = familiarity(features, labels, CLASSES, unseen)
    assert found is not None
    assert found.unlike(unseen).mean() == pytest.approx(0.5, abs=0.01)


def test_it_is_read_back_as_it_was():
    found = familiarity(*features_of(60, 1, 100), CLASSES)
    assert found is not None
    # safetensors 0.8.0 writes transposed arrays in another order (findings/safetensors_numpy_transposed.sh).
    assert all(part.flags.c_contiguous for part in found.parts().values())
    read = Familiarity.of_parts(load(save(found.parts())), CLASSES)
    others, _ = features_of(20, 2, 100)
    np.testing.assert_array_equal(read.unlike(others), found.unlike(others))
    for name, part in {"mean": found.mean[:-1], "scale": -found.scale, "reference": found.reference[:0]}.items():
        with pytest.raises(ValueError, match=r"parts that do not fit|spread of nothing"):
            Familiarity.of_parts({**found.parts(), name: part}, CLASSES)
    with pytest.raises(ValueError, match="of other classes"):
        Familiarity.of_parts(found.parts(), CLASSES + 1)
    with pytest.raises(ValueError, match="no number"):
        Familiarity.of_parts({**found.parts(), "mean": found.mean * np.nan}, CLASSES)


def test_of_too_few_or_alike_examples_nothing_is_said():
    features, labels = features_of(200, 1)
    assert familiarity(features[:6], labels[:6], CLASSES) is None
    assert familiarity(np.ones_like(features), labels, CLASSES) is None
    assert familiarity(features, np.zeros_like(labels), CLASSES) is None
    assert familiarity(features * np.nan, labels, CLASSES) is None
    features[:, 0] = 1  # a dead unit
    found = familiarity(features, labels, CLASSES)
    assert found is not None
    assert np.isfinite(found.strangeness(features)).all()


def test_a_class_that_was_left_out_is_told_as_well_as_scikit_learn_counts():
    features, labels = features_of(90, 1)
    others, theirs = features_of(80, 2)
    known = familiarity(features, labels, CLASSES)
    assert known is not None
    found = unseen_class_areas(known, features, labels, others, theirs)
    assert sorted(found) == [0, 1, 2]
    for left_out, area in found.items():
        rest = labels != left_out
        looks = familiarity(features[rest], np.unique(labels[rest], return_inverse=True)[1], CLASSES - 1)
        assert looks is not None
        strangeness = ((looks.distances(others) - known.spread[0]) / known.spread[1]).sum(axis=1)  # (M,)
        shares = (known.reference < strangeness[:, None]).mean(axis=1)
        assert area == pytest.approx(roc_auc_score(theirs == left_out, shares), abs=0.003)
        assert area > 0.8


def test_of_classes_with_few_examples_no_area_is_told():
    features, labels = features_of(90, 1)
    others, theirs = features_of(80, 2)
    known = familiarity(features, labels, CLASSES)
    assert known is not None
    few = np.flatnonzero(theirs == 1)[4:]
    kept = np.setdiff1d(np.arange(80), few)  # four of the second class are left
    assert sorted(unseen_class_areas(known, features, labels, others[kept], theirs[kept])) == [0, 2]
    alone = theirs == 0
    assert unseen_class_areas(known, features, labels, others[alone], theirs[alone]) == {}


def test_of_many_classes_some_are_left_out():
    classes = 50
    random = np.random.default_rng(0)
    centers, labels = random.normal(scale=4, size=(classes, WIDTH)), np.arange(500) % classes
    features, others = (centers[labels] + random.normal(size=(500, WIDTH)) for _ in range(2))
    known = familiarity(features, labels, classes)
    assert known is not None
    found = unseen_class_areas(known, features, labels, others, labels)
    assert (len(found), min(found), max(found)) == (20, 0, 49)


def test_a_few_examples_that_were_not_learned_from_foretell_how_strange_others_are() -> None:
    shares, of_learned = list[float](), list[float]()
    for seed in range(40):
        random = np.random.default_rng(seed)
        labels = np.arange(60) % 2
        centers = 4.0 * random.normal(size=(2, 8))
        # Nearer than others, as what was learned from is.
        features = centers[labels] + 0.1 * random.normal(size=(60, 8))
        others = centers[np.arange(209) % 2] + random.normal(size=(209, 8))
        for unseen, found in ((others[:9], shares), (None, of_learned)):
            known = familiarity(features, labels, 2, unseen)
            assert known is not None
            found.append(float(np.mean(known.unlike(others[9:].astype(np.float32)) >= 0.99)))
    assert np.mean(of_learned) > 0.9
    assert np.mean(shares) < 0.08
    assert np.median(shares) < 0.02
