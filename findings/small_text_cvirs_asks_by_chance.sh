#!/usr/bin/env bash
# small-text 1.4.1 with numpy 2.4.6 and scipy 1.17.1, 2026-11-30: CVIRS asks for labels of texts it is sure of.
#
# Guess: CategoryVectorInconsistencyAndRanking takes the texts whose labels are the most uncertain, as the paper it
# names has it (Reyes, Morell and Ventura, 2018): each label ranks the texts by the margin |2 p - 1| of its
# probability p, and the ranks are added up. Seen: the margin of a label is taken as the sum of the probabilities of
# all other labels, so that its own doesn't count; and a list of which text comes first, second and so on is read as
# the rank of each text. Of ten texts near 0.5 in all labels, among 190 near 0 or 1, one is asked for in every other
# query for ten, as by chance. Nothing is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  small-text==1.4.1 numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from scipy.sparse import csr_matrix
from scipy.stats import rankdata
from small_text import CategoryVectorInconsistencyAndRanking

TEXTS, LABELS, UNSURE, ASK = 200, 5, 10, 10


class Known:
    # A classifier whose probabilities are given; a data set is the numbers of its texts.
    def __init__(self, probabilities):
        self.probabilities = probabilities

    def predict_proba(self, numbers):
        return self.probabilities[np.asarray(numbers)]


def by_the_paper(probabilities):
    # All predicted label sets are alike here, so that the other factor, inconsistency, is the same for each text.
    ranks = np.stack([rankdata(abs(2 * column - 1)) for column in probabilities.T])
    return np.argsort(-(TEXTS - ranks).sum(0))[:ASK]


labelled = np.arange(TEXTS, TEXTS + 20)
found, wanted = [], []
for seed in range(20):
    draw = np.random.default_rng(seed)
    unsure = draw.permutation(TEXTS)[:UNSURE]
    probabilities = draw.uniform(0.001, 0.04, (TEXTS + 20, LABELS))
    probabilities[unsure] = draw.uniform(0.45, 0.49, (UNSURE, LABELS))
    probabilities[:, 0] = 1 - probabilities[:, 0]  # the first label is predicted for each text, the others for none
    assert ((probabilities > 0.5) == (np.arange(LABELS) == 0)).all()
    truth = csr_matrix((draw.random((20, LABELS)) < 0.5).astype(int))
    asked = CategoryVectorInconsistencyAndRanking(pbar=None).query(
        Known(probabilities), np.arange(TEXTS + 20), np.arange(TEXTS), labelled, truth, n=ASK
    )
    assert len(set(asked.tolist())) == ASK
    found.append(len(set(asked.tolist()) & set(unsure.tolist())))
    wanted.append(len(set(by_the_paper(probabilities[:TEXTS]).tolist()) & set(unsure.tolist())))
print(f"unsure texts among the {ASK} that are asked for, mean of 20 draws: by the paper {np.mean(wanted):.2f},"
      f" small-text {np.mean(found):.2f}, by chance {ASK * UNSURE / TEXTS:.2f}")
assert min(wanted) == ASK
assert np.mean(found) < 2, "this has changed"
PY
echo "still so"
