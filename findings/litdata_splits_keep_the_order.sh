#!/usr/bin/env bash
# litdata 0.2.76 with torch 2.14.1, 2026-11-30: train_test_split and subsample divide chunks, not examples.
#
# Guess: train_test_split of a StreamingDataset with shuffle=True draws examples, so that both parts hold all classes; and
# subsample=0.2 draws a fifth of each. Seen: examples stay in the order in which they were written. Data smaller than one
# chunk (64 MB) and written class by class have the last class in the test part alone, and the model never learns it;
# a subsample is the first class alone. With small chunks, whole chunks are drawn.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  litdata==0.2.76 torch==2.14.1 numpy==2.4.6
cd "$folder"
cat > split.py <<'PY'
from collections import Counter

import litdata
import numpy as np


def example(number: int) -> dict[str, object]:
    return {"image": np.full(4, number), "label": number // 100}


def classes(data: litdata.StreamingDataset) -> dict[int, int]:
    return dict(sorted(Counter(int(row["label"]) for row in data).items()))


if __name__ == "__main__":
    litdata.optimize(fn=example, inputs=list(range(500)), output_dir="data", num_workers=1, chunk_bytes="64MB")
    train, test = litdata.train_test_split(litdata.StreamingDataset("data", shuffle=True), splits=[0.8, 0.2])
    few = litdata.StreamingDataset("data", shuffle=True, subsample=0.2)
    told = {"train": classes(train), "test": classes(test), "subsample": classes(few)}
    for name, counts in told.items():
        print(f"{name}: examples by class {counts}")
    assert set(told["train"]) == {0, 1, 2, 3} and set(told["test"]) == {4}, "this has changed"
    assert set(told["subsample"]) == {0}, "this has changed: a subsample holds several classes"
PY
"$folder/venv/bin/python" -W ignore split.py 2> /dev/null | grep "examples by class"
echo "still so"
