#!/usr/bin/env bash
# timm 1.0.31 with torch 2.14.1 and transformers 5.23.0, 2026-11-30: the average of tied weights is moved twice a
# step.
#
# Guess: ModelEmaV3(model, decay=0.9) keeps 0.9 of each weight's average and takes 0.1 of the new one, as torch's
# AveragedModel and ema-pytorch do. Seen: ModelEmaV3, with foreach and without, and ModelEmaV2 go through the state
# dict, where a weight that two layers share is listed twice: it is moved twice at each step, by 0.19. Its decay is
# the square of what was asked for, and with 0.999 it averages over half as many steps as all else. The embeddings of
# a language model with a tied head, BERT for masked words or GPT-2, are such weights. Nothing is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  timm==1.0.31 ema-pytorch==0.8.3 transformers==5.23.0 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from ema_pytorch import EMA
from timm.utils import ModelEmaV2, ModelEmaV3
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import GPT2Config, GPT2LMHeadModel

DECAY, STEPS = 0.9, 5
config = GPT2Config(vocab_size=30, n_embd=8, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0)


def fill(model, value):
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(value)


def averaged(make, update, inner):
    # All weights are 0 at the start and 1 from then on: after n steps their average is 1 - decay ** n.
    model = GPT2LMHeadModel(config)
    assert model.lm_head.weight is model.transformer.wte.weight
    fill(model, 0.0)
    average = make(model)
    fill(model, 1.0)
    for _ in range(STEPS):
        update(average, model)
    copy = inner(average)
    return copy.transformer.wte.weight.mean().item(), copy.transformer.wpe.weight.mean().item()


def torchs(model):
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(DECAY))
    average.update_parameters(model)  # the first call copies
    return average


def lucids(model):
    average = EMA(model, beta=DECAY, min_value=DECAY, update_after_step=-10, update_every=1)
    average.update()  # the first call copies
    return average


expected = 1 - DECAY**STEPS
found = {
    "torch": averaged(torchs, lambda a, m: a.update_parameters(m), lambda a: a.module),
    "ema-pytorch": averaged(lucids, lambda a, m: a.update(), lambda a: a.ema_model),
    "ModelEmaV2": averaged(lambda m: ModelEmaV2(m, decay=DECAY), lambda a, m: a.update(m), lambda a: a.module),
    "ModelEmaV3": averaged(lambda m: ModelEmaV3(m, decay=DECAY), lambda a, m: a.update(m), lambda a: a.module),
    "ModelEmaV3, foreach=False": averaged(
        lambda m: ModelEmaV3(m, decay=DECAY, foreach=False), lambda a, m: a.update(m), lambda a: a.module
    ),
}
for name, (tied, other) in found.items():
    print(f"{name}: tied embedding {tied:.4f}, other weights {other:.4f}, by hand {expected:.4f}")
    assert abs(other - expected) < 1e-5, "this has changed: the other weights"
    wanted = 1 - DECAY ** (2 * STEPS) if name.startswith("ModelEma") else expected
    assert abs(tied - wanted) < 1e-5, "this has changed: tied weights"
PY
echo "still so"
