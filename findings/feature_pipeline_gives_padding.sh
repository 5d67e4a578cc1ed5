#!/usr/bin/env bash
# transformers 5.23.0 with torch 2.14.1, 2026-11-30: with batch_size the feature pipeline gives features of padding as
# well.
#
# Guess: pipeline("feature-extraction") gives each text one vector per token of its own, whatever batch_size is, which
# its guide calls a matter of speed. Seen: a text that shares its batch with a longer one comes back as long as that
# one, with vectors for the padding, and no mask tells which those are. The mean over tokens, the usual embedding, and
# the last vector change with batch_size and with the neighbours, and so do nearest texts. The first vector stays. Also
# with return_tensors=True.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check transformers==5.23.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - 2> errors <<'PY'
import random
from pathlib import Path

import numpy as np
import torch
import transformers as tr

letters = list("abcdefghijklmnop")
Path("vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]))
tokenizer = tr.BertTokenizer("vocab.txt")
size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
torch.manual_seed(0)
model = tr.BertModel(tr.BertConfig(vocab_size=21, **size, initializer_range=0.2)).eval()
pipeline = tr.pipeline("feature-extraction", model=model, tokenizer=tokenizer, device="cpu")

random.seed(0)
texts = [" ".join(random.choices(letters, k=random.randint(2, 30))) for _ in range(40)]
by_hand = []
for text in texts:
    with torch.no_grad():
        by_hand.append(model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].numpy())


def nearest(vectors: list[np.ndarray]) -> np.ndarray:
    scaled = np.stack(vectors) / np.linalg.norm(vectors, axis=1, keepdims=True)
    return (scaled @ scaled.T - 2 * np.eye(len(vectors))).argmax(1)


wanted = nearest([rows.mean(0) for rows in by_hand])
for batch in (1, 8):
    given = [np.array(rows)[0] for rows in pipeline(texts, batch_size=batch)]
    tensors = [rows[0].numpy() for rows in pipeline(texts, batch_size=batch, return_tensors=True)]
    longer = sum(len(rows) > len(own) for rows, own in zip(given, by_hand))
    gap = max(float(np.abs(rows.mean(0) - own.mean(0)).max()) for rows, own in zip(given, by_hand))
    other = int((nearest([rows.mean(0) for rows in given]) != wanted).sum())
    print(f"batch_size {batch}: {longer} of 40 texts too long, means off by {gap:.1e}, {other} other nearest texts")
    assert all(rows.shape == more.shape for rows, more in zip(given, tensors)), "lists and tensors"
    assert all(np.allclose(rows[: len(own)], own, atol=1e-4) for rows, own in zip(given, by_hand)), "its own tokens"
    if batch == 1:
        assert longer == other == 0 and gap < 1e-5, "one by one all is well"
    else:
        assert longer > 30 and gap > 0.1 and other > 5, "this has changed"
PY
echo "still so"
