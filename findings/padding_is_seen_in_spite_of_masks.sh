#!/usr/bin/env bash
# transformers 5.23.0, 2026-11-30: ConvBERT, Nystromformer and YOSO give a text other features when it stands in a
# batch with longer ones, though the attention mask covers the padding.
#
# Guess: with its attention mask a padded text has the features that it has alone, but for rounding, as with BERT.
# Seen: they differ by 0.1 to 1.2 of the largest feature. ConvBERT's convolutions read the padding behind the last word,
# Nystromformer's landmarks are means over padded places, too, and YOSO counts them. What a text is predicted to be
# depends on its neighbours in the batch.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  transformers==5.23.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import torch
import transformers

SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 64}
SIZE |= {"max_position_embeddings": 64, "initializer_range": 0.2}


def difference(config):
    """How far the features of 8 tokens are from those of the same ones before 8 of padding, of the largest feature."""
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(config).eval()
    text = torch.arange(5, 13)[None]
    padded = torch.nn.functional.pad(text, (0, 8))
    mask = (torch.arange(16) < 8).long()[None]
    with torch.no_grad():
        alone = model(input_ids=text, attention_mask=torch.ones_like(text)).last_hidden_state
        beside = model(input_ids=padded, attention_mask=mask).last_hidden_state[:, :8]
    return float((alone - beside).abs().max() / alone.abs().max())


assert difference(transformers.BertConfig(**SIZE)) < 1e-5
assert difference(transformers.RoFormerConfig(**SIZE, embedding_size=32)) < 1e-5
for config in (
    transformers.ConvBertConfig(**SIZE, embedding_size=16),
    transformers.NystromformerConfig(**SIZE),
    transformers.YosoConfig(**SIZE),
):
    found = difference(config)
    print(f"{config.model_type}: {found:.2f}")
    assert found > 0.05, "this has changed"
PY
echo "still so"
