#!/usr/bin/env bash
# torchmetrics 1.9.0 with torch 2.14.1, beside ir_measures 0.4.3, 2026-11-30: MAP at k is 1 where most is missed.
#
# Guess: RetrievalMAP(top_k=k) divides by how many relevant documents a query has, as trec_eval's map_cut does, or by k
# where there are more, so that a missed one costs something. Seen: it divides by how many relevant ones are among the
# first k. One relevant document first and nine behind the first ten give 1.0, where ir_measures has 0.1; and a ranking
# that finds one more, at rank ten, has less, 0.6. RetrievalMAP without top_k is as that of ir_measures.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  torchmetrics==1.9.0 torch==2.14.1 numpy==2.4.6 ir_measures==0.4.3 pytrec_eval-terrier==0.5.11
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import ir_measures
import torch
from torchmetrics.retrieval import RetrievalMAP

scores = torch.arange(100, 0, -1).float()  # a ranking of a hundred documents, the first with the highest score
told = {}
for name, places in (("one of ten", [1, *range(20, 29)]), ("two of ten", [1, 10, *range(20, 28)])):
    relevant = torch.zeros(100, dtype=torch.long)
    relevant[torch.tensor(places) - 1] = 1
    qrels = [ir_measures.Qrel("q", str(place), int(grade)) for place, grade in enumerate(relevant)]
    run = [ir_measures.ScoredDoc("q", str(place), float(score)) for place, score in enumerate(scores)]
    theirs = ir_measures.calc_aggregate([ir_measures.AP @ 10, ir_measures.AP], qrels, run)
    query = torch.zeros(100, dtype=torch.long)
    at_ten, whole = (
        float(RetrievalMAP(top_k=count)(scores, relevant, indexes=query)) for count in (10, None)
    )
    told[name] = at_ten
    print(
        f"{name} found: at 10 torchmetrics {at_ten:.3f}, ir_measures {theirs[ir_measures.AP @ 10]:.3f}; of the whole"
        f" ranking {whole:.3f} and {theirs[ir_measures.AP]:.3f}"
    )
    assert at_ten > 3 * theirs[ir_measures.AP @ 10], "this has changed: at ten"
    assert abs(whole - theirs[ir_measures.AP]) < 1e-4, "this has changed: the whole ranking"
assert told["one of ten"] > 0.99 and told["two of ten"] < 0.7, "this has changed: finding one more has less"
PY
echo "still so"
