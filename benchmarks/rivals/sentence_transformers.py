"""sentence-transformers as its documents have it; nothing of ours but the data is used."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.rivals.reading import read_column, read_split


def encode(settings: dict[str, Any]) -> dict[str, Any]:
    """Seconds of `encode`, in bfloat16 if the settings say `bf16`, and which other text is nearest to the first 500."""
    import torch
    from sentence_transformers import SentenceTransformer

    texts = read_column(settings["data"], "text")
    more: dict[str, Any] = {"model_kwargs": {"dtype": torch.bfloat16}} if settings.get("bf16") else {}
    model = SentenceTransformer(settings["model"], **more)
    model.encode(texts[:64])
    began = time.perf_counter()
    embeddings = model.encode(texts)
    return {"seconds": time.perf_counter() - began, "predictions": nearest(embeddings)}


def nearest(embeddings: Any) -> list[int]:
    """Which other row has the largest cosine with each of the first 500."""
    import numpy as np

    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    cosines = unit[:500] @ unit.T
    np.fill_diagonal(cosines, -1)
    found: list[int] = cosines.argmax(axis=1).tolist()
    return found


def encode_and_solve(settings: dict[str, Any]) -> dict[str, Any]:
    """Seconds from reading to the scores of scikit-learn's logistic regression on embeddings."""
    from sentence_transformers import SentenceTransformer
    from sklearn.linear_model import LogisticRegression

    began = time.perf_counter()
    (texts, labels), (others, wanted) = (read_split(settings["data"], name) for name in ("train", "test"))
    model = SentenceTransformer(settings["model"])
    solved = LogisticRegression(max_iter=1000).fit(model.encode(texts), labels)
    accuracy = float(solved.score(model.encode(others), wanted))
    return {"seconds": time.perf_counter() - began, "accuracy": accuracy}
