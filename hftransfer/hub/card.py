"""The model card: metadata that the Hub checks, and a page that says how to use the model without this library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hftransfer.artifact import ModelFacts
from hftransfer.publish import BEGIN, END

_BODY = """
# {title}

{base_sentence} adapted to {goal} by {strategy}
with hftransfer {version}.

| metric | test | validation |
| --- | --- | --- |
{metrics}

Trained on {train} {unit}, the best model chosen on {validation}, tested on {test}.
Data: `{data}`.
{labels}
## How to use

{native}

With hftransfer:

```python
import hftransfer as ht

{example}
```

## What was trained

{trainable:,} of {total:,} parameters. {learned} Scores are those of the data named above; other data may score
otherwise.
"""

_LEARNED = {
    "linear-probe": "The head alone, on features of the frozen network; where it is one linear layer it was solved and "
    "its standardisation is folded into its weights.",
    "fine-tune": "The head and the unfrozen stages.",
    "lora": "Low-rank matrices beside frozen layers (LoRA), and the head.",
}
_UNITS = {"image-classification": "images", "text-classification": "texts", "question-answering": "questions"}
_TASK_NAMES = {
    "image-classification": "Image Classification",
    "text-classification": "Text Classification",
    "question-answering": "Question Answering",
}
_EXAMPLES = {
    "image-classification": 'ht.load("path/to/this/folder").predict(["photo.jpg"])',
    "text-classification": 'ht.load("path/to/this/folder").predict(["what a film"])',
    "question-answering": 'ht.load("path/to/this/folder").predict(question="Who?", context="The actor was Ann Lee.")',
}
_AS_PAIRS = ('["what a film"]', '[("a text", "another")]')
_NATIVE = {
    "image-classification": """In plain transformers:

```python
from transformers import pipeline

classify = pipeline("image-classification", model="path/to/this/folder")
classify("photo.jpg")
```""",
    "text-classification": """In plain transformers:

```python
from transformers import pipeline

classify = pipeline("text-classification", model="path/to/this/folder")
classify("what a film")
```""",
    "question-answering": """In plain transformers it loads as `AutoModelForQuestionAnswering` (start and end logits per
token; the windows and the search for the best span are hftransfer's).""",
}
_POOLED = """transformers has no class for pooled features under a linear head; the folder holds the native backbone
and the head:

```python
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

folder = "path/to/this/folder"
tokenizer, backbone = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
head = load_file(f"{{folder}}/head.safetensors")
inputs = tokenizer(["what a film"], return_tensors="pt", padding=True, truncation=True, max_length={max_tokens})
with torch.no_grad():
    tokens = backbone(**inputs).last_hidden_state
pooled = {pooled}
probabilities = (pooled @ head["weight"].T + head["bias"]).softmax(-1)  # in the order of backbone.config.id2label
```"""
_POOLS = {
    "mean": '(tokens * (mask := inputs["attention_mask"].unsqueeze(-1))).sum(1) / mask.sum(1)',
    "cls": "tokens[:, 0]",
    "last": 'tokens[range(len(tokens)), inputs["attention_mask"].sum(1) - 1]',
}
_LORA = """The folder holds the matrices and the head in peft's layout, to be put into the base model:

```python
from peft import PeftModel
from transformers import {auto}{more}

base = {auto}.from_pretrained({base}, num_labels={classes}, ignore_mismatched_sizes=True)
model = PeftModel.from_pretrained(base, "path/to/this/folder").eval()
```"""
_LORA_ELSEWHERE = """The folder holds the matrices and the head in peft's layout, for a model of which neither
transformers nor open_clip has a class ({form}): hftransfer loads it."""
_MERGED = "\n\nThe same, merged into one native model, lies in the folder `merged` beside this one or in it."
_EMBEDDING = """The folder holds the whole dual encoder in its native layout (it can still be asked for other classes by
their names), and a head on its normalised image embedding:

```python
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModel

folder = "path/to/this/folder"
processor, model = AutoImageProcessor.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
head = load_file(f"{folder}/head.safetensors")
inputs = processor(images=[Image.open("photo.jpg").convert("RGB")], return_tensors="pt")
with torch.no_grad():
    embedded = model.get_image_features(**inputs).pooler_output
embedded = embedded / embedded.norm(dim=-1, keepdim=True)
probabilities = (embedded @ head["weight"].T + head["bias"]).softmax(-1)  # in the order of the labels above
```"""
_OPEN_CLIP_EMBEDDING = """The folder holds the model in open_clip's layout:
`open_clip.create_model("local-dir:path/to/folder")`, and in `head.safetensors` a head on its image embedding, which is
normalised first."""
_OPEN_CLIP = """The folder holds the tower in open_clip's layout: `open_clip.create_model("local-dir:path/to/folder")`,
and the head on its image embedding in `head.safetensors`."""


def _native_use(facts: ModelFacts, base: str, max_tokens: int, *, is_open_clip: bool) -> str:
    """How the model is used without this library; `base` is where the base model is, in Python."""
    if facts.base is not None:
        return _lora_use(facts, base) + (_MERGED if facts.merge else "")
    if facts.pooling == "embedding":
        return _OPEN_CLIP_EMBEDDING if is_open_clip else _EMBEDDING
    if facts.pooling != "native":
        text = _POOLED.format(pooled=_POOLS[facts.pooling], max_tokens=max_tokens)
        return text.replace('["what a film"]', '["a text"], ["another"]') if facts.pairs else text
    if is_open_clip:
        return _OPEN_CLIP
    text = _NATIVE[facts.task]
    return text.replace('"what a film"', '{"text": "a text", "text_pair": "another"}') if facts.pairs else text


def _lora_use(facts: ModelFacts, base: str) -> str:
    name = str((facts.base or {}).get("name"))
    if facts.pooling != "native" or name.startswith("open_clip:"):
        form = "an open_clip tower" if name.startswith("open_clip:") else f"{facts.pooling}-pooled features"
        form = "a normalised embedding" if facts.pooling == "embedding" else form
        return _LORA_ELSEWHERE.format(form=f"{form} under a linear head")
    autos = {"image-classification": "AutoModelForImageClassification"}
    autos |= {"text-classification": "AutoModelForSequenceClassification"}
    more = ""
    if name.startswith("bundled/"):
        more, base = "\n\nfrom hftransfer.adapters.bundled import bundled_folder", f'bundled_folder("{name}")'
    auto = autos.get(facts.task, "AutoModelForQuestionAnswering")
    return _LORA.format(auto=auto, base=base, more=more, classes=len(facts.class_names) or 2)


def write_card(
    folder: Path,
    *,
    metrics: dict[str, Any],
    class_names: Sequence[str],
    data_source: str,
    hub_id: str | None,
    version: str,
    facts: ModelFacts | None = None,
    max_tokens: int = 512,
) -> None:
    """Nothing; writes `README.md` with valid card metadata into a model folder.

    `hub_id` is that of the base model, None where it isn't on the Hub.
    Of a local path only the last part is written: folders of a person's disk are not published.
    """
    facts = facts or ModelFacts()
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    judged = metrics["test"] or metrics["validation"]
    scores = {name: value for name, value in judged.items() if isinstance(value, float)}
    bundled = metrics["model"].startswith("bundled/")
    base = _plain(metrics["model"] if hub_id or bundled else Path(metrics["model"]).resolve().name)
    data = _plain(data_source)
    title = f"{Path(base).name} {metrics['strategy']}"
    results = [
        EvalResult(
            task_type=metrics["task"],
            task_name=_TASK_NAMES[metrics["task"]],
            dataset_type=data,
            dataset_name=data,
            dataset_split="test" if metrics["test"] else "validation",
            metric_type=name,
            metric_name=name.replace("_", " "),
            metric_value=round(value, 6),
        )
        for name, value in scores.items()
    ]
    card_data = ModelCardData(
        library_name="peft" if facts.base is not None else "transformers",
        pipeline_tag=metrics["task"],
        base_model=hub_id,
        tags=["hftransfer", "transfer-learning", metrics["strategy"]],
        metrics=list(scores),
        model_name=title,
        eval_results=results,
    )
    body = _BODY.format(
        title=_plain(title),
        base_sentence=f"`{base}`",
        goal=f"{len(class_names)} classes" if class_names else "answering questions",
        unit=_UNITS[metrics["task"]],
        learned=_LEARNED[metrics["strategy"]],
        example=_EXAMPLES[metrics["task"]].replace(*_AS_PAIRS if facts.pairs else ("", "")),
        native=_native_use(
            facts,
            f'"{hub_id or "path/to/" + base}"',
            max_tokens,
            is_open_clip=(folder / "open_clip_config.json").is_file(),
        ),
        strategy={"linear-probe": "a linear probe", "fine-tune": "fine-tuning", "lora": "LoRA"}[metrics["strategy"]],
        version=version,
        metrics="\n".join(_metric_line(name, metrics) for name in scores),
        data=data,
        labels=_labels(class_names),
        **metrics["examples"],
        **metrics["parameters"],
    )
    ModelCard(_page(card_data, body)).save(folder / "README.md")


_DUAL = """
# {title}

{base} brought into one space by images with captions ({strategy}), with hftransfer {version}.
It finds images by texts and texts by images, and tells images apart by the names of classes.

| metric | test | validation |
| --- | --- | --- |
{metrics}
{zero_shot}
Learned from {train} images with their captions, the best model chosen on {validation}, tested on {test}.
Data: `{data}`.

## How to use

In plain transformers:

```python
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

folder = "path/to/this/folder"
model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
processor = AutoImageProcessor.from_pretrained(folder)
pixels = processor(images=[Image.open("photo.jpg").convert("RGB")], return_tensors="pt")
tokens = tokenizer(["a photo of a cat.", "a photo of a dog."], return_tensors="pt", padding=True)
with torch.no_grad():
    probabilities = model(**pixels, **tokens).logits_per_image.softmax(-1)
```

With hftransfer:

```python
import hftransfer as ht

ht.zero_shot("path/to/this/folder", ["photo.jpg"], ["cat", "dog"])
```

## What was trained

{trainable:,} of {total:,} parameters. Scores are those of the data named above; other data may score otherwise.
"""


def write_dual_card(
    folder: Path, *, metrics: dict[str, Any], data_source: str, bases: Sequence[str], version: str
) -> None:
    """Nothing; writes `README.md` into the folder of a dual encoder that learned from captions.

    Of a local path only the last part is written: folders of a person's disk are not published.
    """
    from huggingface_hub import ModelCard, ModelCardData

    named = [_plain(name if name.startswith("bundled/") else name.rstrip("/").rsplit("/", 1)[-1]) for name in bases]
    judged = metrics["test"] or metrics["validation"]
    scores = [name for name, value in judged.items() if isinstance(value, float)]
    title = f"{' + '.join(Path(name).name for name in named)} {metrics['strategy']}"
    card_data = ModelCardData(
        library_name="transformers",
        pipeline_tag="zero-shot-image-classification",
        tags=["hftransfer", "transfer-learning", "image-text", metrics["strategy"]],
    )
    after = metrics.get("zero_shot")
    body = _DUAL.format(
        title=title,
        base=" and ".join(f"`{name}`" for name in named),
        strategy=metrics["strategy"],
        version=version,
        metrics="\n".join(_metric_line(name, metrics) for name in scores),
        zero_shot=f"\nImages told apart by class names afterwards: accuracy {after['accuracy']:.4f}.\n"
        if after
        else "",
        data=_plain(data_source),
        **metrics["examples"],
        **metrics["parameters"],
    )
    ModelCard(_page(card_data, body)).save(folder / "README.md")


def _page(card_data: Any, body: str) -> str:
    return f"---\n{card_data.to_yaml()}\n---\n{BEGIN}\n{body.strip()}\n\n{END}\n"


def _metric_line(name: str, metrics: dict[str, Any]) -> str:
    test = f"{metrics['test'][name]:.4f}" if metrics["test"] else ""
    validation = metrics["validation"].get(name)
    return f"| {name.replace('_', ' ')} | {test} | {'' if validation is None else format(validation, '.4f')} |"


def _labels(class_names: Sequence[str]) -> str:
    if not class_names:
        return ""
    names = ", ".join(f"`{_plain(name)}`" for name in class_names)
    return f"\n## Labels\n\n{names}\n"


def _plain(text: str) -> str:
    """A name as harmless text: one line, no HTML, no backticks."""
    cleaned = " ".join(text.split())
    for sign in "`<>|":
        cleaned = cleaned.replace(sign, "")
    return cleaned
