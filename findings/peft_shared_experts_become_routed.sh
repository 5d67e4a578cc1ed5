#!/usr/bin/env bash
# peft 0.21.2 with transformers 5.23.0, 2026-11-30: LoRA that is asked for at the shared expert of one layer goes to the
# routed experts of that model, and the shared expert is left as it was (DeepSeek-V2, Hunyuan).
#
# Guess: target_modules with whole names (model.layers.1.mlp.shared_experts.up_proj) put matrices beside these layers
# alone, as they do in a Llama.
# Seen: for models with experts peft maps names that end with gate_proj, up_proj and down_proj to the fused tensors in
# which transformers 5 holds the experts. The layers that were named are no targets any more; matrices lie beside
# experts.gate_up_proj and experts.down_proj. In Hunyuan's mixture, where two layers have experts, both get them
# though one was named. Nothing is told.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  peft==0.21.2 transformers==5.23.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import peft
import torch
import transformers

SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 64}
SIZE |= {"intermediate_size": 64, "moe_intermediate_size": 32, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
DEEPSEEK = {"n_routed_experts": 2, "n_shared_experts": 1, "num_experts_per_tok": 1, "kv_lora_rank": 8, "q_lora_rank": 8}
DEEPSEEK |= {"qk_rope_head_dim": 8, "v_head_dim": 16, "qk_nope_head_dim": 8, "head_dim": 8, "n_group": 1}
DEEPSEEK |= {"topk_group": 1, "first_k_dense_replace": 1}
HUNYUAN = {"num_experts": 2, "num_experts_per_tok": 1, "moe_topk": 1, "head_dim": 16}


def adapted(config, shared):
    """The layers of a fresh model that get matrices when the shared expert of its last layer is named."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    names = [f"model.layers.1.mlp.{shared}.{part}_proj" for part in ("gate", "up", "down")]
    there = dict(model.named_modules())
    assert all(isinstance(there[name], torch.nn.Linear) for name in names)
    lora = peft.get_peft_model(model, peft.LoraConfig(target_modules=names, r=2))
    return sorted(layers_of(lora)), lora.peft_config["default"]


def layers_of(lora):
    """The names of the layers with matrices."""
    found = {name.split(".lora_A")[0] for name, _ in lora.named_parameters() if "lora_A" in name}
    return {name.removeprefix("base_model.model.") for name in found}


plain = transformers.AutoModelForCausalLM.from_config(transformers.LlamaConfig(**SIZE))
named = [f"model.layers.1.mlp.{part}_proj" for part in ("gate", "up", "down")]
llama = layers_of(peft.get_peft_model(plain, peft.LoraConfig(target_modules=named, r=2)))
print("Llama:", sorted(llama))
assert llama == set(named)

deepseek, settings = adapted(transformers.DeepseekV2Config(**SIZE, **DEEPSEEK), "shared_experts")
print("DeepSeek-V2:", deepseek, settings.target_modules, sorted(settings.target_parameters))
assert deepseek and not any("shared" in name for name in deepseek), "this has changed"
assert all("mlp.experts" in name for name in deepseek), "this has changed"
assert settings.target_modules == set(), "this has changed"

hunyuan, _ = adapted(transformers.HunYuanMoEV1Config(**SIZE, **HUNYUAN), "shared_mlp")
print("Hunyuan:", hunyuan)
assert not any("shared" in name for name in hunyuan), "this has changed"
assert {name.split(".")[2] for name in hunyuan} == {"0", "1"}, "this has changed"
PY
echo "still so"
