#!/usr/bin/env bash
# datasets 5.2.0, 2026-11-29: class_encode_column renumbers labels that are numbers already: of labels 0 to 11 the label 2
# becomes class 4.
#
# Guess: whole numbers from 0 on become classes of the same numbers, as a model trained on them has its outputs.
# Seen: the labels are sorted as texts, 0, 1, 10, 11, 2, …, so that from eleven classes on ids and labels differ. With ten
# or fewer they agree. Nothing warns; a model that was trained on the numbers themselves then seems to be wrong on most rows.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check datasets==5.2.0
cd "$folder"
HF_HOME="$folder/home" HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1 "$folder/venv/bin/python" - <<'PY'
import datasets


def encoded(count):
    """The classes of the labels 0, 1, …, and their names."""
    made = datasets.Dataset.from_dict({"label": list(range(count))}).class_encode_column("label")
    return made["label"][:], made.features["label"].names


ten, twelve = encoded(10), encoded(12)
print("labels 0 to 9 become", *ten[0])
print("labels 0 to 11 become", *twelve[0], "named", *twelve[1])
assert ten[0] == list(range(10)), "this has changed"
assert twelve[0] == [0, 1, 4, 5, 6, 7, 8, 9, 10, 11, 2, 3], "this has changed: labels keep their numbers"
PY
echo "still so"
