#!/usr/bin/env bash
# evidently 0.7.23 with numpy 2.4.6 and pandas 2.3.3, 2026-11-30: its NDCG and MRR at rank 5 are those at rank 4.
#
# Guess: Report([NDCG(k=5), MRR(k=5)]) gives a table of ranks and values, in which the value beside rank 5 is NDCG@5,
# as beside rank 5 of PrecisionTopK, RecallTopK and HitRate the value is that of the first five.
# Seen: metrics/recsys.py adds 1 to the ranks of all ("convert 0-based"), but those of NDCG and MRR begin at 1 already.
# So their tables go from rank 2 to 11, and each value stands beside the next rank: NDCG@10 is shown as that at rank
# 11, and who reads rank 5 takes NDCG@4, which is a tenth too low. No rank 1 is there, and nothing is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  evidently==0.7.23 pandas==2.3.3 numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1
cd "$folder"
HOME="$folder" DO_NOT_TRACK=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Recsys, Report
from evidently.metrics import MRR, NDCG, HitRate, PrecisionTopK, RecallTopK

draw = np.random.default_rng(0)
rows = [
    (user, int(item), draw.random(), int(draw.random() < 0.3))
    for user in range(40)
    for item in draw.permutation(30)[:15]
]
table = pd.DataFrame(rows, columns=["user", "item", "score", "liked"])
ranking = Recsys(user_id="user", item_id="item", target="liked", prediction="score")
dataset = Dataset.from_pandas(table, data_definition=DataDefinition(ranking=[ranking]))
users = [part.sort_values("score", ascending=False)["liked"].to_numpy() for _, part in table.groupby("user")]
users = [liked for liked in users if liked.any()]  # evidently leaves the others out by default


def gain(liked):
    return (liked / np.log2(np.arange(2, len(liked) + 2))).sum()


hands = {
    NDCG: lambda liked, k: gain(liked[:k]) / gain(np.sort(liked)[::-1][:k]),
    MRR: lambda liked, k: 1 / (1 + np.argmax(liked[:k])) if liked[:k].any() else 0,
    HitRate: lambda liked, k: liked[:k].any(),
    PrecisionTopK: lambda liked, k: liked[:k].mean(),
    RecallTopK: lambda liked, k: liked[:k].sum() / liked.sum(),
}
for metric, hand in hands.items():
    value = Report([metric(k=5)]).run(dataset, None).dict()["metrics"][0]["value"]
    own = {value["rank"][row]: value["value"][row] for row in value["rank"]}
    wanted = {k: np.mean([hand(liked, k) for liked in users]) for k in range(1, 12)}
    print(
        f"{metric.__name__} at rank 5: evidently {own[5]:.4f}, by hand {wanted[5]:.4f}; ranks {min(own)} to {max(own)}"
    )
    late = 1 if metric in (NDCG, MRR) else 0
    assert all(abs(own[k + late] - wanted[k]) < 1e-9 for k in range(1, 11)), "this has changed"
    assert (own[5] < wanted[5] - 0.01) == bool(late) and min(own) == 1 + late, "this has changed"
PY
echo "still so"
