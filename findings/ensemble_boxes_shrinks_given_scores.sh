#!/usr/bin/env bash
# ensemble-boxes 1.0.9 with numpy 2.4.6, 2026-11-30: fusing boxes by NMS changes the scores that were given.
#
# Guess: nms and soft_nms with weights read lists of scores, so that a second call with the same lists has the same
# result, as weighted_boxes_fusion has. Seen: each call multiplies the caller's own scores by the weights and leaves them
# so. Each further call, such as one of a search for the best iou_thr, begins with lower scores, of unlike models by
# unlike factors, and boxes fall below the threshold. weighted_boxes_fusion on the same lists then has other boxes, too.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  ensemble-boxes==1.0.9 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
from ensemble_boxes import nms, non_maximum_weighted, soft_nms, weighted_boxes_fusion

boxes = [[[0.1, 0.1, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]], [[0.1, 0.1, 0.5, 0.52]]]  # of two models
labels = [[0, 1], [0]]


def searched(fuse) -> tuple[list[list[float]], list[list[float]]]:
    scores = [[0.9, 0.4], [0.6]]
    told = []
    for iou_thr in (0.5, 0.55, 0.6):  # one result for all of these
        told.append([round(float(score), 3) for score in fuse(boxes, scores, labels, weights=[2, 1], iou_thr=iou_thr)[1]])
    return told, [[round(float(score), 3) for score in of_model] for of_model in scores]


for fuse in (weighted_boxes_fusion, non_maximum_weighted, nms, soft_nms):
    told, left = searched(fuse)
    print(f"{fuse.__name__}: best scores at the three thresholds {[max(scores) for scores in told]}; given lists now {left}")
    changes = fuse in (nms, soft_nms)
    assert (left != [[0.9, 0.4], [0.6]]) == changes, "this has changed: who changes the given scores"
    assert (max(told[0]) != max(told[2])) == changes, "this has changed: what a second call gives"

scores = [[0.9, 0.4], [0.6]]
before = weighted_boxes_fusion(boxes, scores, labels, weights=[2, 1], iou_thr=0.5, skip_box_thr=0.3)[0]
nms(boxes, scores, labels, weights=[2, 1], iou_thr=0.5)
after = weighted_boxes_fusion(boxes, scores, labels, weights=[2, 1], iou_thr=0.5, skip_box_thr=0.3)[0]
print(f"weighted_boxes_fusion has {len(before)} boxes, and after one call of nms {len(after)}")
assert (len(before), len(after)) == (2, 1), "this has changed"
PY
echo "still so"
