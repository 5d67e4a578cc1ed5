"""Compare the sizes in a configuration with the weights beside it, before a model too large is built.

Importing this imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import safe_open

from hftransfer.base.errors import ModelError, must_be

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel
    from transformers.models.auto.auto_factory import _BaseAutoModelClass

    ModelClass = type[_BaseAutoModelClass] | type[PreTrainedModel]

# Settings that say how often something is built, each time with weights of its own; not how wide it is.
_COUNTS = re.compile(
    r"(layer|depth|block|stage|expert|branch|repeat)(?!.*(size|dim|channel|width|hidden|capacity|theta))"
)
_FEW_TENSORS, _FEW_ROWS = 512, 65_536
# The largest edge, in pixels, that images are brought to.
_LONGEST_SIDE = 4096
# A model may have so many times the numbers of its file (a form of it may be packed), and so many more (a head).
_TIMES, _SPARE = 10, 1 << 22


def shapes_in(files: list[Path]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor in safetensors files, as their headers tell."""
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        with safe_open(file, framework="numpy") as content:
            shapes |= {name: tuple(content.get_slice(name).get_shape()) for name in content.keys()}  # noqa: SIM118
    return shapes


def require_fitting_numbers(name: str, config: Mapping[str, object], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Return if a configuration asks for no more layers, blocks or outputs than the weights can hold, and for no
    negative number of them.

    Raises:
        ModelError: it does; all such settings are named.
    """
    # Each layer has a tensor of its own at least.
    most = max(_FEW_TENSORS, len(shapes))
    rows = max(_FEW_ROWS, *(max(shape, default=0) for shape in shapes.values())) if shapes else _FEW_ROWS
    faults = []
    for key, value in _numbers(config):
        limit = most if _COUNTS.search(key) else rows if key.endswith(("num_labels", "num_classes")) else None
        if value < 0 and re.search(r"(^|\.)(num|n)_[a-z_]+$", key):
            faults.append(must_be(f"{key} of model '{name}'", "0 or more", value))
        elif limit is not None and value > limit:
            allowed = f"{limit:,} at most, as its {len(shapes):,} tensors are"
            faults.append(must_be(f"{key} of model '{name}'", allowed, value))
    if faults:
        raise ModelError(*faults)


def require_small_images(name: str, settings: object) -> None:
    """Return if an image processor makes no images too large to be computed.

    Raises:
        ModelError: it does.
    """
    sizes = re.compile(r"(^|\.)(size|crop_size|input_size|pad_size)(\.|$)")
    for key, value in _numbers(settings if isinstance(settings, Mapping) else {}):
        if sizes.search(key) and value > _LONGEST_SIDE:
            raise ModelError(must_be(f"{key} of model '{name}'", f"{_LONGEST_SIDE} pixels at most", value))


def require_fitting_model(
    name: str, kind: ModelClass, config: PreTrainedConfig, shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Return if the model that a configuration describes is about as large as its weights; it is built without memory.

    Raises:
        ModelError: it is far larger.
    """
    import torch
    from transformers import initialization

    # Some models compute with numbers while they are built, which have no values without memory.
    careful = getattr(initialization, "meta_device_safe_creation_ops", nullcontext)
    try:
        with torch.device("meta"), careful():
            # An auto class, or one that is no auto class, such as a backbone's.
            build = getattr(kind, "from_config", None)
            model = kind(config) if build is None else build(config, trust_remote_code=False)
        wanted = sum(tensor.numel() for tensor in (*model.parameters(), *model.buffers()))
    except Exception:  # what is wrong with it is told where it is loaded
        return
    held = sum(_elements(shape) for shape in shapes.values())
    if wanted > _TIMES * held + _SPARE:
        allowed = f"about as large as its weights ({held:,} numbers)"
        raise ModelError(must_be(f"the model that config.json of '{name}' describes", allowed, f"{wanted:,} numbers"))


def _elements(shape: tuple[int, ...]) -> int:
    count = 1
    for side in shape:
        count *= side
    return count


def _numbers(node: object, key: str = "") -> Iterator[tuple[str, int | float]]:
    """Return every number in a configuration with the way to it; names of labels aside."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            if name not in ("id2label", "label2id"):
                yield from _numbers(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list | tuple):
        # Its length is compared as a number is; to walk through it would take long.
        if len(node) > _FEW_ROWS:
            yield key, len(node)
            return
        for value in node:
            yield from _numbers(value, key)
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield key, node
