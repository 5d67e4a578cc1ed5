#!/usr/bin/env bash
# torch 2.14.1 (FlopCounterMode), thop 0.1.1, torchinfo 1.8.0, calflops 0.3.2, 2026-11-30: multiplications of one ViT.
#
# Guess: a counter of operations gives a ViT as many as a sum by hand, and as many with "sdpa" as with "eager" attention,
# which compute the same. Seen, on a CPU: torch's own counter has formulas for the attention kernels of GPUs, and none for
# that of CPUs: it passes over attention without a word, as calflops does (14 % of ViT-Tiny at 224 pixels, 46 % at 512).
# thop passes over it with both; torchinfo counts a linear layer once for an image, not once for each token: 3 % of all.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  transformers==5.23.0 torch==2.14.1 numpy==2.4.6 thop==0.1.1.post2209072238 \
  torchinfo==1.8.0 calflops==0.3.2 accelerate==1.15.0
cd "$folder"
HF_HUB_OFFLINE=1 HF_HOME="$folder/hub" "$folder/venv/bin/python" -W ignore - 2> /dev/null <<'PY'
import thop
import torch
import torchinfo
from calflops import calculate_flops
from torch.utils.flop_counter import FlopCounterMode
from transformers import ViTConfig, ViTModel

WIDTH, LAYERS = 192, 12


def by_hand(side: int) -> tuple[float, float]:
    """Millions of multiplications: all, and those of attention (queries with keys, weights with values)."""
    patches = (side // 16) ** 2
    tokens = patches + 1
    attention = LAYERS * 2 * tokens**2 * WIDTH
    linear = LAYERS * tokens * (4 + 2 * 4) * WIDTH**2 + patches * 3 * 16 * 16 * WIDTH + WIDTH**2  # the last: the pooler
    return (linear + attention) / 1e6, attention / 1e6


def counted(side: int, attention: str) -> dict[str, float]:
    config = ViTConfig(
        hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=3, intermediate_size=4 * WIDTH, image_size=side
    )
    config._attn_implementation = attention
    model, pixels = ViTModel(config).eval(), torch.rand(1, 3, side, side)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(pixels)
    quiet = {"output_as_string": False, "print_results": False, "print_detailed": False}
    return {
        "torch": counter.get_total_flops() / 2e6,
        "calflops": calculate_flops(model, args=[pixels], **quiet)[1] / 1e6,
        "torchinfo": torchinfo.summary(model, input_data=pixels, verbose=0).total_mult_adds / 1e6,
        "thop": thop.profile(model, inputs=(pixels,), verbose=False)[0] / 1e6,
    }


for side in (224, 512):
    hand, of_attention = by_hand(side)
    print(f"{side} pixels, by hand: {hand:.0f} million, {of_attention:.0f} of them attention")
    found = {attention: counted(side, attention) for attention in ("eager", "sdpa")}
    for name in found["eager"]:
        print(f"  {name}: eager {found['eager'][name]:.0f}, sdpa {found['sdpa'][name]:.0f}")
    for name in ("torch", "calflops"):
        assert abs(found["eager"][name] / hand - 1) < 0.01, f"this has changed: {name} counts eager attention"
        assert abs(found["sdpa"][name] / (hand - of_attention) - 1) < 0.01, f"this has changed: {name} counts sdpa"
    assert found["eager"]["thop"] < 1.01 * (hand - of_attention), "this has changed: thop counts attention"
    assert found["eager"]["torchinfo"] < 0.05 * hand, "this has changed: torchinfo counts all tokens"
PY
echo "still so"
