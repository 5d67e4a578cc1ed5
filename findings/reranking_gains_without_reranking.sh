#!/usr/bin/env bash
# sentence-transformers 6.2.0 with transformers 5.23.0 and torch 2.14.1, 2026-11-30: a reranker that changes nothing
# gains.
#
# Guess: CrossEncoderRerankingEvaluator with "documents" and always_rerank_positives=False, "a more realistic
# evaluation", has the same MAP and NDCG before and after reranking if the order stays: relevant documents that the
# first stage missed cost both the same. Seen: before reranking they are put behind the last document, afterwards they
# are left out. With one of three relevant documents found, MAP is 0.53 before and 1.0 after, though the order is the
# same. A first stage that finds less makes any reranker look better, and the model card prints the gain.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  sentence-transformers==6.2.0 transformers==5.23.0 torch==2.14.1 scikit-learn==1.9.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - 2> errors <<'PY'
from pathlib import Path

import numpy as np
import torch
import transformers as tr
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder.evaluation import CrossEncoderRerankingEvaluator

words = "[PAD] [UNK] [CLS] [SEP] [MASK] question a b c d e f g missed lost".split()
Path("vocab.txt").write_text("\n".join(words))
tr.BertTokenizer("vocab.txt").save_pretrained("model")
size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
torch.manual_seed(0)
config = tr.BertConfig(vocab_size=len(words), **size, num_labels=1, initializer_range=0.5)
tr.BertForSequenceClassification(config).save_pretrained("model")
reranker = CrossEncoder("model")

# The first stage has the order of the reranker itself.
documents = np.array(list("abcdefg"))
documents = documents[np.argsort(-reranker.predict([("question", name) for name in documents]))].tolist()


def precision(ranks: list[int], relevant: int) -> float:
    return sum((found + 1) / rank for found, rank in enumerate(ranks)) / relevant


for relevant in ([documents[0], documents[2]], [documents[0], "missed", "lost"]):
    rows = [{"query": "question", "positive": relevant, "documents": documents}]
    told = CrossEncoderRerankingEvaluator(rows, always_rerank_positives=False, write_csv=False)(reranker)
    ranks = [rank for rank, name in enumerate(documents, 1) if name in relevant]
    missed = len(relevant) - len(ranks)
    found, behind = precision(ranks, len(relevant)), ranks + [len(documents) + 1 + more for more in range(missed)]
    values = {name: round(float(value), 4) for name, value in told.items() if "mrr" not in name}
    last = precision(behind, len(relevant))
    print(f"{missed} of {len(relevant)} missed: {values}; by hand {found:.4f}, with missed ones last {last:.4f}")
    assert abs(told["base_map"] - last) < 1e-9, "this has changed: before reranking"
    assert (abs(told["map"] - told["base_map"]) < 1e-9) == (missed == 0), "this has changed: missed ones count"
    assert told["map"] == told["ndcg@10"] == 1.0 or not missed, "this has changed: missed ones cost something"
PY
echo "still so"
