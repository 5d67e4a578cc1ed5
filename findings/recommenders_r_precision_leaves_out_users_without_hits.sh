#!/usr/bin/env bash
# recommenders 1.2.1 with pandas 2.3.3, 2026-12-01: a model that finds something for one user of ten, and nothing for
# the other nine, has an R-precision of 1.0.
#
# Guess: r_precision_at_k is the mean over the users of the precision at R, R being the number of the user's relevant
# items, as documented: "equivalent to the recall at the R-th position". With R = k for everybody it is, as documented,
# precision_at_k. Seen: users without a hit among the first k are not in the mean at all, and users whose hits all lie
# beyond R (where k > R) drop out as missing values. Only those for whom something is found count. A model that serves
# fewer users looks better; precision_at_k, recall_at_k and ndcg_at_k of the same two tables count the others as 0.
# (evaluation/python_evaluation.py, r_precision_at_k: df_hit_count has no row for them, and mean() passes over NaN)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  pandas==2.3.3 numpy==2.4.6 scikit-learn==1.9.1 scipy==1.17.1 tqdm==4.70.1 requests==2.34.2
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps recommenders==1.2.1
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import pandas as pd
from recommenders.evaluation.python_evaluation import ndcg_at_k, precision_at_k, r_precision_at_k, recall_at_k

USERS, R = 10, 5


def tables(ranks):
    """Truth and recommendations: of user u the ranks (1, 2 ...) in ranks[u] are hits; 2 R items are recommended."""
    truth, found = [], []
    for user in range(USERS):
        relevant = [f"u{user} good {number}" for number in range(R)]
        truth += [(user, item, 1.0) for item in relevant]
        for rank in range(1, 2 * R + 1):
            item = relevant[ranks[user].index(rank)] if rank in ranks[user] else f"u{user} other {rank}"
            found.append((user, item, 1 - rank / 100))
    return (pd.DataFrame(truth, columns=["userID", "itemID", "rating"]),
            pd.DataFrame(found, columns=["userID", "itemID", "prediction"]))


def by_hand(ranks):
    return np.mean([sum(rank <= R for rank in each) / R for each in ranks])


cases = {
    "one user of ten is served": ([[1, 2, 3, 4, 5]] + [[]] * 9, 5),
    "all are served, none but one within R": ([[1, 2, 3, 4, 5]] + [[6, 7]] * 9, 10),
    "all have two hits within R": ([[1, 2]] * 10, 5),
}
seen = {}
for name, (ranks, k) in cases.items():
    both = tables(ranks)
    seen[name] = float(r_precision_at_k(*both, k=k))
    others = {each.__name__: round(float(each(*both, k=k)), 3) for each in (precision_at_k, recall_at_k, ndcg_at_k)}
    print(f"{name}: R-precision by hand {by_hand(ranks):.2f}, recommenders {seen[name]:.2f};", others)
    if k == R:
        assert abs(others["precision_at_k"] - by_hand(ranks)) < 1e-3, "the oracle"
assert abs(by_hand(cases["one user of ten is served"][0]) - 0.1) < 1e-9, "by hand"
assert seen["one user of ten is served"] == seen["all are served, none but one within R"] == 1, "this has changed"
assert abs(seen["all have two hits within R"] - 0.4) < 1e-9, "this has changed"
PY
echo "still so"
