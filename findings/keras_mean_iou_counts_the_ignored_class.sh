#!/usr/bin/env bash
# keras 3.15.1 with numpy 2.4.6 and scikit-learn 1.9.1, 2026-11-30: the class to ignore counts as an IoU of 0.
#
# Guess: MeanIoU(ignore_class=0) leaves out the pixels whose true class is 0, and takes the mean over the other
# classes, as scikit-learn's jaccard_score does with these labels. Seen: it leaves out the pixels, but not the class.
# One other pixel of the whole data, called 0 by mistake, gives class 0 a union of 1 pixel and an IoU of 0, and the
# mean has one class more. Of two classes that are found to 99 % the mean falls to 66 %. OneHotMeanIoU and OneHotIoU
# have it from the same function. Where 255 is ignored, which is no class, all is well.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  keras==3.15.1 jax==0.10.2 numpy==2.4.6 scikit-learn==1.9.1
cd "$folder"
KERAS_HOME="$folder" KERAS_BACKEND=jax "$folder/venv/bin/python" -W ignore - <<'PY'
import keras
import numpy as np
from sklearn.metrics import jaccard_score

# Masks of 30 × 30: the upper third is unlabelled (0), then class 1, then class 2. A model knows 0 too.
true = np.repeat([0, 1, 2], 300).reshape(1, 30, 30)
perfect = true.copy()
perfect[:, :10] = 1
almost = perfect.copy()
almost[0, 29, 29] = 0


def scores(predicted: np.ndarray, ignored: int) -> tuple[float, float, float]:
    masks = np.where(true == 0, ignored, true)
    metric = keras.metrics.MeanIoU(num_classes=3, ignore_class=ignored)
    one_hot = keras.metrics.OneHotMeanIoU(num_classes=3, ignore_class=ignored)
    metric.update_state(masks, predicted)
    if ignored == 0:
        one_hot.update_state(np.eye(3)[masks], np.eye(3)[predicted])
    kept = true > 0
    right = jaccard_score(true[kept], predicted[kept], labels=[1, 2], average="macro")
    return float(metric.result()), float(one_hot.result()), right


for name, predicted in {"all right": perfect, "one pixel of 600 called 0": almost}.items():
    own, one_hot, right = scores(predicted, 0)
    print(f"{name}: MeanIoU {own:.4f}, OneHotMeanIoU {one_hot:.4f}, scikit-learn {right:.4f}")
    assert abs(right - (1 + (1 if predicted is perfect else 299 / 300)) / 2) < 1e-6, "scikit-learn has changed"
    assert abs(own - (right if predicted is perfect else right * 2 / 3)) < 1e-6, "this has changed"
    assert abs(own - one_hot) < 1e-6, "this has changed: OneHotMeanIoU"
PY
echo "still so"
