#!/usr/bin/env bash
# seqeval 1.2.2, 2026-11-28: a tagger that takes every noun for a preposition, and the reverse, has an F1 of 1.
#
# Guess: of plain tags (parts of speech) each is compared as a whole, whatever the scores of "entities" mean there.
# Seen: the first letter is taken for a prefix as B and I are, and what is left for the type. NN and IN of the Penn
# Treebank are both of the type "N", CD and MD both of "D": they are never told apart. A warning says that a tag "seems
# not to be NE tag", and the score is given all the same. In strict mode such tags raise a bare KeyError instead.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check seqeval==1.2.2 numpy==2.4.6 scikit-learn
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
from seqeval.metrics import classification_report, f1_score

gold = [["DT", "NN", "IN", "DT", "NN"], ["NN", "MD", "CD"]]
said = [["DT", "IN", "NN", "DT", "IN"], ["IN", "CD", "MD"]]
right = sum(a == b for own, found in zip(gold, said) for a, b in zip(own, found))
found = f1_score(gold, said)
types = [name for name in classification_report(gold, said, output_dict=True) if "avg" not in name]
print("right tags:", right, "of 8; F1:", found, "types:", types)
assert right == 2
assert types == ["D", "N", "T"], "this has changed: types are whole tags"
assert found == 1.0, "this has changed: NN and IN are told apart"
PY
echo "still so"
