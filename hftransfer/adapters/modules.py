"""A network of torch that is given as an object: its head is found and made anew, all else stays the module it is."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import PreTrainedConfig

from hftransfer.adapters.anatomy import Inputs, watch
from hftransfer.adapters.base import Adapter
from hftransfer.adapters.checkpoint import MODULE, Checkpoint, sidecar
from hftransfer.adapters.heads import Head
from hftransfer.adapters.images import ImageAdapter, settings_of
from hftransfer.adapters.libraries import FAULTS_OF_MODELS
from hftransfer.base.errors import ModelError, first_line, must_be

if TYPE_CHECKING:
    from transformers import BaseImageProcessor

    Transform: TypeAlias = Callable[[Image.Image], Tensor] | BaseImageProcessor

_WEIGHTS = "model.safetensors"
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_NUMBERED = re.compile(r"(layer|stage|block)s?_?\d")


@dataclass(frozen=True)
class GivenModule:
    """A network as a person holds it, with what makes pixels (3, H, W) of an RGB image."""

    network: nn.Module
    transform: Transform
    name: str = field(init=False)

    def __post_init__(self) -> None:
        kind = type(self.network)
        object.__setattr__(self, "name", f"{kind.__module__}.{kind.__qualname__}")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor, by name."""
        return {name: tuple(tensor.shape) for name, tensor in self.network.state_dict().items()}

    @cached_property
    def sha256(self) -> str:
        """The digest that tells this network from others: its weights, its layers, and what it makes of noise."""
        digest = digest_of(self.network, f"{self.name}\n{self.network!r}")
        # Two networks may differ in their code alone.
        digest.update(_output_of(self.network.eval(), self.noise)[0].float().numpy().tobytes())
        return digest.hexdigest()

    @cached_property
    def noise(self) -> Tensor:
        """Pixels (1, 3, H, W) of an image of noise."""
        return self.pixels([_noise_image()])

    def pixels(self, images: Sequence[Image.Image]) -> Tensor:
        """Return pixels (B, 3, H, W) in float32 of RGB images.

        Raises:
            ModelError: the transform makes something else of them.
        """
        if hasattr(self.transform, "image_mean") or hasattr(self.transform, "preprocess"):
            encoded = cast(Any, self.transform)(images=list(images), return_tensors="pt")
            return cast(Tensor, encoded["pixel_values"]).float()
        try:
            found = [cast(Any, self.transform)(image) for image in images]
        except FAULTS_OF_MODELS as error:
            raise ModelError(must_be("processor", _OF_TRANSFORM, f"one that fails ({first_line(error)})")) from error
        odd = next((one for one in found if not (isinstance(one, Tensor) and one.ndim == 3 and len(one) == 3)), None)
        if odd is not None:
            got = f"one that gives {tuple(odd.shape) if isinstance(odd, Tensor) else type(odd).__name__}"
            remedy = "" if isinstance(odd, Tensor) else "End it with ToTensor and Normalize."
            raise ModelError(must_be("processor", _OF_TRANSFORM, got, remedy))
        if len({one.shape for one in found}) > 1:
            got = f"images of {' and '.join(sorted({str(tuple(one.shape[1:])) for one in found}))} pixels"
            raise ModelError(must_be("what processor gives", "of one size", got, "Let it resize and crop."))
        return torch.stack(found).float()

    def settings(self) -> dict[str, object]:
        """Return what shapes the pixels, as plain values: a transform of unknown code by what it makes of noise."""
        if hasattr(self.transform, "to_dict"):
            return settings_of(self.transform)
        seen = hashlib.sha256(self.pixels([_noise_image(), _noise_image(grey=True)]).numpy().tobytes()).hexdigest()
        return {"class": type(self.transform).__qualname__, "steps": _ADDRESS.sub("", repr(self.transform)), "of": seen}


def digest_of(network: nn.Module, settings: str) -> hashlib._Hash:
    """Return the running digest of a network's settings and weights."""
    digest = hashlib.sha256(settings.encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest


_OF_TRANSFORM = "a callable that makes pixels (3, H, W) of an RGB image, such as weights.transforms()"


def _noise_image(*, grey: bool = False) -> Image.Image:
    import numpy as np

    noise = np.random.default_rng(0).integers(0, 256, (320, 400, 1 if grey else 3), dtype=np.uint8)
    return Image.fromarray(noise.repeat(3, axis=2) if grey else noise)


def _output_of(network: nn.Module, pixels: Tensor) -> Tensor:
    """Return what a network gives, wherever it lies: (B, D) or a map (B, D, H, W)."""
    parameter = next(network.parameters(), None)
    if parameter is not None:
        pixels = pixels.to(parameter.device, parameter.dtype)
    with torch.no_grad():
        return _tensor_in(network(pixels)).cpu()


def _tensor_in(output: object) -> Tensor:
    """Return the one tensor that matters of a network's output: itself, its `logits`, or the first of several."""
    if isinstance(output, Tensor):
        return output
    found = getattr(output, "logits", None)
    if not isinstance(found, Tensor) and isinstance(output, tuple | list) and output:
        found = output[0]
    if not isinstance(found, Tensor):
        raise TypeError(f"an output of type {type(output).__name__}")
    return found


Place = tuple[str | None, int]
"""The name of the last linear layer, None where there is none, and the width of the features that enter the head."""


class ModuleClassifier(nn.Module):
    """A network whose last linear layer is the head; or, where it ends without one, a head on what it gives."""

    def __init__(self, network: nn.Module, place: Place, outputs: int, config: PreTrainedConfig) -> None:
        super().__init__()
        head_at, width = place
        self.network, self.head_at, self.config = network, head_at, config
        self.head = None if head_at is not None else nn.Linear(width, outputs)
        if head_at is not None:
            owner, _, name = head_at.rpartition(".")
            setattr(network.get_submodule(owner), name, nn.Linear(width, outputs))

    @property
    def base_model(self) -> nn.Module:
        """The network."""
        return self.network

    def forward(self, pixel_values: Tensor) -> SimpleNamespace:
        """Return `logits` (B, C) of pixels (B, 3, H, W)."""
        output = _tensor_in(self.network(pixel_values))
        if self.head is None:
            return SimpleNamespace(logits=output)
        features = output.mean((2, 3)) if output.ndim == 4 else output  # (B, D)
        return SimpleNamespace(logits=self.head(features))


class ModuleAdapter(ImageAdapter):
    """A network of torch; its artifact are its weights, for which the network must be given again."""

    takes_own_head = False

    def __init__(self, model: ModuleClassifier, given: GivenModule, name: str, head: Head) -> None:
        self.given = given
        self._stage_names: list[str] | None = None
        self.notes = (f"{given.name} is an object of yours: only its weights are saved, so it must be given again",)
        super().__init__(model, given.transform, name, MODULE, head)

    def encode(self, examples: Sequence[Image.Image]) -> Inputs:
        """Return `{"pixel_values": (B, 3, H, W)}` in float32, from RGB images."""
        return {"pixel_values": self.given.pixels(examples)}

    def processor_settings(self) -> dict[str, object]:
        """Return what shapes the pixels."""
        return self.given.settings()

    def save(self, folder: Path) -> None:
        """Write the weights, and in `config.json` which network they are of and where its head is."""
        from safetensors.torch import save_model

        save_model(self.model, str(folder / _WEIGHTS))
        said = {
            "model_type": MODULE,
            "class": self.given.name,
            "head": self.model.head_at,
            "width": self.head.in_features,
            "class_names": list(self.class_names),
            "problem_type": self.model.config.problem_type,
            "processor": self.given.settings(),
        }
        (folder / "config.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")

    def save_processor(self, folder: Path) -> None:
        """Write no file: the transform is an object of a person's own."""

    def _find_stages(self) -> list[nn.Module]:
        network = self.model.network
        if self._stage_names is None:  # once: a copy whose norms are folded into convolutions has fewer weights
            self._stage_names = _stages_in(network, self.model.head_at)
        return [network.get_submodule(name) for name in self._stage_names]

    def _crops_center(self) -> bool:
        return False


def _stages_in(network: nn.Module, head_at: str | None) -> list[str]:
    """Return the names of the parts that run one after the other: `layer1`, `layer2`, …, or those of the list that
    holds most of the weights."""
    numbered = [name for name, _ in network.named_children() if _NUMBERED.fullmatch(name)]
    if len(numbered) > 1:
        return numbered
    lists = [
        # Activations and poolings of a list belong to what stands before them.
        {f"{name}.{own}".removeprefix("."): _size(part) for own, part in module.named_children() if _size(part)}
        for name, module in network.named_modules()
        if isinstance(module, nn.ModuleList | nn.Sequential) and not _has(module, head_at, network)
    ]
    # Of lists with the same weights the one with more parts.
    best = max(lists, key=lambda parts: (sum(parts.values()), len(parts)), default={})
    if 2 * sum(best.values()) >= _size(network):
        return list(best)
    return [name for name, part in network.named_children() if _size(part) and not _has(part, head_at, network)]


def _has(module: nn.Module, head_at: str | None, network: nn.Module) -> bool:
    return head_at is not None and network.get_submodule(head_at) in set(module.modules())


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def load_module(
    checkpoint: Checkpoint, class_names: Sequence[str] | None, head: Head, problem_type: str | None
) -> Adapter:
    """Return the adapter of a network that is given as an object; without class names, with the weights in the
    checkpoint's folder.

    Raises:
        ModelError: the network is not given, no head is found in it, or the weights are of another.
    """
    given = checkpoint.module
    if not isinstance(given, GivenModule):
        kind = str(checkpoint.config.get("class", "torch.nn.Module"))
        remedy = f"Give it again: ht.load({str(checkpoint.folder)!r}, module=network, processor=transform)."
        raise ModelError(must_be(f"the network of '{checkpoint.name}'", f"given as an object ({kind})", "none", remedy))
    # A copy: what a person holds stays as it is.
    network = copy.deepcopy(given.network).float().cpu().requires_grad_(True).eval()
    if class_names is None:
        return _trained(checkpoint, given, network, head)
    place = _place_of_head(network, given)
    config = PreTrainedConfig(id2label=dict(enumerate(class_names)), problem_type=problem_type)
    model = ModuleClassifier(network, place, head.outputs(config), config)
    return ModuleAdapter(model, given, checkpoint.name, head)


def _place_of_head(network: nn.Module, given: GivenModule) -> Place:
    """Return where the head of a network is; of one without, the width of what it gives.

    Raises:
        ModelError: neither is so.
    """

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixel_values: Tensor) -> SimpleNamespace:
            return SimpleNamespace(logits=_tensor_in(self.network(pixel_values)))

    where = f"the network {given.name}"
    try:
        trace = watch(Watched(), [network], {"pixel_values": given.noise})
        output = _output_of(network, given.noise)
    except FAULTS_OF_MODELS as error:
        got = f"one that fails ({first_line(error)})"
        raise ModelError(must_be(where, "one that takes pixels (B, 3, H, W) alone", got)) from error
    last = trace.with_parameters[-1] if trace.with_parameters else None
    if isinstance(last, nn.Linear) and trace.head_gives_logits and output.ndim == 2:
        name = next(name for name, module in network.named_modules() if module is last)
        if name:
            return name, last.in_features
    if output.ndim not in (2, 4):
        got = f"an output of shape {tuple(output.shape)}"
        remedy = "Wrap it in a module whose forward gives features (B, D)."
        raise ModelError(must_be(where, "one that gives features (B, D), a map (B, D, H, W), or logits", got, remedy))
    return None, output.shape[1]


def _trained(checkpoint: Checkpoint, given: GivenModule, network: nn.Module, head: Head) -> Adapter:
    """Return the adapter of a network that was trained, with the weights in the checkpoint's folder."""
    from safetensors.torch import load_model

    said = checkpoint.config
    if said.get("model_type") != MODULE:
        remedy = "It is a native model: load it without module=."
        raise ModelError(must_be(f"model '{checkpoint.name}'", "the weights of a network of torch", "another", remedy))
    if said.get("processor") != given.settings():
        got, remedy = f"{given.settings()}", f"It was {said.get('processor')}."
        raise ModelError(must_be("processor", "the one used in training", got, remedy))
    names = sidecar(checkpoint.folder).get("class_names") or said.get("class_names") or ()
    config = PreTrainedConfig(id2label=dict(enumerate(names)), problem_type=said.get("problem_type"))
    try:
        model = ModuleClassifier(network, (said.get("head"), int(said["width"])), head.outputs(config), config)
        load_model(model, str(checkpoint.folder / _WEIGHTS))
    except (RuntimeError, AttributeError, KeyError, ValueError, TypeError) as error:
        got = f"{given.name} ({first_line(error)})"
        allowed = f"the network that was trained, {said.get('class')}"
        raise ModelError(must_be("module", allowed, got)) from error
    return ModuleAdapter(model, given, checkpoint.name, head)
