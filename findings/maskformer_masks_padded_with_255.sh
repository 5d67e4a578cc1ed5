#!/usr/bin/env bash
# transformers 5.23.0 with torch 2.14.1 and torchvision 0.29.1, 2026-11-30: binary masks are 255 where images are
# padded.
#
# Guess: MaskFormer's and Mask2Former's processors with ignore_index=255 (as for ADE20K and Cityscapes) give a mask of
# 0 and 1 for each class, and 0 around an image that was padded to the size of its batch, as no class is there. Seen:
# the padding has 255 in the masks of all classes. The losses take it for a probability, and reward a mask over the
# padding without end: after 40 steps the loss, which can't be below 0, is far below, and with 0 in the padding higher
# than at first. With ignore_index=None the padding is 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  transformers==5.23.0 torch==2.14.1 torchvision==0.29.1 pillow==13.0.0 numpy==2.4.6 scipy==1.17.1
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import torch
import transformers

images = [np.full((size, size, 3), 200, np.uint8) for size in (128, 96)]
maps = [np.zeros((size, size), np.uint8) for size in (128, 96)]
for segments in maps:
    segments[:40], segments[40:60] = 1, 2


def batch(name, ignored):
    processor = getattr(transformers, f"{name}ImageProcessor")(do_resize=False, ignore_index=ignored)
    return processor(images, segmentation_maps=maps, return_tensors="pt")


for name in ("MaskFormer", "Mask2Former"):
    masks = batch(name, 255)["mask_labels"]
    plain = batch(name, None)["mask_labels"]
    values, usual = [m.unique().tolist() for m in masks], [m.unique().tolist() for m in plain]
    print(f"{name}: values with ignore_index=255: {values}, with None: {usual}")
    assert values[0] == [0, 1] and (masks[1][:, 96:] == 255).all(), "this has changed"
    assert usual == [[0, 1], [0, 1]] and (masks[1][:, :96, :96] == plain[1][:, :96, :96]).all(), "this has changed"

torch.manual_seed(0)
stages = [f"stage{i}" for i in range(1, 5)]
backbone = transformers.SwinConfig(
    image_size=128, embed_dim=16, depths=[1] * 4, num_heads=[1, 1, 2, 2], window_size=4, out_features=stages
)
sizes = {name: 32 for name in ("feature_size", "mask_feature_size", "hidden_dim", "dim_feedforward")}
config = transformers.Mask2FormerConfig(
    backbone_config=backbone,
    **sizes,
    encoder_feedforward_dim=32,
    encoder_layers=1,
    decoder_layers=2,
    num_attention_heads=2,
    num_queries=5,
    num_labels=3,
    train_num_points=500,
)
model = transformers.Mask2FormerForUniversalSegmentation(config).eval()
given = batch("Mask2Former", 255)
zero = [masks.where(masks < 2, 0) for masks in given["mask_labels"]]


def loss(masks):
    torch.manual_seed(0)
    inputs = {name: given[name] for name in ("pixel_values", "pixel_mask", "class_labels")}
    return model(**inputs, mask_labels=masks).loss


optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
print(f"at first: loss: {float(loss(given['mask_labels'])):.1f}, with 0 in the padding: {float(loss(zero)):.1f}")
for _ in range(40):
    optimizer.zero_grad()
    loss(given["mask_labels"]).backward()
    optimizer.step()
own, true = float(loss(given["mask_labels"])), float(loss(zero))
print(f"after 40 steps: loss: {own:.1f}, with 0 in the padding: {true:.1f}")
assert own < -100, "this has changed: no loss is below 0"
PY
echo "still so"
