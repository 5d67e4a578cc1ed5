#!/usr/bin/env bash
# timm 1.0.31 with torch 2.14.1, 2026-11-30: layer-wise decay does nothing under torch's schedulers, or under none.
#
# Guess: create_optimizer_v2(model, lr=..., layer_decay=0.5) makes an optimizer whose first layers learn slowly, as
# the rates of its groups say, under any schedule: torch's multiply the rate of each group. Seen: all groups have the
# full rate. The share of each is noted beside it as lr_scale, which timm's own schedulers alone read. With torch's
# CosineAnnealingLR or LambdaLR, or without a schedule, the first layer of a pre-trained network takes steps that are
# 2 ** 5 times as long as asked for. Nothing is said. With timm's scheduler all is well.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  timm==1.0.31 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import timm
import torch
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2

RATE, DECAY, DEPTH, EPOCHS = 0.01, 0.5, 4, 10
# The place of a weight in the network, from the head backwards: the share of the rate is DECAY ** place.
places = {
    "patch_embed.proj.weight": DEPTH + 1,
    "blocks.0.mlp.fc1.weight": DEPTH,
    "blocks.3.mlp.fc1.weight": 1,
    "head.weight": 0,
}


def steps(scheduler):
    # One step of plain SGD: how far each weight goes, in lengths of its gradient.
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", depth=DEPTH, img_size=32, patch_size=8, num_classes=3)
    optimizer = create_optimizer_v2(model, "momentum", lr=RATE, weight_decay=0.0, momentum=0.0, layer_decay=DECAY)
    if scheduler == "timm":
        create_scheduler_v2(optimizer, "cosine", num_epochs=EPOCHS, warmup_epochs=0, min_lr=0.0)
    elif scheduler == "CosineAnnealingLR":
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    elif scheduler == "LambdaLR":
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    weights = dict(model.named_parameters())
    before = {name: weights[name].detach().clone() for name in places}
    torch.nn.functional.cross_entropy(model(torch.randn(8, 3, 32, 32)), torch.arange(8) % 3).backward()
    optimizer.step()
    shares = sorted({group["lr_scale"] for group in optimizer.param_groups})
    assert shares == [DECAY**place for place in range(DEPTH + 1, -1, -1)], "the shares are noted"
    return {name: float((before[name] - weights[name]).norm() / weights[name].grad.norm()) for name in places}


wanted = {name: RATE * DECAY**place for name, place in places.items()}
print("asked for:", {name: round(value, 6) for name, value in wanted.items()})
for scheduler in ("timm", "none", "CosineAnnealingLR", "LambdaLR"):
    seen = steps(scheduler)
    print(f"scheduler {scheduler}:", {name: round(value, 6) for name, value in seen.items()})
    for name, value in seen.items():
        goal = wanted[name] if scheduler == "timm" else RATE
        assert abs(value / goal - 1) < 0.01, "this has changed"
PY
echo "still so"
