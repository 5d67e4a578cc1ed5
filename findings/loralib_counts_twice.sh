#!/usr/bin/env bash
# loralib 0.1.2 with torch 2.14.1, 2026-11-30: weights saved while evaluating count the adapter twice when loaded.
#
# Guess: load_state_dict(state_dict()) into a new model of the same layers gives the same outputs, as with any module.
# Seen: eval() adds B·A to the weight, and state_dict() does not tell. Saved in eval mode and loaded into a new model, eval()
# adds it again; saved in train mode and loaded into a model that is in eval mode already, it is never added. Only where
# both are in the same mode are outputs those that were saved. Nothing is raised or warned of.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  loralib==0.1.2 torch==2.14.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import copy

import loralib
import torch


def new() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(loralib.Linear(8, 8, r=2), torch.nn.ReLU(), loralib.Linear(8, 3, r=2))


def loaded(saved: dict, *, first_eval: bool) -> torch.Tensor:
    model = new()
    model.train(not first_eval)
    model.load_state_dict(saved)
    return model.eval()(inputs).detach()


trained = new()
with torch.no_grad():
    for name, weight in trained.named_parameters():
        if "lora_B" in name:
            weight.normal_()
inputs = torch.randn(4, 8)
in_training = copy.deepcopy(trained.state_dict())
right = trained.eval()(inputs).detach()
in_eval = copy.deepcopy(trained.state_dict())
off = {
    f"saved in {mode}, loaded into {into}": float((loaded(saved, first_eval=into == "eval") - right).abs().max())
    for mode, saved in (("train", in_training), ("eval", in_eval))
    for into in ("train", "eval")
}
for name, far in off.items():
    print(f"{name}: outputs {far:.4f} off")
same = [far for name, far in off.items() if name.count("train") != 1]
other = [far for name, far in off.items() if name.count("train") == 1]
assert max(same) < 1e-5 and min(other) > 0.1, "this has changed"
PY
echo "still so"
