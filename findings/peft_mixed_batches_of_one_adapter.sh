#!/usr/bin/env bash
# peft 0.21.2 with transformers 5.23.0 and torch 2.14.1, 2026-11-30: adapter_names is ignored but with LoRA and RoAd.
#
# Guess: model(..., adapter_names=["one", "two", "__base__"]) computes each row with its own adapter, as it does with
# LoRA and RoAd, or refuses, as LoRA does where it can't (ValueError with DoRA). Seen: with IA3, LoHa, LoKr, OFT, HRA,
# VeRA, MiSS, SHiRA and trainable tokens the argument is taken and dropped. All rows, those of "__base__" too, are
# computed with the adapter that is active. A server that answers two customers in one batch gives both the model of
# one. No error, no warning.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  peft==0.21.2 transformers==5.23.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error "$folder/venv/bin/python" -W ignore - <<'PY'
import copy
import warnings

import torch
from peft import (
    HRAConfig,
    IA3Config,
    LoHaConfig,
    LoKrConfig,
    LoraConfig,
    MissConfig,
    OFTConfig,
    RoadConfig,
    ShiraConfig,
    TrainableTokensConfig,
    VeraConfig,
    get_peft_model,
)
from transformers import BertConfig, BertForSequenceClassification

where = {"target_modules": ["query", "value"]}
kinds = {
    "LoRA": lambda: LoraConfig(r=4, **where),
    "RoAd": lambda: RoadConfig(group_size=4, **where),
    "IA3": lambda: IA3Config(feedforward_modules=[], **where),
    "LoHa": lambda: LoHaConfig(r=4, **where),
    "LoKr": lambda: LoKrConfig(r=4, **where),
    "OFT": lambda: OFTConfig(r=0, oft_block_size=4, **where),
    "HRA": lambda: HRAConfig(r=4, **where),
    "VeRA": lambda: VeraConfig(r=4, **where),
    "MiSS": lambda: MissConfig(r=4, **where),
    "SHiRA": lambda: ShiraConfig(r=2, **where),
    "trainable tokens": lambda: TrainableTokensConfig(target_modules=["word_embeddings"], token_indices=[5, 6, 7]),
}
torch.manual_seed(0)
bare = BertForSequenceClassification(
    BertConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        initializer_range=0.5,
    )
).eval()
ids = torch.randint(5, 12, (6, 8))
names = ["one", "two", "__base__"] * 2

for kind, config in kinds.items():
    model = get_peft_model(copy.deepcopy(bare), config(), adapter_name="one")
    model.add_adapter("two", config())
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.split(".")[-1] in ("one", "two") or ".one." in name or ".two." in name:
                weight.add_(torch.randn_like(weight) * 0.5)  # as if it had learned
        model.eval()
        alone = {"__base__": bare(ids).logits}
        for name in ("one", "two"):
            model.set_adapter(name)
            alone[name] = model(ids).logits
        expected = torch.stack([alone[name][row] for row, name in enumerate(names)])
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            seen = model(ids, adapter_names=names).logits  # the active adapter is "two"
        assert not any("adapter" in str(each.message) for each in said), "this has changed: a warning"
    for one, other in (("one", "two"), ("one", "__base__"), ("two", "__base__")):
        assert float((alone[one] - alone[other]).abs().max()) > 1e-3, "three models"
    print(f"{kind}: off by up to {float((seen - expected).abs().max()):.4f} from each row's own adapter,"
          f" by {float((seen - alone['two']).abs().max()):.4f} from the active one for all")
    assert torch.allclose(seen, expected if kind in ("LoRA", "RoAd") else alone["two"], atol=1e-5), "this has changed"
PY
echo "still so"
