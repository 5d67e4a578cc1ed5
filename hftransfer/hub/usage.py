"""How a trained model is used without this library, and with it: the pieces of code on its card."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hftransfer.report.rendering import plain_text
from hftransfer.tasks.contract import Task
from hftransfer.tasks.facts import ModelFacts

# These are what people copy from a card. Tests run them, and compare what they give with our own predictions.
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
SCORES(pooled @ head["weight"].T + head["bias"])  # in the order of backbone.config.id2label
```"""
_POOLS = {
    "mean": '(tokens * (mask := inputs["attention_mask"].unsqueeze(-1))).sum(1) / mask.sum(1)',
    "cls": "tokens[:, 0]",
    # Texts are padded on the right.
    "last": 'tokens[range(len(tokens)), inputs["attention_mask"].sum(1) - 1]',
}
_DENSE = """transformers has no class for a linear layer on a backbone's maps; the folder holds the native backbone and
the layer:

```python
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.nn.functional import interpolate
from transformers import AutoModel, SegformerImageProcessor

folder, image = "path/to/this/folder", Image.open("photo.jpg").convert("RGB")
processor, backbone = SegformerImageProcessor.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
head = load_file(f"{folder}/head.safetensors")
pixels = processor(images=[image], return_tensors="pt")["pixel_values"]
with torch.no_grad():
MAPS
weights = head["weight"].split([one.shape[1] for one in maps], dim=1)
logits = [torch.einsum("cd,bdhw->bchw", weight, one) for weight, one in zip(weights, maps)]
logits = sum(interpolate(one, size=maps[0].shape[2:], mode="bilinear") for one in logits) + head["bias"][:, None, None]
mask = interpolate(logits, size=image.size[::-1], mode="bilinear").argmax(1)[0]  # ids of backbone.config.id2label
```"""
_MAPS = {
    "blocks": """    x, maps = backbone.timm_model.bn1(backbone.timm_model.conv_stem(pixels)), []
    for stage in backbone.timm_model.blocks:
        maps.append(x := stage(x))
maps = [one for one in maps if 2 * one.shape[2] <= pixels.shape[2]]""",
    "timm": """    maps = backbone.timm_model.forward_intermediates(pixels, norm=True, intermediates_only=True)
is_pyramid = len({one.shape[2:] for one in maps}) > 1
maps = [one for one in maps if 2 * one.shape[2] <= pixels.shape[2]] if is_pyramid else maps[-1:]""",
    "open_clip": """    found = backbone.visual.forward_intermediates(pixels, normalize_intermediates=True)
maps = found["image_intermediates"]
is_pyramid = len({one.shape[2:] for one in maps}) > 1
maps = [one for one in maps if 2 * one.shape[2] <= pixels.shape[2]] if is_pyramid else maps[-1:]""",
    "pyramid": """    out = backbone(pixels, output_hidden_states=True)
maps = {one.shape[2:]: one for one in getattr(out, "reshaped_hidden_states", None) or out.hidden_states}
maps = [one for one in maps.values() if 2 * one.shape[2] <= pixels.shape[2]]""",
    "tokens": """    tokens = backbone(pixels, interpolate_pos_encoding=True).last_hidden_state
rows, columns = (edge // backbone.config.patch_size for edge in pixels.shape[2:])
maps = [tokens[:, -rows * columns :].transpose(1, 2).reshape(1, -1, rows, columns)]""",
}
_DENSE_OPEN_CLIP = (
    ("import AutoModel, Segformer", "import Segformer"),
    ("import torch\n", "import open_clip\nimport torch\n"),
    ("AutoModel.from_pretrained(folder)", 'open_clip.create_model(f"local-dir:{folder}")'),
    ("ids of backbone.config.id2label", "places in class_names of hftransfer.json"),
)
"""What reads otherwise where the backbone is one of open_clip."""
_APART = """transformers has no class for pairs of texts that are read apart; the folder holds the native backbone and
the head on the features of both:

```python
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

folder = "path/to/this/folder"
tokenizer, backbone = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
head = load_file(f"{{folder}}/head.safetensors")
both = []
for text in ("a text", "another"):
    inputs = tokenizer([text], return_tensors="pt", padding=True, truncation=True, max_length={max_tokens})
    with torch.no_grad():
        tokens = backbone(**inputs).last_hidden_state
    pooled = {pooled}
    both.append(pooled / pooled.norm(dim=-1, keepdim=True))
u, v = both
features = torch.cat([u, v, (u - v).abs(), u * v], dim=-1)
SCORES(features @ head["weight"].T + head["bias"])  # in the order of backbone.config.id2label
```"""
_LORA = """The folder holds the matrices and the head in peft's layout, to be put into the base model:

```python
from peft import PeftModel
from transformers import {auto}{more}

base = {auto}.from_pretrained({base}, num_labels={classes}, {purpose}ignore_mismatched_sizes=True)
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
SCORES(embedded @ head["weight"].T + head["bias"])  # in the order of the labels above
```"""
_OPEN_CLIP = """The folder holds the model in open_clip's layout, and the head on its image embedding:

```python
import open_clip
import torch
from PIL import Image
from safetensors.torch import load_file

folder = "path/to/this/folder"
model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
head = load_file(f"{folder}/head.safetensors")
with torch.no_grad():
    pixels = transform(Image.open("photo.jpg").convert("RGB")).unsqueeze(0)
    embedded = model.eval().encode_image(pixels, normalize=NORMALIZE)
SCORES(embedded @ head["weight"].T + head["bias"])  # in the order of the labels above
```"""


_KERAS = """The folder holds the model in Keras' own format; it runs on any backend of Keras 3, and gives {what}:

```python
import keras

model = keras.saving.load_model("path/to/this/folder/model.keras")
{pixels}
{scores} = model.predict(keras.ops.convert_to_numpy(pixels)[None])[0]  # in the order of the labels above
```"""
_KERAS_RESIZED = {
    "keras": """image = keras.utils.img_to_array(keras.utils.load_img("photo.jpg"))  # (H, W, 3): RGB, 0 to 255
pixels = keras.ops.image.resize(image, ({height}, {width}))""",
    "pillow": """size = ({height}, {width})
pixels = keras.utils.img_to_array(keras.utils.load_img("photo.jpg", target_size=size, interpolation="bilinear"))""",
}


_MODULE = """The folder holds the weights of a network of torch, {kind}, with a new head. Give the network again:

```python
import torch
from safetensors.torch import load_file

network = ...  # {kind}, as it was before training
{head}weights = load_file("path/to/this/folder/model.safetensors")
{load}
with torch.no_grad():
    SCORES({logits})  # in the order of the labels above
```

The pixels are what the transform of training makes of an image. In hftransfer:
`ht.load(folder, module=network, processor=transform)`."""


_OWN_HEAD = """The folder holds the backbone, or the matrices for it, and the weights of a head, {kind}.
The head is given again as a module of torch:

```python
import hftransfer as ht

model = ht.load("path/to/this/folder", head=...)  # {kind}, as it was before training
```"""


def module_use(task: Task, settings: Mapping[str, object]) -> str:
    """Return how the weights of a network of torch are used without this library; `settings` are its `config.json`."""
    place, width = settings.get("head"), settings.get("width")
    count = len(names) if isinstance(names := settings.get("class_names"), list) else 1
    linear = f"torch.nn.Linear({width}, {count})"
    of_network = '{name.removeprefix("network."): w for name, w in weights.items() if name.startswith("network.")}'
    load, logits = f"network.load_state_dict({of_network})", "network.eval()(pixels)"
    if place is None:
        load += '\nhead.load_state_dict({"weight": weights["head.weight"], "bias": weights["head.bias"]})'
        logits = "head(features)"
        load += "\nfeatures = network.eval()(pixels)  # of a map its mean: .mean((2, 3))"
    # Parts of a list have numbers for names.
    at = re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", f"network.{place}")
    head = f"{at} = {linear}\n" if place is not None else f"head = {linear}\n"
    text = _MODULE.format(kind=plain_text(str(settings.get("class"))), head=head, load=load, logits=logits)
    text = re.sub(r"SCORES\((.*)\)", lambda found: task.words.scores.format(found[1]), text)
    return text if task.has_labels else re.sub(r"  # in the order of .*", "", text)


def keras_use(task: Task, settings: Mapping[str, object]) -> str:
    """Return how a model in Keras' file is used without this library; `settings` are those of its pixels."""
    mode = settings["mode"]
    lines = [_KERAS_RESIZED[str(settings["resizing"])].format(**settings)]
    if mode == "unit":
        lines.append("pixels = pixels / 255")
    elif mode != "none":
        lines.append(f'pixels = keras.applications.imagenet_utils.preprocess_input(pixels, mode="{mode}")')
    of_numbers = task.words.scores.startswith("value")
    text = _KERAS.format(
        what="the number" if of_numbers else "probabilities",
        pixels="\n".join(lines),
        scores="value" if of_numbers else "probabilities",
    )
    return text if task.has_labels else re.sub(r"  # in the order of .*", "", text)


def native_use(task: Task, facts: ModelFacts, base: str, max_tokens: int | None, *, is_open_clip: bool) -> str:
    """Return how the model is used without this library; `base` is where the base model is, in Python."""
    text = _native_use(task, facts, base, max_tokens, is_open_clip=is_open_clip)
    # SCORES stands for what the task makes of logits: a softmax, sigmoids, or the numbers themselves.
    text = re.sub(r"SCORES\((.*)\)", lambda found: task.words.scores.format(found[1]), text)
    if not task.has_labels:
        text = re.sub(r"  # in the order of .*", "", text)
    if facts.thresholds:
        given = ", ".join(f"`{plain_text(name)}` {value:.3f}" for name, value in facts.thresholds.items())
        text += f"\n\nA label is given from its threshold on, which the validation split chose: {given}."
    return text


def _native_use(task: Task, facts: ModelFacts, base: str, max_tokens: int | None, *, is_open_clip: bool) -> str:
    if facts.own_head is not None:
        return _OWN_HEAD.format(kind=plain_text(facts.own_head))
    if facts.base is not None:
        return _lora_use(task, facts, base) + (_MERGED if facts.merge else "")
    if facts.pooling == "embedding":
        return _OPEN_CLIP.replace("NORMALIZE", "True") if is_open_clip else _EMBEDDING
    if facts.pooling == "dense" and facts.maps is not None:
        code = _DENSE.replace("MAPS", _MAPS[facts.maps], 1)
        for before, after in _DENSE_OPEN_CLIP if is_open_clip else ():
            code = code.replace(before, after)
        return code
    if facts.pooling not in ("native", "dense"):
        form = _APART if facts.pair == "features" else _POOLED
        text = form.format(pooled=_POOLS[facts.pooling], max_tokens=max_tokens)
        return text.replace('["what a film"]', '["a text"], ["another"]') if facts.pairs else text
    if is_open_clip:
        return _OPEN_CLIP.replace("NORMALIZE", "False")
    return task.words.native_of_pairs if facts.pairs else task.native_use(facts.template)


def _lora_use(task: Task, facts: ModelFacts, base: str) -> str:
    name = str((facts.base or {}).get("name"))
    if facts.pooling != "native" or name.startswith("open_clip:"):
        form = "an open_clip tower" if name.startswith("open_clip:") else f"{facts.pooling}-pooled features"
        form = "a normalised embedding" if facts.pooling == "embedding" else form
        return _LORA_ELSEWHERE.format(form=f"{form} under a linear head")
    more = ""
    # A bundled model lies in an installed package, where transformers finds nothing by its name.
    if name.startswith("bundled/"):
        more, base = "\n\nfrom hftransfer.adapters.bundled import bundled_folder", f'bundled_folder("{name}")'
    if own := task.lora_use(facts.template):
        return own.replace("BASE", base).replace("MORE", more)
    classes, kind = len(facts.class_names) or 2, facts.problem_type
    purpose = f'problem_type="{kind}", ' if kind else ""
    return _LORA.format(auto=task.words.auto_class, base=base, more=more, classes=classes, purpose=purpose)


_DUAL = """In plain transformers:

```python
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

folder = "path/to/this/folder"
model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
processor = AutoImageProcessor.from_pretrained(folder)
pixels = processor(images=[Image.open("photo.jpg").convert("RGB")], return_tensors="pt")
tokens = tokenizer(["a photo of a cat.", "a photo of a dog."], return_tensors="pt", padding=PADDING)
with torch.no_grad():
    probabilities = model(**pixels, **tokens).logits_per_image.softmax(-1)
```"""
_OPEN_CLIP_DUAL = """In plain open_clip:

```python
import open_clip
import torch
from PIL import Image

name = "local-dir:path/to/this/folder"
model, _, transform = open_clip.create_model_and_transforms(name)
tokens = open_clip.get_tokenizer(name)(["a photo of a cat.", "a photo of a dog."])
with torch.no_grad():
    image = model.eval().encode_image(transform(Image.open("photo.jpg").convert("RGB")).unsqueeze(0), normalize=True)
    texts = model.encode_text(tokens, normalize=True)
probabilities = (model.logit_scale.exp() * image @ texts.T).softmax(-1)
```"""


def with_hftransfer(task: Task, facts: ModelFacts) -> str:
    """Return how hftransfer itself predicts with it."""
    return task.words.example_of_pairs if facts.pairs else task.words.example


def dual_use(*, is_open_clip: bool, pads_always: bool) -> str:
    """Return how a dual encoder is used without this library; SigLIP wants all texts padded to one length."""
    return _OPEN_CLIP_DUAL if is_open_clip else _DUAL.replace("PADDING", '"max_length"' if pads_always else "True")
