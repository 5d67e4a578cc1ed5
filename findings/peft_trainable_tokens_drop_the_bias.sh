#!/usr/bin/env bash
# peft 0.21.2 with transformers 5.23.0 and torch 2.14.1, 2026-11-30: training a few tokens takes the bias off the MLM
# head.
#
# Guess: trainable_token_indices, in LoraConfig or as TrainableTokensConfig, trains the rows of some tokens and leaves
# the model as it was until then, so that the untrained adapter gives the logits of the bare model; so it does for
# GPT-2. Seen: in BERT, RoBERTa, DistilBERT and ELECTRA for masked language modelling, the head is tied to the
# embeddings and has a bias for each token. The wrapped head computes with the weights alone: the bias of every token
# is left out, in training and after loading, and learned words are drawn without how frequent they are.
# merge_and_unload brings it back, so that the merged model has other logits than the one that was trained and
# evaluated. Nothing is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  peft==0.21.2 transformers==5.23.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error "$folder/venv/bin/python" - <<'PY'
import copy

import torch
from peft import LoraConfig, TrainableTokensConfig, get_peft_model
from transformers import (
    BertConfig,
    BertForMaskedLM,
    DistilBertConfig,
    DistilBertForMaskedLM,
    ElectraConfig,
    ElectraForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    RobertaConfig,
    RobertaForMaskedLM,
)

SIZES = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
models = {
    "BERT": (BertForMaskedLM, BertConfig(**SIZES), "word_embeddings"),
    "RoBERTa": (RobertaForMaskedLM, RobertaConfig(**SIZES), "word_embeddings"),
    "ELECTRA": (ElectraForMaskedLM, ElectraConfig(embedding_size=16, **SIZES), "word_embeddings"),
    "DistilBERT": (
        DistilBertForMaskedLM,
        DistilBertConfig(vocab_size=40, dim=16, n_layers=1, n_heads=2, hidden_dim=32),
        "word_embeddings",
    ),
    "GPT-2": (
        GPT2LMHeadModel,
        GPT2Config(vocab_size=40, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0),
        "wte",
    ),
}
ids = torch.arange(5, 25).reshape(2, 10)
for name, (kind, config, embedding) in models.items():
    torch.manual_seed(0)
    bare = kind(config).eval()
    head = bare.get_output_embeddings()
    assert head.weight is bare.get_input_embeddings().weight, "the head is tied"
    if head.bias is not None:
        with torch.no_grad():
            head.bias.normal_()  # as a trained model has it: how frequent each token is
    bias = torch.zeros(40) if head.bias is None else head.bias.detach().clone()
    with torch.no_grad():
        expected = bare(ids).logits
    settings = {
        "LoRA": LoraConfig(
            target_modules=["c_attn"] if name == "GPT-2" else ["query", "q_lin"],
            fan_in_fan_out=name == "GPT-2",
            trainable_token_indices={embedding: [38, 39]},
        ),
        "tokens alone": TrainableTokensConfig(target_modules=[embedding], token_indices=[38, 39]),
    }
    for label, setting in settings.items():
        adapted = get_peft_model(copy.deepcopy(bare), setting).eval()
        with torch.no_grad():
            seen = adapted(ids).logits
            merged = adapted.merge_and_unload()(ids).logits
        print(f"{name}, {label}: logits move by up to {float((seen - expected).abs().max()):.4f},"
              f" merged by {float((merged - expected).abs().max()):.4f};"
              f" without the bias they would by {float(bias.abs().max()):.4f}")
        assert torch.allclose(merged, expected, atol=1e-5), "this has changed: merged"
        assert torch.allclose(seen, expected - bias, atol=1e-5), "this has changed: the bias is there"
PY
echo "still so"
