#!/usr/bin/env bash
# transformers 5.23.0 with torch 2.14.1, 2026-11-30: Trainer's accumulated gradients of classifiers are a multiple.
#
# Guess: a batch of 8 and 4 accumulated batches of 2 give the same loss and gradient, without dropout, as they do for GPT-2.
# Seen: for text classifiers such as BERT and DistilBERT, and all regressions and multi-label heads of ViT, both are 4 times
# as large: the accumulated losses are added, not averaged. Trainer leaves the division to models whose forward takes any
# keyword, but these heads average on their own. With label smoothing, or ViT and one class an image, all is well.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  transformers==5.23.0 accelerate==1.15.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - 2> /dev/null <<'PY'
import torch
import transformers as tr

drawn = torch.Generator().manual_seed(0)
tokens, pixels = torch.randint(1, 50, (8, 6), generator=drawn), torch.randn(8, 3, 32, 32, generator=drawn)
size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "vocab_size": 50}
distil = {"dim": 32, "n_layers": 1, "n_heads": 2, "hidden_dim": 64, "dropout": 0.0, "attention_dropout": 0.0, "num_labels": 3}
gpt = {"n_embd": 32, "n_layer": 1, "n_head": 2, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
one, many = torch.arange(8) % 3, (torch.arange(24).reshape(8, 3) % 2).float()
number = torch.arange(8) / 8
bert = tr.BertConfig(**size, **still, num_labels=3)
distil_bert = tr.DistilBertConfig(**distil, seq_classif_dropout=0.0)
cases = {
    "BERT": (tr.BertForSequenceClassification, bert, one, 0, 4),
    "BERT, smoothed": (tr.BertForSequenceClassification, bert, one, 0.1, 1),
    "BERT, tokens": (tr.BertForTokenClassification, bert, tokens % 3, 0, 4),
    "DistilBERT": (tr.DistilBertForSequenceClassification, distil_bert, one, 0, 4),
    "GPT-2": (tr.GPT2LMHeadModel, tr.GPT2Config(**gpt, vocab_size=50), tokens, 0, 1),
    "ViT": (tr.ViTForImageClassification, tr.ViTConfig(**size, image_size=32, num_labels=3), one, 0, 1),
    "ViT, multi-label": (tr.ViTForImageClassification, tr.ViTConfig(**size, image_size=32, num_labels=3), many, 0, 4),
    "ViT, regression": (tr.ViTForImageClassification, tr.ViTConfig(**size, image_size=32, num_labels=1), number, 0, 4),
}
for name, (model, config, labels, smoothing, times) in cases.items():
    column, inputs = ("pixel_values", pixels) if name.startswith("ViT") else ("input_ids", tokens)
    rows = [{column: inputs[row], "labels": labels[row]} for row in range(8)]
    seen = []
    for batch, batches in ((8, 1), (2, 4)):
        torch.manual_seed(0)
        settings = tr.TrainingArguments(
            "out", per_device_train_batch_size=batch, gradient_accumulation_steps=batches, max_steps=1, logging_steps=1,
            max_grad_norm=0.0, label_smoothing_factor=smoothing, optim="sgd", save_strategy="no", report_to=[],
            use_cpu=True, disable_tqdm=True,
        )  # fmt: skip
        trainer = tr.Trainer(model(config), settings, train_dataset=rows)
        trainer.remove_callback(tr.PrinterCallback)
        trainer.train()
        seen.append([float(trainer.state.log_history[0][key]) for key in ("loss", "grad_norm")])
    (loss, norm), (loss_4, norm_4) = seen
    print(f"{name}: loss {loss:.3f} at once, {loss_4:.3f} accumulated; the gradient is {norm_4 / norm:.2f} times as long")
    assert abs(norm_4 / norm - times) < 0.01, "this has changed"
PY
echo "still so"
