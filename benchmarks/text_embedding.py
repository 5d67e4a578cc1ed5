"""Texts embedded: our activation pass against sentence-transformers' `encode`, the same mean over tokens.

Loading is left out on both sides, tokenising is not; ours also writes what it computed into its store. The figure of
equality is which other text lies nearest to each of the first 500.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

from benchmarks import data
from benchmarks.harness import Benchmark, Side, faster
from benchmarks.rivals import sentence_transformers
from benchmarks.rivals.reading import read_column


def our_embeddings(settings: dict[str, Any]) -> dict[str, Any]:
    """Our side, in the precision that `auto` chooses."""
    from hftransfer.adapters.checkpoint import find_checkpoint
    from hftransfer.adapters.heads import TEXT_CLASSES
    from hftransfer.adapters.loading import load_adapter
    from hftransfer.adapters.texts import TextAdapter
    from hftransfer.tasks.items import TokenItems
    from hftransfer.training.activations import ActivationStore, fill_store
    from hftransfer.training.devices import choose_compute

    texts = read_column(settings["data"], "text")
    checkpoint = find_checkpoint(settings["model"])
    assert checkpoint is not None
    loaded = load_adapter(checkpoint, ("one", "other"), head=TEXT_CLASSES, pooling="mean")
    adapter, compute = cast(TextAdapter, loaded), choose_compute("auto", None)
    boundary = len(adapter.stages)

    def embed(chosen: list[str], name: str) -> Any:
        tokens, _ = adapter.tokenize_all([(text, None) for text in chosen], None)
        items = TokenItems(tokens, adapter)
        store = ActivationStore(Path(settings["folder"]) / name, {})
        fill_store(store, adapter, boundary, items, compute)
        return store.activations(items.digests).rows(0, len(chosen))

    embed(texts[:64], "warm-up")
    began = time.perf_counter()
    embeddings = embed(texts, "store")
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "predictions": sentence_transformers.nearest(embeddings)}


BENCHMARKS = (
    Benchmark(
        name="text-embedding",
        about="sentences embedded by MiniLM, mean over tokens",
        sides=(
            Side("ours", our_embeddings),
            Side(
                "sentence-transformers",
                sentence_transformers.encode,
                (faster(2.5),),
                environment="sentence-transformers",
            ),
            Side(
                "sentence-transformers, bf16",
                sentence_transformers.encode,
                (faster(1.2),),
                {"bf16": True},
                environment="sentence-transformers",
                bf16=True,
            ),
        ),
        settings={"data": data.SENTENCES, "model": data.TEXT_MODEL, "texts": 6000},
        prepare=data.texts,
        warm_up={"texts": 200},
        small={"texts": 1000},
    ),
)
