#!/usr/bin/env bash
# transformers 5.23.0 with torch 2.14.1, torchvision 0.29.1, 2026-11-28: a text model imports torchvision's networks and
# torch's compiler, wherever torchvision is installed.
#
# Guess: `from transformers import BertForSequenceClassification` imports what BERT is made of, and nothing of images.
# Seen: its module imports transformers.activations and with it the hub kernels, whose flash attention imports
# generation/continuous_batching, whose cache is decorated by torch.compiler: torch._dynamo is imported. And modeling_utils
# imports loss/loss_utils, which has the losses of object detectors, which import image_transforms and torchvision whole,
# its networks too. Without torchvision in the environment the same line imports none of it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  transformers==5.23.0 torch==2.14.1 torchvision==0.29.1 pillow==13.0.0 numpy==2.4.6
cd "$folder"
cat > ask.py <<'PY'
import sys

from transformers import BertForSequenceClassification

names = ("torch._dynamo", "torchvision.models.resnet", "torchvision.ops.roi_align", "PIL.Image")
print(BertForSequenceClassification.__name__, {name: name in sys.modules for name in names})
wanted = sys.argv[1] == "with"
assert ("torchvision.models.resnet" in sys.modules) is wanted, "this has changed: torchvision"
assert "torch._dynamo" in sys.modules, "this has changed: torch._dynamo"
PY
"$folder/venv/bin/python" -W ignore ask.py with
"$folder/venv/bin/python" -m pip uninstall -q -y torchvision
"$folder/venv/bin/python" -W ignore ask.py without
echo "still so"
