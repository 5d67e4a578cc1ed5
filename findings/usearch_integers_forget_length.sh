#!/usr/bin/env bash
# usearch 2.26.6 with numpy 2.4.6, 2026-11-30: an index of 8-bit integers forgets how long vectors are.
#
# Guess: with dtype "i8" an index finds nearly the neighbours that float32 finds, in the metric that was asked for; so it
# does with "cos", and 8-bit floats do with all metrics. Seen: every vector is scaled to length 127 first. With "l2sq" and
# "ip" the neighbours are those by angle, less than half of the right ten where lengths vary. Nothing is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  usearch==2.26.6 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import numpy as np
from usearch.index import Index

drawn = np.random.default_rng(0)
vectors = drawn.normal(size=(1000, 32)) * drawn.uniform(0.2, 3, size=(1000, 1))
vectors = vectors.astype(np.float32)
apart = {
    "l2sq": lambda query: ((vectors - query) ** 2).sum(1),
    "ip": lambda query: -vectors @ query,
    "cos": lambda query: -(vectors @ query) / np.linalg.norm(vectors, axis=1),
}


def recall(metric: str, dtype: str) -> float:
    """The share of the ten nearest that an exact search finds."""
    index = Index(ndim=32, metric=metric, dtype=dtype)
    index.add(np.arange(len(vectors)), vectors)
    shares = []
    for query in vectors[:100]:
        nearest = set(np.argsort(apart[metric](query))[:10].tolist())
        shares.append(len(nearest & set(index.search(query, 10, exact=True).keys.tolist())) / 10)
    return float(np.mean(shares))


found = {(metric, dtype): recall(metric, dtype) for metric in apart for dtype in ("f32", "e4m3", "i8")}
for (metric, dtype), share in found.items():
    print(f"{metric} {dtype}: {share:.2f} of the ten nearest")
assert all(share > 0.9 for (metric, dtype), share in found.items() if dtype != "i8" or metric == "cos"), "this has changed"
assert found["l2sq", "i8"] < 0.6 and found["ip", "i8"] < 0.6, "this has changed: lengths count"
PY
echo "still so"
