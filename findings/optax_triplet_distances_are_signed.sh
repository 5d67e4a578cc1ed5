#!/usr/bin/env bash
# optax 0.2.8 with jax 0.10.2, beside scipy 1.17.1, 2026-11-30: the triplet loss with the first norm adds up signed
# differences: 1 for a triplet whose loss is 17.
#
# Guess: triplet_margin_loss(norm_degree=1) has the distances of the first norm, the sums of absolute differences, as
# TripletMarginLoss(p=1) of torch. Seen: the differences are raised to the power without their absolute value. With 1
# (and each odd degree) positive and negative ones cancel: the loss is max(0, sum(negative - positive) + margin), which
# a model makes as small as it likes by a shift of all embeddings of a class, and anchors don't matter at all. Degree 3
# gives NaN where a sum is negative, and another number where it isn't. Degree 2, the default, is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  optax==0.2.8 jax==0.10.2 numpy==2.4.6 scipy==1.17.1
cd "$folder"
JAX_PLATFORMS=cpu "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from optax.losses import triplet_margin_loss
from scipy.spatial.distance import minkowski

draw = np.random.default_rng(0)
anchors, positives, negatives = draw.normal(size=(3, 200, 16)).astype("float32")


def by_scipy(degree):
    pairs = zip(anchors, positives, negatives)
    return np.array([max(minkowski(a, p, degree) - minkowski(a, n, degree) + 1, 0) for a, p, n in pairs])


own = {each: np.asarray(triplet_margin_loss(anchors, positives, negatives, norm_degree=each)) for each in (1, 2, 3)}
for degree, losses in own.items():
    true = by_scipy(degree)
    print(
        f"degree {degree}: {np.isnan(losses).mean():.0%} NaN, mean of the rest {np.nanmean(losses):.3f}"
        f" (scipy: {true.mean():.3f}), correlation with scipy's"
        f" {np.corrcoef(losses[~np.isnan(losses)], true[~np.isnan(losses)])[0, 1]:.2f}"
    )
assert np.allclose(own[2], by_scipy(2), atol=1e-3), "this has changed: degree 2"
signed = np.maximum((negatives - positives).sum(-1) + 1, 0)
assert np.allclose(own[1], signed, atol=1e-3), "this has changed: degree 1"
assert abs(np.corrcoef(own[1], by_scipy(1))[0, 1]) < 0.3 and np.isnan(own[3]).mean() > 0.3, "this has changed"

# The worst triplet: the positive one far away, the negative one equal to the anchor.
anchor, far = np.zeros((1, 16), "float32"), np.tile(np.float32([1, -1]), 8)[None]
worst = float(triplet_margin_loss(anchor, far, anchor, norm_degree=1)[0])
print(f"positive at a distance of 16, negative at 0: {worst:.3f}, by hand 17; from another anchor:",
      float(triplet_margin_loss(anchor + 5, far, anchor, norm_degree=1)[0]))
assert worst < 1.001, "this has changed"
PY
echo "still so"
