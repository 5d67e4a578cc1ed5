#!/usr/bin/env bash
# transformers 5.23.0 with torch 2.14.1, 2026-11-30: masks "in COCO run-length encoding" are not COCO's, and one too
# many.
#
# Guess: post_process_instance_segmentation(return_coco_annotation=True) gives, beside segments_info, the COCO
# run-lengths of each segment, which pycocotools decodes to its mask. Seen: the list begins with the background wherever
# a pixel has no segment, so that zip pairs each segment with the mask before it; and the last mask has no segment. Each
# list has pairs of start and length, row by row from 1 on, where COCO counts alternating runs, column by column.
# pycocotools refuses or misreads them. MaskFormer, Mask2Former, OneFormer and others share the code.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  transformers==5.23.0 torch==2.14.1 torchvision==0.29.1 pillow==13.0.0 pycocotools==2.0.11 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - 2> errors <<'PY'
import numpy as np
import torch
import transformers as tr
from pycocotools import mask as coco
from transformers.models.mask2former.modeling_mask2former import Mask2FormerForUniversalSegmentationOutput

height, width = 96, 128
masks = torch.zeros(2, height, width, dtype=torch.bool)
masks[0, 8:40, 16:48] = True  # a square of class 1
masks[1, 56:88, 40:120] = True  # a bar of class 2
classes = torch.full((1, 2, 4), -9.0)
classes[0, [0, 1], [1, 2]] = 9.0
outputs = {"class_queries_logits": classes, "masks_queries_logits": torch.where(masks, 8.0, -8.0)[None]}
processor = tr.Mask2FormerImageProcessor()


def processed(**settings: object) -> dict:
    made = Mask2FormerForUniversalSegmentationOutput(**outputs)
    return processor.post_process_instance_segmentation(made, target_sizes=[(height, width)], **settings)[0]


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def pairs(runs: list[int]) -> np.ndarray:
    flat = np.zeros(height * width, dtype=bool)
    for start, length in zip(runs[::2], runs[1::2]):
        flat[start - 1 : start - 1 + length] = True
    return flat.reshape(height, width)


def decoded(runs: list[int]) -> np.ndarray | None:
    try:
        return coco.decode(coco.frPyObjects({"size": [height, width], "counts": runs}, height, width)).astype(bool)
    except ValueError:
        return None


plain, told = processed(), processed(return_coco_annotation=True)
segments, lists = told["segments_info"], [[int(run) for run in runs] for runs in told["segmentation"]]
print(f"{len(segments)} segments, {len(lists)} lists of runs")
assert len(segments) == 2 and len(lists) == 3, "this has changed: the background is left out"
maps = [(plain["segmentation"] == segment["id"]).numpy() for segment in plain["segments_info"]]
truths = [masks[segment["label_id"] - 1].numpy() for segment in segments]
zipped = [overlap(pairs(runs), truth) for runs, truth in zip(lists, truths)]
after = [overlap(pairs(runs), truth) for runs, truth in zip(lists[1:], truths)]
mapped = [overlap(*both) for both in zip(maps, truths)]
for name, values in {"as a map": mapped, "lists by zip": zipped, "lists but the first": after}.items():
    print(f"IoU of segments and masks, {name}:", [round(value, 3) for value in values])
assert min(mapped) > 0.99, "the oracle: the map is right"
assert max(zipped) < 0.01, "this has changed: the lists are in step"
assert min(after) > 0.99, "this has changed: pairs of start and length, row by row, after the background"
for runs, truth in zip(lists[1:], truths):
    own = coco.encode(np.asfortranarray(truth.astype(np.uint8)))
    assert (coco.decode(own) == truth).all()
    read = decoded(runs)
    told = "refused" if read is None else "read"
    print(f"runs begin {runs[:4]}, their sum is {sum(runs)} for {height * width} pixels; pycocotools: {told}")
    assert read is None or overlap(read, truth) < 0.5, "this has changed: pycocotools reads it"
PY
echo "still so"
