#!/usr/bin/env bash
# permetrics 2.1.0 with numpy 2.4.6, 2026-12-01: the Dunn index of one and the same clustering triples when its two
# clusters change their numbers.
#
# Guess: dunn_index() is the smallest distance of two points of different clusters, divided by the greatest diameter of
# a cluster; whatever the faster version that is on by default (use_modified=True, "to speed up the computational
# time") leaves out, the names of the clusters play no part. Seen: it takes the distances from the centre of the cluster
# with the lower number to the points of the one with the higher number, and never the other way round. The same groups
# score 0.19 or 0.59 by their numbers, where the Dunn index is 0.05. k-means numbers its clusters by chance: repeated
# runs that find the same groups differ, and the better of two numbers of clusters may win by it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  permetrics==2.1.0 scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from permetrics import ClusteringMetric
from scipy.spatial.distance import cdist, pdist
from sklearn.metrics import davies_bouldin_score

# A narrow group and a wide one beside it.
numbers = np.random.default_rng(0)
rows = np.concatenate([numbers.normal((0, 0), 0.3, (30, 2)), numbers.normal((3, 0), 1, (30, 2))])
groups = np.repeat([0, 1], 30)


def dunn(groups):
    parts = [rows[groups == number] for number in (0, 1)]
    return cdist(*parts).min() / max(pdist(part).max() for part in parts)


def from_lower_centre(groups):
    parts = [rows[groups == number] for number in (0, 1)]
    return cdist(parts[0].mean(0, keepdims=True), parts[1]).min() / max(pdist(part).max() for part in parts)


found = []
for name, each in (("as they are", groups), ("numbers exchanged", 1 - groups)):
    metric = ClusteringMetric(X=rows, y_pred=each)
    own, whole = float(metric.dunn_index()), float(metric.dunn_index(use_modified=False))
    print(f"{name}: dunn_index() {own:.3f}; use_modified=False {whole:.3f}, by hand {dunn(each):.3f};",
          f"Davies-Bouldin {float(metric.davies_bouldin_index()):.3f}")
    assert abs(whole - dunn(each)) < 1e-9 and abs(dunn(each) - dunn(groups)) < 1e-9, "the oracle"
    assert abs(metric.davies_bouldin_index() - davies_bouldin_score(rows, each)) < 1e-9, "the oracle"
    assert abs(own - from_lower_centre(each)) < 1e-9, "this has changed"
    found.append(own)
assert found[1] > 3 * found[0], "this has changed: the numbers of the clusters play no part"
PY
echo "still so"
