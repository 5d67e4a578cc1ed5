#!/usr/bin/env bash
# tslearn 0.10.0 with numpy 2.3.5, 2026-12-01: of 19 points in 10 segments the last nine are never looked at.
#
# Guess: PiecewiseAggregateApproximation(n_segments=10) cuts each series into ten parts of nearly the same length and
# takes their means, as in Keogh et al. and in aeon, so that the last mean tells of the end;
# SymbolicAggregateApproximation makes letters of these. Seen: each segment is as long as the length divided by the
# number of segments, rounded down. What is over at the end is dropped, up to nearly half of a series: 19 points in 10
# segments are the first ten points. Series that differ only there have the same means and the same word; a peak at the
# end is nowhere, inverse_transform ends in zeros. The distance, scaled as if all points counted, is larger than the
# Euclidean one, which it must never be: a search by this bound loses neighbours.
# (piecewise/piecewise.py)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  tslearn==0.10.0 aeon==1.6.0 numba==0.63.1 scikit-learn==1.9.1 scipy==1.17.1 pandas==3.0.6 numpy==2.3.5
cd "$folder"
OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from aeon.transformations.collection.dictionary_based import PAA
from tslearn.piecewise import PiecewiseAggregateApproximation, SymbolicAggregateApproximation


def means(series, segments):
    """Means of nearly equal parts."""
    return np.array([part.mean() for part in np.array_split(series, segments)])


for length, segments in ((20, 10), (10, 4), (19, 10)):
    series = np.arange(float(length))
    model = PiecewiseAggregateApproximation(n_segments=segments)
    found = model.fit_transform(series[None, :, None]).ravel()
    back = model.inverse_transform(model.transform(series[None, :, None])).ravel()
    other = PAA(n_segments=segments).fit_transform(series[None, None]).ravel()
    size = length // segments
    print(f"0 to {length - 1} in {segments}: tslearn {found}, aeon {other.round(1)}, by hand {means(series, segments)}")
    assert np.allclose(found, series[: size * segments].reshape(segments, size).mean(1)), "this has changed"
    assert np.abs(other - means(series, segments)).max() <= 1 and other[-1] >= length - 1 - size, "the oracle"
    if length % segments:
        assert (back[size * segments :] == 0).all() and found[-1] < means(series, segments)[-1] - 1, "this has changed"

flat, peak = np.zeros(19), np.zeros(19)
peak[10:] = 8
pair = np.array([flat, peak])[:, :, None]
print("means of a flat series and of one with a plateau in its second half:",
      PiecewiseAggregateApproximation(n_segments=10).fit_transform(pair)[:, :, 0].tolist())
words = SymbolicAggregateApproximation(n_segments=10, alphabet_size_avg=8).fit_transform(pair)[:, :, 0]
assert (words[0] == words[1]).all(), "this has changed"
assert not np.allclose(means(flat, 10), means(peak, 10)), "the oracle"

draw = np.random.default_rng(0)
for length, segments in ((20, 10), (19, 10)):
    walks = draw.normal(size=(20, length))
    walks[:, 10:] = walks[0, 10:]  # they differ in their first ten points only
    model = PiecewiseAggregateApproximation(n_segments=segments).fit(walks[:, :, None])
    larger = sum(
        model.distance(walks[i][:, None], walks[j][:, None]) > np.linalg.norm(walks[i] - walks[j]) + 1e-9
        for i in range(20) for j in range(i))
    print(f"{length} points in {segments} segments: of 190 distances {larger} exceed the Euclidean one")
    assert larger == 0 if length == 20 else larger > 50, "this has changed"
PY
echo "still so"
