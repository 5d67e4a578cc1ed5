#!/usr/bin/env bash
# sentence-transformers 6.2.0 with transformers 5.23.0 and torch 2.14.1, 2026-11-30: cut vectors lose their length of 1.
#
# Guess: a model that ends in Normalize gives vectors of length 1 with truncate_dim, too, so that an index of inner
# products finds what cosines find. Seen: the vectors are cut after Normalize and keep what length is left, each another.
# By inner product more than half of the texts have another nearest neighbour than by cosine. truncate_dim is saved with
# the model, and does the same to whoever loads it. Only normalize_embeddings=True at each call to encode brings length 1 back.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  sentence-transformers==6.2.0 transformers==5.23.0 torch==2.14.1 tokenizers==0.23.3 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - 2> /dev/null <<'PY'
import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Normalize, StaticEmbedding
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

torch.manual_seed(0)
words = Tokenizer(WordLevel({"[UNK]": 0, **{f"w{number}": number for number in range(1, 200)}}, unk_token="[UNK]"))
words.pre_tokenizer = Whitespace()
drawn = np.random.default_rng(0)
texts = [" ".join(f"w{number}" for number in drawn.integers(1, 200, 6)) for _ in range(300)]
SentenceTransformer(
    modules=[StaticEmbedding(words, embedding_dim=128), Normalize()], truncate_dim=16, device="cpu"
).save("cut")
loaded = SentenceTransformer("cut", device="cpu")


def nearest(vectors: np.ndarray) -> np.ndarray:
    products = vectors @ vectors.T
    np.fill_diagonal(products, -np.inf)
    return products.argmax(1)


whole, cut, again = (
    loaded.encode(texts, truncate_dim=128),
    loaded.encode(texts),
    loaded.encode(texts, normalize_embeddings=True),
)
for name, vectors in (("whole", whole), ("cut", cut), ("cut, with normalize_embeddings", again)):
    lengths = np.linalg.norm(vectors, axis=1)
    print(f"{name}: {vectors.shape[1]} numbers, lengths from {lengths.min():.2f} to {lengths.max():.2f}")
    assert (np.abs(lengths - 1).max() < 1e-4) == (name != "cut"), "this has changed: the lengths"
others = float(np.mean(nearest(cut) != nearest(again)))
print(f"by inner product {others:.2f} of the texts have another nearest neighbour than by cosine")
assert others > 0.2, "this has changed: the neighbours"
PY
echo "still so"
