#!/usr/bin/env bash
# torcheval 0.0.7 with torch 2.14.1, 2026-11-30: multiclass_binned_auroc is no area over the samples; it is 1 for a
# model whose classes are ordered rightly within each sample, however its scores compare between samples.
#
# Guess: multiclass_binned_auroc(average="macro") is the mean over the classes of the area of each class against the
# rest, as multiclass_auroc, on a grid of thresholds; average=None gives one number per class, as the docstring says.
# Seen: it sums over the classes where it should sum over the samples. It gives one number per sample (the area of its
# own class against its others), and "macro" is their mean. MulticlassBinnedAUROC does the same. With four classes the
# area of a middling model comes out 0.91 where it is 0.95; where the right class is always a little ahead, but samples
# have levels of their own, it is 1 where it is 0.52.
# (functional/classification/binned_auroc.py, _multiclass_binned_auroc_compute)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  torcheval==0.0.7 torch==2.14.1 scikit-learn==1.9.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torcheval.metrics import MulticlassBinnedAUROC
from torcheval.metrics.functional import multiclass_auroc, multiclass_binned_auroc

CLASSES, SAMPLES = 4, 300
draw = torch.Generator().manual_seed(0)
true = torch.randint(0, CLASSES, (SAMPLES,), generator=draw)
own = torch.nn.functional.one_hot(true, CLASSES).double()
middling = torch.softmax(torch.randn(SAMPLES, CLASSES, generator=draw, dtype=torch.float64) + 2 * own, 1)
# The true class is always 0.02 ahead of the others, on a level of the sample's own: scores of separate labels.
levels = (0.9 * torch.rand(SAMPLES, 1, generator=draw)).double()
uneven = levels + 0.02 * own

for name, scores in (("middling", middling), ("uneven", uneven)):
    scores = scores.float()
    settings = {"num_classes": CLASSES, "threshold": 2001}
    binned = float(multiclass_binned_auroc(scores, true, **settings)[0])
    each = multiclass_binned_auroc(scores, true, average=None, **settings)[0]
    whole = float(MulticlassBinnedAUROC(**settings).update(scores, true).compute()[0])
    exact = float(multiclass_auroc(scores, true, num_classes=CLASSES))
    oracle = np.mean([roc_auc_score(true == label, scores[:, label]) for label in range(CLASSES)])
    within = np.mean([roc_auc_score(row, own_scores) for row, own_scores in zip(own.numpy(), scores.numpy())])
    print(f"{name}: multiclass_binned_auroc {binned:.4f}, class {whole:.4f}, numbers without average {len(each)};",
          f"multiclass_auroc {exact:.4f}, scikit-learn {oracle:.4f}; within each sample {within:.4f}")
    assert abs(exact - oracle) < 1e-6, "the oracle"
    assert abs(binned - oracle) > 0.03, "this has changed: the area is over the samples"
    assert abs(binned - within) < 1e-3 and abs(whole - binned) < 1e-6 and len(each) == SAMPLES, "this has changed"
PY
echo "still so"
