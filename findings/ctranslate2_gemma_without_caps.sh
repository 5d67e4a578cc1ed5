#!/usr/bin/env bash
# ctranslate2 4.8.5 with transformers 5.23.0 and torch 2.14.1, 2026-11-30: a converted Gemma 2 computes something else.
#
# Guess: TransformersConverter writes a model that gives the logits of transformers, or refuses. Seen: so it does for
# Llama, Mistral, Qwen and the first Gemma. Of Gemma 2, which it has a loader for, it leaves out the caps on attention
# and on logits, the windows of every other layer and query_pre_attn_scalar, all of which the published models have. Of
# GPT-2 it leaves out layer_norm_epsilon, scale_attn_weights and scale_attn_by_inverse_layer_idx, of Llama, Mistral and
# Qwen hidden_act. Scores, perplexities and texts are those of another model. No word is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  ctranslate2==4.8.5 transformers==5.23.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import shutil

import ctranslate2
import numpy as np
import tokenizers
import torch
import transformers as tr

tr.logging.set_verbosity_error()
tr.logging.disable_progress_bar()
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"] + [f"w{number}" for number in range(60)]
inner = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: place for place, word in enumerate(words)}, "[UNK]"))
inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "bos_token": "[CLS]", "eos_token": "[SEP]"}
tokenizer = tr.PreTrainedTokenizerFast(tokenizer_object=inner, **special)
size = {
    "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 64, "initializer_range": 0.5, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3,
}  # fmt: skip
gemma = {"head_dim": 8, "query_pre_attn_scalar": 8, "attn_logit_softcapping": None, "final_logit_softcapping": None}
gpt = {"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.5}


def gap(config: tr.PreTrainedConfig) -> float:
    torch.manual_seed(0)
    model = tr.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    for folder in ("model", "converted"):
        shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained("model")
    tokenizer.save_pretrained("model")
    ctranslate2.converters.TransformersConverter("model").convert("converted")
    text = torch.randint(4, 64, (1, 9))
    with torch.no_grad():
        true = model(text).logits[0].numpy()
    told = ctranslate2.Generator("converted").forward_batch([[words[word] for word in text[0]]])
    return float(np.abs(np.array(told)[0] - true).max())


right = {
    "Llama": tr.LlamaConfig(**size),
    "Llama, rms_norm_eps": tr.LlamaConfig(**size, rms_norm_eps=0.1),
    "Gemma": tr.GemmaConfig(**size, head_dim=8),
    "Gemma 2 without caps, windows and scalar": tr.Gemma2Config(**size, **gemma),
    "GPT-2": tr.GPT2Config(**gpt),
}
wrong = {
    "Gemma 2, attn_logit_softcapping": tr.Gemma2Config(**size, **{**gemma, "attn_logit_softcapping": 5.0}),
    "Gemma 2, final_logit_softcapping": tr.Gemma2Config(**size, **{**gemma, "final_logit_softcapping": 5.0}),
    "Gemma 2, sliding_window": tr.Gemma2Config(**size, **gemma, sliding_window=3),
    "Gemma 2, query_pre_attn_scalar": tr.Gemma2Config(**size, **{**gemma, "query_pre_attn_scalar": 16}),
    "Gemma 2, all by default": tr.Gemma2Config(**size, head_dim=8),
    "GPT-2, layer_norm_epsilon": tr.GPT2Config(**gpt, layer_norm_epsilon=0.1),
    "GPT-2, scale_attn_weights": tr.GPT2Config(**gpt, scale_attn_weights=False),
    "GPT-2, scale_attn_by_inverse_layer_idx": tr.GPT2Config(**gpt, scale_attn_by_inverse_layer_idx=True),
    "Llama, hidden_act": tr.LlamaConfig(**size, hidden_act="gelu"),
}
for name, config in {**right, **wrong}.items():
    apart = gap(config)
    print(f"{name}: logits up to {apart:.1e} apart")
    assert apart > 0.01 if name in wrong else apart < 1e-3, "this has changed"
PY
echo "still so"
