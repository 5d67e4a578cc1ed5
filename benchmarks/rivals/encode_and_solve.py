"""sentence-transformers' `encode` and scikit-learn's logistic regression; nothing of ours is imported."""

import csv
import json
import sys
import time
from pathlib import Path

from sentence_transformers import SentenceTransformer
from sklearn.linear_model import LogisticRegression


def read(folder: str, split: str) -> tuple[list[str], list[str]]:
    """The texts and labels of a split."""
    with (Path(folder) / f"{split}.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["label"] for row in rows]


settings = json.loads(sys.argv[1])
began = time.perf_counter()
(texts, labels), (others, wanted) = read(settings["data"], "train"), read(settings["data"], "test")
model = SentenceTransformer(settings["model"])
solved = LogisticRegression(max_iter=1000).fit(model.encode(texts), labels)
accuracy = float(solved.score(model.encode(others), wanted))
print("\n" + json.dumps({"seconds": time.perf_counter() - began, "accuracy": accuracy}))
