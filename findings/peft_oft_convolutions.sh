#!/usr/bin/env bash
# peft 0.21.2 with torch 2.14.1, 2026-11-30: OFT on a convolution scrambles its input, and merging takes that back.
#
# Guess: a fresh OFT adapter rotates by the identity, so that the model starts as it was (as OFT on linear layers, BOFT,
# LoRA, LoHa and LoKr on convolutions do); and the merged model gives what the adapted one gave.
# Seen: for kernels larger than 1 x 1 the input is cut into patches, rotated, and put together again in another order and
# by adding. The fresh adapter gives nothing like what the bare layer gives (correlation 0, three to five times as large).
# The merged weights do without that detour, so that a model which was trained so is another one after merging.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  peft==0.21.2 transformers==5.23.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 HF_HOME="$folder/hub" "$folder/venv/bin/python" -W ignore - 2> /dev/null <<'PY'
import torch
from peft import BOFTConfig, OFTConfig, get_peft_model
from torch import nn


def start(kernel: int, config: OFTConfig | BOFTConfig) -> tuple[float, float, float]:
    """Correlation with the bare layer of a freshly adapted one, its size beside it, and the correlation after merging."""
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 8, kernel, padding=kernel // 2, bias=False).eval()
    pixels = torch.randn(2, 8, 32, 32)
    with torch.no_grad():
        bare = layer(pixels)
        model = get_peft_model(nn.Sequential(layer), config).eval()
        fresh = model(pixels)
        merged = model.merge_and_unload()(pixels)
    alike = [float(torch.corrcoef(torch.stack([bare.flatten(), other.flatten()]))[0, 1]) for other in (fresh, merged)]
    return alike[0], float(fresh.std() / bare.std()), alike[1]


for name, kernel, config in (
    ("OFT", 1, OFTConfig(target_modules=["0"], oft_block_size=4)),
    ("OFT", 3, OFTConfig(target_modules=["0"], oft_block_size=4)),
    ("OFT", 5, OFTConfig(target_modules=["0"], oft_block_size=4)),
    ("BOFT", 3, BOFTConfig(target_modules=["0"], boft_block_size=4)),
):
    fresh, size, merged = start(kernel, config)
    print(f"{name}, {kernel} x {kernel}: {fresh:.3f} like the bare layer, {size:.2f} times as large; merged: {merged:.3f}")
    right = name == "BOFT" or kernel == 1
    assert merged > 0.999, "this has changed: merged weights, too"
    assert (fresh > 0.999) == right and (right or fresh < 0.2), "this has changed: OFT starts as the identity"
PY
echo "still so"
