#!/usr/bin/env bash
# model2vec 0.10.0 with numpy 2.4.6 and tokenizers 0.23.3, 2026-11-30: texts are cut by characters before tokens are counted.
#
# Guess: encode(text, max_length=30) uses the first 30 tokens of a text. Seen: a text is first cut to 30 times the median
# length of the vocabulary's tokens in characters. Of a text of long words only a part of the allowed tokens is used: here
# 8 of 21, though all 21 were allowed; and the cut goes through a word.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  model2vec==0.10.0 numpy==2.4.6 tokenizers==0.23.3
cd "$folder"
"$folder/venv/bin/python" -W ignore - 2> /dev/null <<'PY'
import numpy as np
from model2vec import StaticModel
from tokenizers import Tokenizer, models, pre_tokenizers

words = ["[UNK]", "[PAD]", "a", "be", "it", "on", *(f"extraordinarily{number}" for number in range(4))]
tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
vectors = np.eye(len(words), dtype=np.float32)
model = StaticModel(vectors, tokenizer, normalize=False)
text = " ".join(["extraordinarily0"] * 10 + ["extraordinarily1"] * 10 + ["a"])
cut, whole = model.encode(text, max_length=30), model.encode(text, max_length=None)
share = {name: float(mean[words.index("extraordinarily1")]) for name, mean in (("30 tokens", cut), ("no limit", whole))}
for name, part in share.items():
    print(f"{name}: the second word makes up {part:.2f} of the mean")
assert len(text.split()) == 21 and share["no limit"] > 0.4, "this has changed"
assert share["30 tokens"] == 0, "this has changed: tokens are counted"
PY
echo "still so"
