"""The model card: metadata that the Hub checks, and a page that says how to use the model without this library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

_BODY = """
# {title}

{base_sentence} adapted to {classes} classes by a {strategy}
with hftransfer {version}.

| metric | test | validation |
| --- | --- | --- |
{metrics}

Trained on {train} images, the strength of regularisation chosen on {validation}, tested on {test}.
Data: `{data}`.

## Labels

{labels}

## How to use

In plain transformers:

```python
from transformers import pipeline

classify = pipeline("image-classification", model="path/to/this/folder")
classify("photo.jpg")
```

With hftransfer:

```python
import hftransfer as ht

ht.load("path/to/this/folder").predict(["photo.jpg"])
```

## What was trained

{trainable:,} of {total:,} parameters: the last linear layer, on features of the frozen network. Its standardisation is
folded into its weights. Scores are those of the data named above; other data may score otherwise.
"""


def write_card(
    folder: Path,
    *,
    metrics: dict[str, Any],
    class_names: Sequence[str],
    data_source: str,
    base_is_hub_id: bool,
    version: str,
) -> None:
    """Nothing; writes `README.md` with valid card metadata into a model folder.

    Of a local path only the last part is written: folders of a person's disk are not published.
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    scores = {name: value for name, value in metrics["test"].items() if isinstance(value, float)}
    base = _plain(metrics["model"] if base_is_hub_id else Path(metrics["model"]).resolve().name)
    data = _plain(data_source)
    title = f"{Path(base).name} {metrics['strategy']}"
    results = [
        EvalResult(
            task_type=metrics["task"],
            task_name="Image Classification",
            dataset_type=data,
            dataset_name=data,
            dataset_split="test",
            metric_type=name,
            metric_name=name.replace("_", " "),
            metric_value=round(value, 6),
        )
        for name, value in scores.items()
    ]
    card_data = ModelCardData(
        library_name="transformers",
        pipeline_tag=metrics["task"],
        base_model=base,
        tags=["hftransfer", "transfer-learning", metrics["strategy"]],
        metrics=list(scores),
        model_name=title,
        eval_results=results,
    )
    body = _BODY.format(
        title=_plain(title),
        base_sentence=f"`{base}`",
        classes=len(class_names),
        strategy=metrics["strategy"].replace("-", " "),
        version=version,
        metrics="\n".join(
            f"| {name.replace('_', ' ')} | {value:.4f} | {metrics['validation'][name]:.4f} |"
            for name, value in scores.items()
        ),
        data=data,
        labels=", ".join(f"`{_plain(name)}`" for name in class_names),
        **metrics["examples"],
        **metrics["parameters"],
    )
    card = ModelCard(f"---\n{card_data.to_yaml()}\n---\n{body}")
    card.save(folder / "README.md")


def _plain(text: str) -> str:
    """A name as harmless text: one line, no HTML, no backticks."""
    cleaned = " ".join(text.split())
    for sign in "`<>|":
        cleaned = cleaned.replace(sign, "")
    return cleaned
