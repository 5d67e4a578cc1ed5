#!/usr/bin/env bash
# trectools 0.0.50 with pandas 3.1.1, 2026-12-01: removeUnjudged=True changes the nDCG and the precision, but not the
# reciprocal rank and not the R-precision, that take it as well.
#
# Guess: get_reciprocal_rank(removeUnjudged=True) and get_rprec(removeUnjudged=True) leave the documents without a
# judgement out of the ranking before they count, as their descriptions say ("if you want to remove the unjudged
# documents before calculating this metric"). Seen: the shortened ranking is made and then passed over; the whole one is
# counted. A new retriever that brings unjudged documents first has a reciprocal rank of 1/3 instead of 1, and an
# R-precision of 0 instead of 1/2: the correction for unjudged documents that was asked for isn't there.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  trectools==0.0.50 pandas==3.1.1 numpy==2.4.6 scipy==1.17.1
cd "$folder"
OMP_NUM_THREADS=1 MPLBACKEND=agg MPLCONFIGDIR="$folder" "$folder/venv/bin/python" -W ignore - <<'PY'
import pandas as pd
from trectools import TrecEval, TrecQrel, TrecRun

# d0 and d1 come first and are unjudged; d2 and d5 are relevant, d3 is not.
ranking, judged = ["d0", "d1", "d2", "d3", "d4", "d5"], {"d2": 1, "d3": 0, "d5": 1}


def evaluation(ranking):
    run, truth = TrecRun(), TrecQrel()
    run.run_data = pd.DataFrame(
        [("q", "Q0", name, place, 10.0 - place, "s") for place, name in enumerate(ranking, 1)],
        columns=["query", "q0", "docid", "rank", "score", "system"])
    truth.qrels_data = pd.DataFrame(
        [("q", "0", name, relevant) for name, relevant in judged.items()], columns=["query", "q0", "docid", "rel"])
    return TrecEval(run, truth)


def numbers(which, **settings):
    return {"reciprocal rank": float(which.get_reciprocal_rank(**settings)), "R-precision": float(
        which.get_rprec(**settings)), "precision at 2": float(which.get_precision(depth=2, **settings)),
        "nDCG at 2": float(which.get_ndcg(depth=2, **settings))}


def by_hand(ranking):
    hits = [judged.get(name, 0) for name in ranking]
    return {"reciprocal rank": 1 / (hits.index(1) + 1), "R-precision": sum(hits[:2]) / 2}


whole = numbers(evaluation(ranking))
asked = numbers(evaluation(ranking), removeUnjudged=True)
shorter = [name for name in ranking if name in judged]
removed = numbers(evaluation(shorter))
for name in whole:
    print(f"{name}: all documents {whole[name]:.3f}, removeUnjudged=True {asked[name]:.3f},",
          f"unjudged ones removed by hand {removed[name]:.3f}")
for name, value in by_hand(shorter).items():
    assert abs(removed[name] - value) < 1e-9 and abs(whole[name] - by_hand(ranking)[name]) < 1e-9, "the oracle"
    assert asked[name] == whole[name] < removed[name], "this has changed"
for name in ("precision at 2", "nDCG at 2"):
    assert abs(asked[name] - removed[name]) < 1e-9 < whole[name] + 1e-6 < asked[name], "this has changed"
PY
echo "still so"
