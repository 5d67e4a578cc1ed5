#!/usr/bin/env bash
# transformers 5.23.0 with torch 2.14.1, 2026-11-28: texts packed into one row see one another, unless the cache is off.
#
# Guess: a forward pass with position_ids that begin anew at each text, and without an attention mask, keeps the texts of
# a packed row apart, as the documents on packing say of sdpa; use_cache matters only to whoever writes on. Seen: the
# second text's logits depend on the first, as much as if they were one, with sdpa and with eager. With use_cache=False
# they are, to the bit, those of the text alone. Trainer sets it; a loop of one's own, or a perplexity, has to.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  transformers==5.23.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48, "vocab_size": 64}
model = LlamaForCausalLM(LlamaConfig(**size, max_position_embeddings=128, initializer_range=0.2)).eval()
first, other, second = torch.randint(0, 64, (3, 1, 6))
positions = torch.arange(6).repeat(2)[None]


def of_second(before: torch.Tensor, **options: bool) -> torch.Tensor:
    packed = torch.cat([before, second], dim=1)
    return model(input_ids=packed, position_ids=positions, **options).logits[0, 6:]


with torch.no_grad():
    for attention in ("sdpa", "eager"):
        model.set_attn_implementation(attention)
        leaks = float((of_second(first) - of_second(other)).abs().max())
        apart = float((of_second(first, use_cache=False) - of_second(other, use_cache=False)).abs().max())
        alone = float((of_second(first, use_cache=False) - model(input_ids=second).logits[0]).abs().max())
        print(f"{attention}: by default {leaks:.3f}; without a cache {apart:.3f}, and {alone:.1e} from the text alone")
        assert leaks > 0.1, "this has changed: packed texts are kept apart"
        assert apart == 0, "this has changed: packed texts see one another without a cache, too"
PY
echo "still so"
