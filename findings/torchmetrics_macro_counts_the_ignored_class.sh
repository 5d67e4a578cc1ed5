#!/usr/bin/env bash
# torchmetrics 1.9.0 with torch 2.14.1 and scikit-learn 1.9.1, 2026-11-30: a class to ignore counts 0 in macro means.
#
# Guess: with ignore_index=0 (the background of masks, padding) the macro F1, accuracy, precision and recall are means
# over the other classes, in the pixels whose true class is not 0. Seen: as soon as one pixel of those is predicted as
# 0, which hardly any model avoids, class 0 is one of the classes and has a score of 0. With two classes beside the
# background one wrong pixel in 4000 brings a macro F1 of 1.00 to 0.67. MulticlassJaccardIndex leaves the class out.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  torchmetrics==1.9.0 torch==2.14.1 scikit-learn==1.9.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from sklearn import metrics
from torchmetrics import classification

true = torch.zeros(100, 100, dtype=torch.long)
true[:20], true[80:] = 1, 2
perfect = true.clone()
perfect[40:60] = 1  # in the background, which is to be ignored
wrong = perfect.clone()
wrong[0, 0] = 0

kept = true != 0
for name, metric in {
    "MulticlassF1Score": lambda t, p: metrics.f1_score(t, p, average="macro", labels=[1, 2]),
    "MulticlassAccuracy": lambda t, p: metrics.recall_score(t, p, average="macro", labels=[1, 2]),
    "MulticlassPrecision": lambda t, p: metrics.precision_score(t, p, average="macro", labels=[1, 2]),
    "MulticlassRecall": lambda t, p: metrics.recall_score(t, p, average="macro", labels=[1, 2]),
    "MulticlassJaccardIndex": lambda t, p: metrics.jaccard_score(t, p, average="macro", labels=[1, 2]),
}.items():
    own = [float(getattr(classification, name)(3, ignore_index=0)(p[None], true[None])) for p in (perfect, wrong)]
    other = [metric(true[kept], p[kept]) for p in (perfect, wrong)]
    print(f"{name}: torchmetrics: {own[0]:.4f} and {own[1]:.4f}, scikit-learn: {other[0]:.4f} and {other[1]:.4f}")
    assert own[0] == other[0] == 1 and other[1] > 0.999, "this has changed"
    if name == "MulticlassJaccardIndex":
        assert abs(own[1] - other[1]) < 1e-6, "this has changed"
    else:
        assert abs(own[1] - other[1] * 2 / 3) < 1e-6, "this has changed"
PY
echo "still so"
