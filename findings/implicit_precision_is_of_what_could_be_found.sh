#!/usr/bin/env bash
# implicit 0.7.3 with numpy 2.4.6, beside ranx 0.3.21, 2026-12-01: one hit among ten recommendations is a precision at
# 10 of 1.0.
#
# Guess: precision_at_k, "calculates P@K", is the share of the K recommended items that are among the withheld ones,
# as in ranx, trec_eval and the rest: with one withheld item it is at most 0.1. Seen: it divides by the number of
# withheld items where they are fewer than K. With one or two withheld items of a user, as a leave-one-out test or a
# small data set has them, it is the recall: ten times what others say. And it is one fraction for all users, not a
# mean over them: who has most items weighs most. A model seems better than those of papers and of other libraries
# that it is set beside. The nDCG of the same call agrees with ranx.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  implicit==0.7.3 ranx==0.3.21 numpy==2.4.6 scipy==1.17.1
cd "$folder"
HOME="$folder" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import scipy.sparse as sparse
from implicit.cpu.als import AlternatingLeastSquares
from implicit.evaluation import precision_at_k, ranking_metrics_at_k
from ranx import Qrels, Run, evaluate

ITEMS, K = 30, 10


def scores(withheld):
    """implicit's numbers and ranx's for users to whom the items 0, 1, 2 ... are recommended, in this order."""
    users = len(withheld)
    model = AlternatingLeastSquares(factors=ITEMS)
    model.item_factors = np.eye(ITEMS, dtype=np.float32)
    model.user_factors = np.tile(np.arange(ITEMS, 0, -1, dtype=np.float32), (users, 1))
    test = np.zeros((users, ITEMS))
    for user, items in enumerate(withheld):
        test[user, items] = 1
    train, test = sparse.csr_matrix((users, ITEMS)), sparse.csr_matrix(test)
    own = precision_at_k(model, train, test, K=K, show_progress=False, num_threads=1)
    both = ranking_metrics_at_k(model, train, test, K=K, show_progress=False, num_threads=1)
    assert both["precision"] == own
    truth = Qrels({f"u{user}": {f"i{item}": 1 for item in items} for user, items in enumerate(withheld)})
    run = Run({f"u{user}": {f"i{item}": float(ITEMS - item) for item in range(K)} for user in range(users)})
    other = evaluate(truth, run, [f"precision@{K}", f"ndcg@{K}", f"recall@{K}"])
    hand = np.mean([sum(item < K for item in items) / K for items in withheld])
    assert abs(hand - other[f"precision@{K}"]) < 1e-9, "the oracle"
    assert abs(both["ndcg"] - other[f"ndcg@{K}"]) < 1e-6, "the oracle: ndcg"
    print(f"P@{K}: implicit {own:.3f}, ranx {hand:.3f}; recall {other[f'recall@{K}']:.3f}")
    return own, hand


print("one withheld item for each of eight users, at ranks 1 to 8:")
own, hand = scores([[rank] for rank in range(8)])
assert own == 1 and abs(hand - 0.1) < 1e-9, "this has changed"
print("nine users with one withheld item, not found; one with ten, all found:")
own, hand = scores([[20]] * 9 + [list(range(10))])
assert abs(own - 10 / 19) < 1e-9 and abs(hand - 0.1) < 1e-9, "this has changed: one fraction for all"
PY
echo "still so"
