#!/usr/bin/env bash
# ranx 0.3.21 and ir_measures 0.4.3 (pytrec_eval-terrier 0.5.11), 2026-11-29: the same ranking has a recall at 1 of 1.0 by one
# and 0.0 by the other, and the other way round.
#
# Guess: of documents with equal scores both count the same one as the first, or a share of all of them.
# Seen: ranx takes them in the order in which they were given, ir_measures by their names, the last one first. A model
# that gives all documents the same score is perfect where the right one happens to stand at that end. Scores of
# half-precision or quantised embeddings are often equal.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  ranx==0.3.21 ir_measures==0.4.3 pytrec_eval-terrier==0.5.11 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import ir_measures
from ir_measures import RR, R
from ranx import Qrels, Run, evaluate

scores = {f"photo {number}": 0.5 for number in range(10)}
found = {}
for right in ("photo 0", "photo 9"):
    wanted = {"a query": {right: 1}}
    ranx = evaluate(Qrels(wanted), Run({"a query": dict(scores)}), ["recall@1", "mrr"])
    other = ir_measures.calc_aggregate([R @ 1, RR], wanted, {"a query": dict(scores)})
    found[right] = [float(ranx["recall@1"]), float(ranx["mrr"]), other[R @ 1], other[RR]]
    print(f"{right} is right: recall at 1, reciprocal rank: ranx {found[right][:2]}, ir_measures {found[right][2:]}")
assert found == {"photo 0": [1.0, 1.0, 0.0, 0.1], "photo 9": [0.0, 0.1, 1.0, 1.0]}, "this has changed"
PY
echo "still so"
