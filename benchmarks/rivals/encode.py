"""sentence-transformers' `encode` as it is by default, or in bfloat16; nothing of ours is imported."""

import csv
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

settings = json.loads(sys.argv[1])
with Path(settings["data"]).open(newline="", encoding="utf-8") as file:
    texts = [row["text"] for row in csv.DictReader(file)]
more = {"model_kwargs": {"dtype": torch.bfloat16}} if settings.get("bf16") else {}
model = SentenceTransformer(settings["model"], **more)
model.encode(texts[:64])
began = time.perf_counter()
embeddings = model.encode(texts)
seconds = time.perf_counter() - began
first = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
near = first[:500] @ first.T
near[np.arange(len(near)), np.arange(len(near))] = -1
print("\n" + json.dumps({"seconds": seconds, "predictions": near.argmax(axis=1).tolist()}))
