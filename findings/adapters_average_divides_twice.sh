#!/usr/bin/env bash
# adapters 1.3.0 with transformers 4.57.6 and torch 2.14.1, 2026-11-30: the Average block has half of the mean of two.
#
# Guess: Average("a", "b", weights=[1, 0]) is "a" alone, and the average of an adapter and its copy is that adapter, as
# it is by average_adapter. Seen: the weights are scaled to a sum of 1, and the mean over adapters of what was weighted
# divides by their number once more. With LoRA, two adapters have half of the strength and four a quarter. With
# bottleneck adapters the hidden states themselves, which flow through, are halved as well. normalize_weights=False
# divides too. Nothing is said, and more adapters seem to do less.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  adapters==1.3.0 transformers==4.57.6 torch==2.14.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - 2> errors <<'PY'
import adapters
import torch
import transformers as tr
from adapters.composition import Average

ids = torch.randint(5, 50, (4, 7), generator=torch.Generator().manual_seed(1))
size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def model(config: adapters.AdapterConfig) -> tr.PreTrainedModel:
    torch.manual_seed(0)
    made = tr.BertModel(tr.BertConfig(vocab_size=50, **size)).eval()
    adapters.init(made)
    drawn = torch.Generator().manual_seed(2)
    for name in ("a", "b", "copy"):
        made.add_adapter(name, config=config)
    weights = dict(made.named_parameters())
    for key in [key for key in weights if ".a." in key or ".b." in key]:
        weights[key].data += torch.randn(weights[key].shape, generator=drawn) * 0.3
    for key in [key for key in weights if ".copy." in key]:
        weights[key].data.copy_(weights[key.replace(".copy.", ".a.")])
    return made


def output(made: tr.PreTrainedModel, active: object) -> torch.Tensor:
    made.set_active_adapters(active)
    with torch.no_grad():
        return made(ids).last_hidden_state


for name, config in {"LoRA": adapters.LoRAConfig(r=4, alpha=8), "bottleneck": adapters.DoubleSeqBnConfig()}.items():
    made = model(config)
    alone, other = output(made, "a"), output(made, "b")
    made.average_adapter("merged", ["a", "copy"])
    cases = {
        "average_adapter of a and its copy": output(made, "merged"),
        "Average of a and its copy": output(made, Average("a", "copy")),
        "Average, weights 1 and 0": output(made, Average("a", "b", weights=[1.0, 0.0])),
        "Average, weights 1 and 0 as they are": output(
            made, Average("a", "b", weights=[1.0, 0.0], normalize_weights=False)
        ),
    }
    for case, seen in cases.items():
        gap = float((seen - alone).abs().max())
        print(f"{name}, {case}: off by {gap:.1e}; a and b differ by {float((alone - other).abs().max()):.1e}")
        assert (gap < 1e-4) == case.startswith("average_adapter") and not 1e-4 < gap < 0.1, "this has changed"
    if name == "LoRA":
        doubled = output(made, Average("a", "copy", weights=[2.0, 2.0], normalize_weights=False))
        halved = model(adapters.LoRAConfig(r=4, alpha=4))
        assert float((doubled - output(made, Average("a", "copy"))).abs().max()) > 0.1
        gap = float((output(halved, "a") - cases["Average of a and its copy"]).abs().max())
        print(f"off from a with half of its alpha: {gap:.1e}")
        assert gap < 1e-4, "this has changed: half of the strength"
PY
echo "still so"
