#!/usr/bin/env bash
# thop 0.1.1 and torchinfo 1.8.0 with torch 2.14.1, beside fvcore 0.1.5 and ptflops 0.7.5, 2026-11-30: decoders count
# four times.
#
# Guess: a counter of multiplications gives a transposed convolution one for each weight and each place of its input,
# as it is by hand and as torch's FlopCounterMode, fvcore and ptflops have it. Seen: thop and torchinfo count one for
# each weight and each place of the output, as in a common convolution. With a stride of 2 that is four times as many,
# with 4 sixteen times. A U-Net that learns to enlarge seems to cost nearly three times what it does, and one that
# interpolates, which costs more, seems to cost less. Nothing is said. Common convolutions are counted right by all.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  torchinfo==1.8.0 thop==0.1.1.post2209072238 ptflops==0.7.5 fvcore==0.1.5.post20221221 torch==2.14.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import logging

import torch
import torchinfo
from fvcore.nn import FlopCountAnalysis
from ptflops import get_model_complexity_info
from thop import profile
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

logging.disable(logging.WARNING)


def counts(model, shape):
    example = torch.zeros(1, *shape)
    with FlopCounterMode(display=False) as counter:
        model(example)
    return {
        "torch": counter.get_total_flops() // 2,
        "fvcore": int(FlopCountAnalysis(model, example).total()),
        "ptflops": get_model_complexity_info(model, shape, as_strings=False, print_per_layer_stat=False)[0],
        "thop": int(profile(model, (example,), verbose=False)[0]),
        "torchinfo": torchinfo.summary(model, input_data=example, verbose=0).total_mult_adds,
    }


def by_hand(weight, places):
    return weight.numel() * places


layers = {
    "convolution": (nn.Conv2d(64, 32, 2, stride=2, bias=False), 16 * 16, 1),
    "transposed, stride 2": (nn.ConvTranspose2d(64, 32, 2, stride=2, bias=False), 32 * 32, 4),
    "transposed, stride 4": (nn.ConvTranspose2d(64, 32, 4, stride=4, bias=False), 32 * 32, 16),
}
for name, (layer, places, factor) in layers.items():
    true = by_hand(layer.weight, places)
    found = counts(layer, (64, 32, 32))
    print(f"{name}: by hand {true:,};", ", ".join(f"{who} {value:,}" for who, value in found.items()))
    assert found["torch"] == found["fvcore"] == found["ptflops"] == true
    assert found["thop"] == found["torchinfo"] == factor * true, "this has changed"


class Net(nn.Module):
    # Two levels of a U-Net: down, and up again by learned or by interpolated enlargement.
    def __init__(self, up):
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(64, 128, 3, padding=1)
        )
        self.up = up
        self.out = nn.Conv2d(64, 2, 1)

    def forward(self, x):
        return self.out(self.up(self.down(x)))


learned = counts(Net(nn.ConvTranspose2d(128, 64, 4, stride=2, padding=1)), (3, 64, 64))
enlarged = counts(Net(nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(128, 64, 3, padding=1))), (3, 64, 64))
for who in learned:
    print(f"{who}: learned {learned[who]:,}, interpolated {enlarged[who]:,}")
    assert (learned[who] > enlarged[who]) == (who in ("thop", "torchinfo")), "this has changed"
PY
echo "still so"
