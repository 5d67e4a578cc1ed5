#!/usr/bin/env bash
# transformers 5.23.0 with timm 1.0.31 and torch 2.14.1, 2026-11-30: Swin's maps have 7 channels as a timm backbone.
#
# Guess: feature_maps of any backbone are (batch, channels, height, width), as BackboneOutput documents, with as many
# channels as backbone.channels says, whether the network is transformers' own or timm's: that is what decoders and
# pooling rely on.
# Seen: TimmBackbone hands on what timm's features_only gives, and that of Swin (V2 and MambaOut, too) is (batch,
# height, width, channels). The mean over the last two axes, as pooled features are taken, has 7 numbers for the 768
# channels: one for each row of the photo. ResNet is right, transformers' own Swin too. UPerNet on it ends in an
# error; what reads maps of any width says nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  transformers==5.23.0 timm==1.0.31 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from transformers import SwinBackbone, SwinConfig, TimmBackbone, TimmBackboneConfig


def of_timm(name):
    config = TimmBackboneConfig(backbone=name, use_pretrained_backbone=False, features_only=True, out_indices=[-1])
    return TimmBackbone(config)


own = SwinBackbone(SwinConfig(depths=[1, 1, 1, 1], out_features=["stage4"]))
photo, pooled = torch.rand(1, 3, 224, 224), {}
for name, backbone in (
    ("transformers' Swin", own),
    ("timm's ResNet", of_timm("resnet18")),
    ("timm's Swin", of_timm("swin_tiny_patch4_window7_224")),
    ("timm's Swin V2", of_timm("swinv2_tiny_window8_256")),
    ("timm's MambaOut", of_timm("mambaout_femto")),
):
    with torch.no_grad():
        size = 256 if "V2" in name else 224
        (found,) = backbone.eval()(torch.nn.functional.interpolate(photo, size)).feature_maps
    pooled[name] = (found.mean(dim=(2, 3)).shape[1], backbone.channels[-1])
    print(f"{name}: says {backbone.channels[-1]} channels, gives {tuple(found.shape)}, pooled {pooled[name][0]}")
assert pooled["transformers' Swin"] == (768, 768) and pooled["timm's ResNet"] == (512, 512), "this has changed"
assert pooled["timm's Swin"] == (7, 768) and pooled["timm's Swin V2"] == (8, 768), "this has changed"
assert pooled["timm's MambaOut"][0] == 7, "this has changed"
PY
echo "still so"
