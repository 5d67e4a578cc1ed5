#!/usr/bin/env bash
# torchmetrics 1.9.0 with torch 2.14.1 and scikit-learn 1.9.1, 2026-11-30: metrics that agree on the first batch are
# one.
#
# Guess: each metric of a MetricCollection has the value that it has on its own. Seen: after the first update, metrics
# of equal counts are joined into one group, and from then on only the first of them is updated. Settings are not
# compared. F1 at two thresholds is the same number for ever if no score of the first batch lies in between. Accuracy
# with and without ignore_index is the same if the first batch lacks that class. Nothing is said; the order of the data
# decides on the scores. Calling the collection does not join; compute_groups=False ends it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  torchmetrics==1.9.0 torch==2.14.1 numpy==2.4.6 scikit-learn==1.9.1
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W error - <<'PY'
import torch
from sklearn.metrics import accuracy_score, f1_score
from torchmetrics import MetricCollection
from torchmetrics.classification import BinaryF1Score, MulticlassAccuracy

# The first batch has clear scores, or lacks the class 0; later ones do not.
scores = [torch.tensor(row) for row in ([0.9, 0.1, 0.8, 0.2], [0.6, 0.65, 0.4, 0.9, 0.55, 0.6])]
truths = [torch.tensor(row) for row in ([1, 0, 0, 0], [0, 0, 1, 1, 0, 0])]
classes = [torch.tensor(row) for row in ([1, 2, 3], [0, 0, 0, 3])]
labels = [torch.tensor(row) for row in ([1, 2, 2], [0, 0, 0, 1])]


def thresholds() -> dict:
    return {"at 0.5": BinaryF1Score(threshold=0.5), "at 0.7": BinaryF1Score(threshold=0.7)}


def background() -> dict:
    with_it, without = MulticlassAccuracy(4, average="micro"), MulticlassAccuracy(4, average="micro", ignore_index=0)
    return {"all classes": with_it, "without class 0": without}


def run(metrics: dict, batches: list, **settings: bool) -> list[float]:
    collection = MetricCollection({name.replace(".", "_"): metric for name, metric in metrics.items()}, **settings)
    for batch in batches:
        collection.update(*batch)
    return [round(float(value), 4) for value in collection.compute().values()]


score, truth, answer, label = (torch.cat(parts).numpy() for parts in (scores, truths, classes, labels))
right = {
    thresholds: [f1_score(truth, score >= 0.5), f1_score(truth, score >= 0.7)],
    background: [accuracy_score(label, answer), accuracy_score(label[label > 0], answer[label > 0])],
}
for made, batches in ((thresholds, list(zip(scores, truths))), (background, list(zip(classes, labels)))):
    want = [round(float(value), 4) for value in right[made]]
    seen, turned, apart = run(made(), batches), run(made(), batches[::-1]), run(made(), batches, compute_groups=False)
    print(f"{', '.join(made())}: {seen}; batches the other way round {turned}; apart {apart}; scikit-learn {want}")
    assert apart == want, "this has changed: metrics on their own"
    assert want[0] != want[1] and seen == [want[0], want[0]], "this has changed: joined metrics"
    assert turned == want, "this has changed: the other order of batches"
PY
echo "still so"
