#!/usr/bin/env bash
# transformers 5.23.0 with torch 2.14.1, 2026-11-30: learning rates end far below, or above, the minimum that was given.
#
# Guess: min_lr of "cosine_with_min_lr" and lr_end of "polynomial" are where each group of weights ends, as "the minimum
# learning rate to reach" and "the end LR" say, and as eta_min of torch's CosineAnnealingLR. Seen: the number is made a
# share of the optimizer's default rate, and each group ends at that share of its own. With a head at 1e-3, a backbone
# at 1e-5 and min_lr=1e-6, the backbone ends at 1e-8. Where the groups alone name rates, the default is AdamW's 1e-3,
# whatever they are. With one group that the optimizer was made for all is well.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check transformers==5.23.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - 2> errors <<'PY'
import torch
from transformers import get_scheduler

steps, floor = 100, 1e-6


def optimizer(rates: list[float], **settings: float) -> torch.optim.Optimizer:
    groups = [{"params": [torch.nn.Parameter(torch.ones(2))], "lr": rate} for rate in rates]
    return torch.optim.AdamW(groups, **settings)


def ends(made: torch.optim.Optimizer, name: str) -> list[float]:
    if name == "torch":
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(made, steps, eta_min=floor)
    else:
        key = "lr_end" if name == "polynomial" else "min_lr"
        schedule = get_scheduler(name, made, 10, steps, scheduler_specific_kwargs={key: floor})
    for _ in range(steps):
        made.step()
        schedule.step()
    return [float(f"{rate:.2g}") for rate in schedule.get_last_lr()]


cases = {
    "one group, 1e-3": ([1e-3], {"lr": 1e-3}, [1e-6]),
    "head 1e-3, backbone 1e-5": ([1e-3, 1e-5], {"lr": 1e-3}, [1e-6, 1e-8]),
    "the same, rates of groups alone": ([1e-3, 1e-5], {}, [1e-6, 1e-8]),
    "one group, 5e-2, rate of the group alone": ([5e-2], {}, [5e-5]),
}
for case, (rates, settings, seen) in cases.items():
    for name in ("torch", "cosine_with_min_lr", "polynomial"):
        last = ends(optimizer(rates, **settings), name)
        print(f"{case}, {name}: {last}")
        assert last == ([floor] * len(rates) if name == "torch" else seen), "this has changed"
PY
echo "still so"
