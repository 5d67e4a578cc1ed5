#!/usr/bin/env bash
# mean-average-precision 2024.1.5.0 beside pycocotools 2.0.11, 2026-11-30: boxes from 0 to 1 all overlap.
#
# Guess: the mAP of boxes is the same in pixels and as shares of the picture, as DETR and YOLO have them, and "COCO
# mAP", as its README calls it, is that of pycocotools. Seen: it adds 1 to each side, as for whole pixels. Of shares
# even boxes that don't touch can have an IoU above a half: a detector with a mAP of 0.35 gets 1.0, as a perfect one
# does, and boxes drawn by chance get 0.06. In pixels small objects gain: with boxes of 6 to 20 pixels 0.35 becomes
# 0.40. Nothing is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  mean-average-precision==2024.1.5.0 pycocotools==2.0.11 pandas==2.3.3 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import contextlib
import io
import json
from pathlib import Path

import numpy as np
from mean_average_precision import MetricBuilder
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

drawn = np.random.default_rng(0)
corners, sides = drawn.uniform(0, 280, (40, 3, 2)), drawn.uniform(6, 20, (40, 3, 2))
true = np.concatenate([corners, corners + sides], -1)  # 40 pictures of 300 × 300 pixels with three boxes each
near = true + drawn.normal(0, 1.5, true.shape)
places = drawn.uniform(0, 280, (40, 3, 2))
chance = np.concatenate([places, places + sides], -1)
scores = drawn.random((40, 3))


def package(found: np.ndarray, scale: float) -> float:
    metric = MetricBuilder.build_evaluation_metric("map_2d", async_mode=False, num_classes=1)
    for boxes, other, score in zip(true / scale, found / scale, scores):
        metric.add(np.column_stack([other, np.zeros(3), score]), np.column_stack([boxes, np.zeros((3, 3))]))
    at = {"iou_thresholds": np.arange(0.5, 1.0, 0.05), "recall_thresholds": np.arange(0.0, 1.01, 0.01)}
    return float(metric.value(**at, mpolicy="soft")["mAP"])


def official(found: np.ndarray, scale: float) -> float:
    def rows(every: np.ndarray) -> list[dict]:
        made = []
        for picture, boxes in enumerate(every / scale):
            for place, (left, top, right, bottom) in enumerate(boxes):
                made.append({
                    "id": len(made) + 1, "image_id": picture, "category_id": 1, "iscrowd": 0, "area": 1.0,
                    "bbox": [left, top, right - left, bottom - top], "score": scores[picture, place],
                })  # fmt: skip
        return made

    notes = {"images": [{"id": picture} for picture in range(40)], "annotations": rows(true), "categories": [{"id": 1}]}
    Path("notes.json").write_text(json.dumps({**notes, "info": {}}))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO("notes.json")
        run = COCOeval(truth, truth.loadRes(rows(found)), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return float(run.stats[0])


for name, found in (("true boxes", true), ("near", near), ("by chance", chance)):
    for unit, scale in (("pixels", 1.0), ("shares", 300.0)):
        told, coco = package(found, scale), official(found, scale)
        print(f"{name}, {unit}: mAP {told:.3f}, pycocotools {coco:.3f}")
        assert abs(coco - official(found, 1.0)) < 1e-6, "this has changed: pycocotools"
        if name == "true boxes":
            assert told > 0.999 and coco > 0.999, "this has changed"
        elif name == "near":
            assert 0.2 < coco < 0.5, "this has changed: pycocotools"
            assert told > 0.99 if unit == "shares" else coco + 0.03 < told < 0.6, "this has changed: the added 1"
        else:
            assert coco < 0.001 and (told > 0.02) == (unit == "shares"), "this has changed: by chance"
PY
echo "still so"
