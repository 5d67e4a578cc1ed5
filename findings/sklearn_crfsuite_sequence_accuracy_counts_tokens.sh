#!/usr/bin/env bash
# sklearn-crfsuite 0.5.0 with scikit-learn 1.9.1 and numpy 2.4.6, 2026-11-30: sequence accuracies of 2.0 and 0.67 for 0.
#
# Guess: metrics.sequence_accuracy_score(true, predicted) is the share of sequences that are right from end to end, as
# its docstring says, so between 0 and 1. Seen: it makes arrays of the lists (dtype=object) and compares these. Where
# all sequences are of one length, padded ones, columns of one width or a single sentence, that is a table of tokens:
# right tokens are counted, and divided by the number of sequences. Three sentences of three tokens with one wrong tag
# each are right to 2.0; where most are wrong the share is below 1, and looks like an accuracy. One sequence more of
# another length, and the same data have the right number. flat_accuracy_score is right both ways.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  sklearn-crfsuite==0.5.0 scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
from sklearn_crfsuite import metrics

TRUE = [["B", "I", "O"], ["O", "B", "I"], ["O", "O", "B"]]
ONE_WRONG = [["B", "I", "I"], ["O", "B", "O"], ["O", "B", "B"]]
NEARLY_ALL_WRONG = [["O", "O", "O"], ["B", "O", "O"], ["B", "I", "B"]]
found = {}
for name, true, predicted in (
    ("all right", TRUE, TRUE),
    ("one tag wrong in each", TRUE, ONE_WRONG),
    ("nearly all wrong", TRUE, NEARLY_ALL_WRONG),
    ("a single sentence, right", TRUE[:1], TRUE[:1]),
    ("one tag wrong in each, and one more sentence of two tags", TRUE + [["O", "O"]], ONE_WRONG + [["O", "O"]]),
):
    own = float(metrics.sequence_accuracy_score(true, predicted))
    by_hand = sum(one == other for one, other in zip(true, predicted)) / len(true)
    tokens = float(metrics.flat_accuracy_score(true, predicted))
    found[name] = own, by_hand
    print(f"{name}: sequence accuracy {own:.3f}, by hand {by_hand:.3f}; accuracy of tokens {tokens:.3f}")
    equal = len({len(one) for one in true}) == 1
    expected = tokens * len(true[0]) if equal else by_hand
    assert abs(own - expected) < 1e-9, "this has changed"
assert found["all right"] == (3.0, 1.0) and found["one tag wrong in each"] == (2.0, 0.0), "this has changed"
assert 0.5 < found["nearly all wrong"][0] < 1 and found["nearly all wrong"][1] == 0, "this has changed"
assert found["a single sentence, right"] == (3.0, 1.0), "this has changed"
PY
echo "still so"
