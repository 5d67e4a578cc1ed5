#!/usr/bin/env bash
# polars 2.1.0 beside pandas 2.3.3 and scikit-learn 1.9.1, 2026-11-30: the codes of a Categorical go on from other
# columns.
#
# Guess: cast(pl.Categorical).to_physical() numbers the categories of a column from 0, as pandas' cat.codes and
# factorize and scikit-learn's LabelEncoder do, so that the codes can be class numbers. Seen: so they are in the first
# column that a process casts. As long as that is in memory, all others, of any data frame, go on counting: beside a
# column of three file names the labels "dog" and "cat" are 3 and 4, and a script that keeps something else numbers the
# same labels otherwise. A loss then meets targets beyond the number of classes or, where they fit, learns other
# classes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  polars==2.1.0 pandas==2.3.3 scikit-learn==1.9.1 numpy==2.4.6
cd "$folder"
cat > codes.py <<'PY'
import sys

import pandas as pd
import polars as pl
from sklearn.preprocessing import LabelEncoder

if sys.argv[1] == "after":
    files = pl.DataFrame({"file": ["a.jpg", "b.jpg", "c.jpg"]}).with_columns(pl.col("file").cast(pl.Categorical))

labels = ["dog", "cat", "dog", "dog"]
codes = pl.Series(labels).cast(pl.Categorical).to_physical().to_list()
others = {
    "pandas factorize": pd.factorize(pd.Series(labels))[0].tolist(),
    "pandas cat.codes": pd.Series(labels).astype("category").cat.codes.tolist(),
    "scikit-learn": LabelEncoder().fit_transform(labels).tolist(),
    "polars Enum": pl.Series(labels).cast(pl.Enum(["dog", "cat"])).to_physical().to_list(),
}
print(f"{sys.argv[1]}: polars Categorical: {codes};", ", ".join(f"{name}: {value}" for name, value in others.items()))
assert all(set(value) == {0, 1} for value in others.values()), "this has changed"
assert codes == ([0, 1, 0, 0] if sys.argv[1] == "alone" else [3, 4, 3, 3]), "this has changed"
PY
"$folder/venv/bin/python" -W ignore codes.py alone
"$folder/venv/bin/python" -W ignore codes.py after
echo "still so"
