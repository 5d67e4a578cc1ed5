#!/usr/bin/env bash
# ncnn 1.0.20261020 and pnnx 20261020 with torch 2.14.1, 2026-11-30: converted networks give infinity for (-2) ** 3, and
# other remainders, divisions and paddings.
#
# Guess: what pnnx converts without a word, and ncnn loads, computes what the module does; what it can't convert fails
# to load, as median does. Seen: powers other than 2 of negative numbers are infinite. Remainders are those to
# the nearest multiple, so that 3 % 4 is -1. Division loses rounding_mode="floor" (no rounding) and takes "trunc" for
# "floor". Circular padding is of zeros (pnnx tells of it for convolutions, not for pad). LayerNorm over channels, rows
# and columns is done for each channel.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  ncnn==1.0.20261020 pnnx==20261020 torch==2.14.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 PATH="$folder/venv/bin:$PATH" "$folder/venv/bin/python" -W ignore - <<'PY'
import subprocess

import ncnn
import numpy as np
import torch
from torch.nn.functional import pad


class Network(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function, self.first = function, torch.nn.Conv2d(4, 4, 1, bias=False)
        torch.nn.init.dirac_(self.first.weight)  # changes nothing; by it pnnx knows the axes

    def forward(self, values):
        return self.function(self.first(values))


def both(name, function, values):
    """What ncnn gives for a converted network, and what torch gives."""
    module = Network(function).eval()
    torch.jit.trace(module, values, check_trace=False).save(f"{name}.pt")
    said = subprocess.run(["pnnx", f"{name}.pt", "inputshape=[1,4,2,2]", "fp16=0"], capture_output=True, check=True)
    net = ncnn.Net()
    for each in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, each, False)
    assert net.load_param(f"{name}.ncnn.param") == 0 and net.load_model(f"{name}.ncnn.bin") == 0, name
    extractor = net.create_extractor()
    extractor.input("in0", ncnn.Mat(values[0].numpy()).clone())
    assert b"unsupported" not in said.stdout + said.stderr, "this has changed: pnnx tells"
    return np.array(extractor.extract("out0")[1]), function(values)[0].numpy()


numbers = torch.tensor([[-2.0, -1.0], [1.5, 3.0]]).repeat(1, 4, 1, 1)
spread = numbers * torch.arange(1.0, 5)[:, None, None] + torch.arange(4.0)[:, None, None]
cases = {
    "square": (lambda x: x**2, numbers, lambda x: x**2),
    "cube": (lambda x: x**3, numbers, lambda x: np.where(x < 0, np.inf, x**3)),
    "remainder": (lambda x: x % 4, numbers, lambda x: x - 4 * np.round(x / 4)),
    "floor": (lambda x: torch.div(x, 2, rounding_mode="floor"), numbers, lambda x: x / 2),
    "trunc": (lambda x: torch.div(x, 2, rounding_mode="trunc"), numbers, lambda x: np.floor(x / 2)),
    "circular": (lambda x: pad(x, (1, 1, 0, 0), "circular"), numbers, lambda x: np.pad(x, ((0, 0), (0, 0), (1, 1)))),
    "norm": (torch.nn.LayerNorm([4, 2, 2], elementwise_affine=False), spread,
             lambda x: (x - x.mean((1, 2), keepdims=True)) / x.std((1, 2), keepdims=True)),
}
for name, (function, values, seen) in cases.items():
    found, true = both(name, function, values)
    found = np.where(found > 1e38, np.inf, found)
    print(f"{name}: ncnn {np.round(found[-1], 2).tolist()}, torch {np.round(true[-1], 2).tolist()}")
    assert np.allclose(found, seen(values[0].numpy().astype(float)), atol=1e-2), f"this has changed: {name}"
    assert np.allclose(found, true, atol=1e-2) == (name == "square"), f"this has changed: {name}"
PY
echo "still so"
