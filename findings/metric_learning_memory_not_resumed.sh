#!/usr/bin/env bash
# pytorch-metric-learning 2.9.0 with torch 2.14.1, 2026-11-30: a loaded CrossBatchMemory takes its memory for empty.
#
# Guess: state_dict holds the memory of embeddings and labels, so a loaded one goes on with the same losses. Seen: both
# tensors come back, but how far they are filled is no part of the state. The loaded loss compares new images with none of
# the memory, and writes over it from its start. Nothing tells.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  pytorch-metric-learning==2.9.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from pytorch_metric_learning.losses import ContrastiveLoss, CrossBatchMemory

drawn = torch.Generator().manual_seed(0)
batches = [torch.randn(10, 8, generator=drawn) for _ in range(4)]
labels = torch.arange(10) % 3


def fresh() -> CrossBatchMemory:
    return CrossBatchMemory(ContrastiveLoss(), 8, memory_size=64)


kept, loaded, empty = fresh(), fresh(), fresh()
for batch in batches[:3]:
    kept(batch, labels)
torch.save(kept.state_dict(), "state.pt")
print(loaded.load_state_dict(torch.load("state.pt")), "with", list(kept.state_dict()))
assert torch.equal(loaded.embedding_memory, kept.embedding_memory), "this has changed: the tensors"
losses = [float(loss(batches[3], labels)) for loss in (kept, loaded, empty)]
print("loss of the next batch: {:.4f} kept, {:.4f} loaded, {:.4f} with an empty memory".format(*losses))
assert losses[1] == losses[2] != losses[0], "this has changed"
PY
echo "still so"
