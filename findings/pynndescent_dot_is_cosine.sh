#!/usr/bin/env bash
# pynndescent 0.7.0 with numpy 2.4.6, 2026-11-30: the metric "dot" finds the neighbours of cosine.
#
# Guess: NNDescent(metric="dot") ranks by the dot product, so that long vectors come first, as faiss and annoy have it under
# that name. Seen: it scales all vectors to length 1: its neighbours are those by cosine, and its distances 1 - cosine. Of
# vectors of unlike lengths, about one in ten of the largest products is found. The docstring tells nothing of it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check pynndescent==0.7.0 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from pynndescent import NNDescent

drawn = np.random.default_rng(0)
vectors = (drawn.normal(size=(2000, 16)) * drawn.lognormal(size=(2000, 1))).astype(np.float32)
queries = drawn.normal(size=(100, 16)).astype(np.float32)
products = queries @ vectors.T
cosines = products / np.linalg.norm(vectors, axis=1) / np.linalg.norm(queries, axis=1)[:, None]
found, distances = NNDescent(vectors.copy(), metric="dot", random_state=0).query(queries, k=10, epsilon=0.3)
recall = {}
for name, scores in (("products", products), ("cosines", cosines)):
    largest = np.argsort(-scores, axis=1)[:, :10]
    recall[name] = float(np.mean([len(set(mine) & set(true)) / 10 for mine, true in zip(found, largest)]))
    print(f"dot: {recall[name]:.2f} of the ten largest {name} found")
gap = float(np.abs(distances - (1 - np.take_along_axis(cosines, found, axis=1))).max())
print(f"distances differ from 1 - cosine by at most {gap:.1e}")
assert recall["products"] < 0.3 and recall["cosines"] > 0.8, "this has changed"
assert gap < 1e-3, "this has changed: the distances"
PY
echo "still so"
