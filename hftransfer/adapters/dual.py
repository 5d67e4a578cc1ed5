"""Dual encoders: an image tower and a text tower that embed into one space, as in CLIP (Radford et al., arXiv
2103.00020, section 2)."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import PreTrainedConfig
from typing_extensions import override

from hftransfer.adapters.anatomy import Inputs
from hftransfer.adapters.checkpoint import OPEN_CLIP_CONFIG, Checkpoint
from hftransfer.adapters.images import crops_center, pixels_of, settings_of, without_long_ends
from hftransfer.adapters.libraries import FAULTS_OF_MODELS, damage_as_model_error, quiet_transformers
from hftransfer.adapters.open_clip import load_clip, save_clip
from hftransfer.adapters.pretrained import config_of, lacking, loading, model_of, require_whole
from hftransfer.adapters.processors import load_image_processor, load_tokenizer
from hftransfer.adapters.projections import (
    SIDES,
    FirstTokenTower,
    OpenClipTexts,
    OpenClipTower,
    Side,
    TowerModel,
    Unprojected,
    linear_at,
    part_at,
    replaced,
    with_linear,
    without_linear,
)
from hftransfer.adapters.texts import TextAdapter, clean_text, positions_before_the_first
from hftransfer.base.errors import ModelError, first_line, must_be

if TYPE_CHECKING:
    from open_clip import CLIP
    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
    from transformers import BaseImageProcessor, PreTrainedModel, PreTrainedTokenizerBase
    from transformers.utils import ModelOutput


class DualEncoder(ABC):
    """One native model of two towers with its preprocessing. Embeddings are not normalised."""

    model: PreTrainedModel | CLIP
    """The network of both towers."""
    tokenizer: PreTrainedTokenizerBase
    longest: int
    """The longest text in tokens that the text tower takes."""
    fixed_length: bool
    """True if all texts are padded to one length, and padding is attended to."""

    def __init__(self, model: PreTrainedModel | CLIP, name: str, family: str) -> None:
        self.model = model.eval().requires_grad_(False)
        self.name, self.family = name, family
        self._widths: dict[Side, int] = {}

    @abstractmethod
    def encode_images(self, images: Sequence[Image.Image]) -> Inputs:
        """Return `{"pixel_values": (B, 3, H, W)}` in float32, from RGB images."""

    @abstractmethod
    def encode_texts(self, texts: Sequence[str]) -> Inputs:
        """Return tokens, each tensor (B, T), cut to the longest that the text tower takes."""

    @abstractmethod
    def embed_images(self, inputs: Inputs) -> Tensor:
        """Return embeddings (B, D)."""

    @abstractmethod
    def embed_texts(self, inputs: Inputs) -> Tensor:
        """Return embeddings (B, D)."""

    @abstractmethod
    def image_settings(self) -> dict[str, object]:
        """Return everything that shapes `encode_images`, as plain values."""

    @abstractmethod
    def text_settings(self) -> dict[str, object]:
        """Return everything that shapes `encode_texts`, as plain values."""

    def poolers(self) -> dict[Side, nn.Linear]:
        """Return the poolers, by modality, that are linear and whose bias may move: those of towers that were paired
        here."""
        return {}

    @abstractmethod
    def tower(self, side: Side) -> TowerModel:
        """Return a tower and its projection apart, sharing their weights with this model.

        Raises:
            ModelError: it can't be told apart.
        """

    @abstractmethod
    def with_towers(self, towers: Mapping[Side, TowerModel]) -> DualEncoder:
        """Return the same dual encoder with other towers, made from its own."""

    def require_towers(self, *sides: Side) -> None:
        """Return if these towers and their projections give the embeddings of the model.

        Raises:
            ModelError: they don't, or can't be told apart.
        """
        for side in sides:
            inputs, embedded = self._tried(side)
            try:
                with torch.no_grad():
                    as_tower = self.tower(side)(**inputs).logits
            except FAULTS_OF_MODELS as error:  # a projection of several layers (GroupViT)
                raise self._without_projections() from error
            # An unknown model may put its towers together in another way.
            if as_tower.shape != embedded.shape or not torch.allclose(as_tower, embedded, atol=1e-4):
                raise self._without_projections()

    def _tried(self, side: Side) -> tuple[Inputs, Tensor]:
        """Return one small example as a tower takes it, and its embedding (1, D)."""
        tower = self.images if side == "image" else self.texts
        inputs = tower.encode([Image.new("RGB", (64, 64))] if side == "image" else ["a photo"])
        with torch.no_grad():
            return inputs, tower.below(inputs, 1)["hidden"]

    def _width(self, side: Side) -> int:
        """Return the width of the common space, as one side alone tells it."""
        if side not in self._widths:
            self._widths[side] = self._tried(side)[1].shape[1]
        return self._widths[side]

    def projections(self) -> dict[Side, nn.Linear]:
        """Return the layers that carry images and texts into the common space; they share their weights with this
        model.

        Raises:
            ModelError: a tower can't be told apart.
        """
        return {side: self.tower(side).projection for side in SIDES}

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the native layout: config, safetensors, image preprocessing and tokenizer."""

    def _without_projections(self) -> ModelError:
        allowed = "a dual encoder whose two towers give its embeddings (CLIP, SigLIP, a pair of towers)"
        return ModelError(must_be(f"model '{self.name}'", allowed, type(self.model).__name__))

    @property
    def scale(self) -> float:
        """The factor that makes logits of similarities."""
        return float(self.model.logit_scale.detach().float().exp())

    @torch.no_grad()
    def set_log_scale(self, log_scale: float) -> None:
        """Change the logarithm of the factor that makes logits of similarities."""
        self.model.logit_scale.fill_(log_scale)

    @property
    def bias(self) -> float:
        """The term added to logits: 0, except where the model was trained with a sigmoid (SigLIP)."""
        bias = getattr(self.model, "logit_bias", None)
        return 0.0 if bias is None else float(bias.detach())

    def with_model(self, model: nn.Module) -> DualEncoder:
        """Return the same dual encoder around another copy of its model."""
        other = copy.copy(self)
        other.model = model
        return other

    @property
    def images(self) -> Tower:
        """The image tower."""
        return Tower(self, "image")

    @property
    def texts(self) -> Tower:
        """The text tower."""
        return Tower(self, "text")


class Tower:
    """One tower of a dual encoder, as that which lies below a boundary: one stage, whose output is kept. With
    `pooled` that is what enters the projection."""

    def __init__(self, dual: DualEncoder, modality: Side, *, pooled: bool = False) -> None:
        self.dual, self.modality, self.pooled = dual, modality, pooled
        self._parts = dual.tower(modality) if pooled else None
        self.model = dual.model
        # One stage: what is kept lies behind the whole tower, and a boundary inside it has no use.
        self.stages = [dual.model]

    def with_model(self, model: nn.Module) -> Tower:
        """Return the same tower of another copy of the model."""
        return Tower(self.dual.with_model(model), self.modality, pooled=self.pooled)

    def encode(self, examples: Sequence[Any]) -> Inputs:
        """Return what the tower takes, from raw examples."""
        return self.dual.encode_images(examples) if self.modality == "image" else self.dual.encode_texts(examples)

    def below(self, inputs: Inputs, boundary: int) -> dict[str, Tensor]:
        """Return `hidden`: the embeddings (B, D)."""
        del boundary  # there is one alone
        dual, of_images = self.dual, self.modality == "image"
        if self._parts is not None:
            return {"hidden": self._parts.pooled(**inputs)}
        return {"hidden": dual.embed_images(inputs) if of_images else dual.embed_texts(inputs)}

    def processor_settings(self) -> dict[str, object]:
        """Return everything that shapes `encode`, as plain values."""
        own = self.dual.image_settings() if self.modality == "image" else self.dual.text_settings()
        return {"tower": self.modality, "pooled": self.pooled, **own}


class TransformersDual(DualEncoder):
    """CLIP, SigLIP and their kin of transformers, `VisionTextDualEncoderModel` among them."""

    def __init__(
        self,
        model: PreTrainedModel,
        image_processor: BaseImageProcessor,
        tokenizer: PreTrainedTokenizerBase,
        name: str,
        family: str,
    ) -> None:
        super().__init__(model, name, family)
        self.image_processor, self.tokenizer = image_processor, tokenizer
        positions = getattr(model.config.text_config, "max_position_embeddings", None)
        usable = positions - positions_before_the_first(model) if positions else TextAdapter.usual_tokens
        # A tokenizer without a limit gives a number of thirty digits.
        self.longest = int(min(tokenizer.model_max_length, usable))
        # SigLIP was trained on texts that are all padded to one length, padding attended to.
        self.fixed_length = family.startswith("siglip")
        self.padding = "max_length" if self.fixed_length else "longest"
        self.takes = ("input_ids",) if self.fixed_length else ("input_ids", "attention_mask", "token_type_ids")

    def encode_images(self, images: Sequence[Image.Image]) -> Inputs:
        """Return `{"pixel_values": (B, 3, H, W)}` in float32, from RGB images; see `pixels_of`."""
        crops = crops_center(self.image_processor)
        cleaned = [without_long_ends(image) if crops else image for image in images]
        return pixels_of(self.image_processor, cleaned)

    def encode_texts(self, texts: Sequence[str]) -> Inputs:
        """Return `input_ids` and what else the text tower takes, each (B, T)."""
        cleaned = [clean_text(text) for text in texts]
        encoded = self.tokenizer(
            cleaned, padding=self.padding, truncation=True, max_length=self.longest, return_tensors="pt"
        )
        return {name: encoded[name] for name in self.takes if name in encoded}

    def embed_images(self, inputs: Inputs) -> Tensor:
        """Return embeddings (B, D)."""
        return self._embedding(self.model.get_image_features(**inputs))

    def embed_texts(self, inputs: Inputs) -> Tensor:
        """Return embeddings (B, D)."""
        return self._embedding(self.model.get_text_features(**inputs))

    def _embedding(self, output: Tensor | ModelOutput) -> Tensor:
        """Return the projected embedding (B, D): older transformers give it alone, since 5 it is the pooled output."""
        embedded: Tensor = output if isinstance(output, Tensor) else output.pooler_output
        if embedded.ndim != 2:  # FLAVA gives one vector for each patch
            raise self._without_projections()
        return embedded

    @property
    @override
    def scale(self) -> float:
        """The factor that makes logits of similarities; ALIGN keeps what they are divided by."""
        if (temperature := getattr(self.model, "temperature", None)) is not None:
            return 1 / float(temperature.detach())
        return super().scale

    @override
    @torch.no_grad()
    def set_log_scale(self, log_scale: float) -> None:
        """Change the logarithm of the factor that makes logits of similarities."""
        if (temperature := getattr(self.model, "temperature", None)) is not None:
            temperature.fill_(math.exp(-log_scale))
        else:
            super().set_log_scale(log_scale)

    def poolers(self) -> dict[Side, nn.Linear]:
        """Return the poolers, by modality, that are linear and whose bias may move: those of towers that were paired
        here."""
        towers: dict[Side, nn.Module] = {"image": self.model.vision_model, "text": self.model.text_model}
        dense = {name: getattr(getattr(tower, "pooler", None), "dense", None) for name, tower in towers.items()}
        return {name: layer for name, layer in dense.items() if layer is not None and _is_small_identity(layer)}

    def tower(self, side: Side) -> TowerModel:
        """Return a tower and its projection apart, sharing their weights with this model."""
        attribute, layer, own_head = _TOWERS[side]
        network = getattr(self.model, attribute, None)
        if not isinstance(network, nn.Module):
            raise self._without_projections()
        projection = linear_at(self.model, layer)
        if projection is None and own_head is not None and (projection := linear_at(network, own_head)) is not None:
            network = without_linear(network, own_head)
        of_tower = FirstTokenTower if side == "text" and self.family in _BY_FIRST_TOKEN else TowerModel
        return of_tower(network, projection or Unprojected(self._width(side)), network.config)

    def with_towers(self, towers: Mapping[Side, TowerModel]) -> DualEncoder:
        """Return the same dual encoder with other towers, made from its own."""
        model = self.model
        for side, tower in towers.items():
            attribute, layer, own_head = _TOWERS[side]
            network = tower.network
            if linear_at(model, layer) is not None:
                model = replaced(model, layer, tower.projection)
            elif own_head is not None and linear_at(model, f"{attribute}.{own_head}") is not None:
                network = with_linear(network, own_head, tower.projection, as_matrix=False)
            model = replaced(model, attribute, network)
        return self.with_model(model)

    def save(self, folder: Path) -> None:
        """Write the native layout: config, safetensors, image processor and tokenizer."""
        import transformers

        with quiet_transformers():
            self.model.save_pretrained(folder)
            if self.family == "vision-text-dual-encoder":
                processor = transformers.VisionTextDualEncoderProcessor(self.image_processor, self.tokenizer)
                processor.save_pretrained(folder)
            else:
                self.image_processor.save_pretrained(folder)
                self.tokenizer.save_pretrained(folder)

    def image_settings(self) -> dict[str, object]:
        """Return the image processor's settings and its backend."""
        return settings_of(self.image_processor)

    def text_settings(self) -> dict[str, object]:
        """Return the tokenizer's digest, and to what length texts are cut and padded."""
        content = json.dumps(self.tokenizer.get_vocab(), sort_keys=True)
        if self.tokenizer.is_fast:
            content = self.tokenizer.backend_tokenizer.to_str()
            # Truncation and padding are what the last call set: no part of the tokenizer itself.
            content = json.dumps(json.loads(content) | {"truncation": None, "padding": None}, sort_keys=True)
        return {"tokenizer": _digest(content), "longest": self.longest, "padding": self.padding}


class OpenClipDual(DualEncoder):
    """A model of open_clip with its own transform and tokenizer."""

    def __init__(
        self,
        model: CLIP,
        transform: Callable[[Image.Image], Tensor],
        tokenizer: HFTokenizer | SimpleTokenizer,
        name: str,
        folder: Path,
    ) -> None:
        super().__init__(model, name, "open_clip")
        self.transform, self.tokenizer, self.folder = transform, tokenizer, folder
        self.longest, self.fixed_length = int(model.context_length), True
        # Tokenizers of open_clip have no common form to hash: the files they are read from stand for them.
        texts = sorted([*folder.glob("tokenizer*"), *folder.glob("vocab*"), folder / OPEN_CLIP_CONFIG])
        self._tokenizer_digest = _digest("".join(file.read_text(encoding="utf-8") for file in texts))

    def encode_images(self, images: Sequence[Image.Image]) -> Inputs:
        """Return `{"pixel_values": (B, 3, H, W)}` in float32, from RGB images."""
        crops = "CenterCrop" in repr(self.transform)
        cleaned = [without_long_ends(image) if crops else image for image in images]
        return {"pixel_values": torch.stack([self.transform(image) for image in cleaned])}

    def encode_texts(self, texts: Sequence[str]) -> Inputs:
        """Return `{"input_ids": (B, T)}`, T the tower's context length."""
        return {"input_ids": self.tokenizer([clean_text(text) for text in texts])}

    def embed_images(self, inputs: Inputs) -> Tensor:
        """Return embeddings (B, D)."""
        embedded: Tensor = self.model.encode_image(inputs["pixel_values"], normalize=False)  # CoCa's would be
        return embedded

    def embed_texts(self, inputs: Inputs) -> Tensor:
        """Return embeddings (B, D)."""
        embedded: Tensor = self.model.encode_text(inputs["input_ids"], normalize=False)
        return embedded

    def tower(self, side: Side) -> TowerModel:
        """Return a tower and its projection apart, sharing their weights with this model."""
        whole, config = self._whole(side), PreTrainedConfig()
        path = self._projection_path(side)
        if path is None:
            return OpenClipTower(whole, Unprojected(self._width(side)), config)
        projection = linear_at(whole, path)
        assert projection is not None
        return OpenClipTower(without_linear(whole, path), projection, config)

    def _whole(self, side: Side) -> nn.Module:
        """Return a tower with its projection."""
        return self.model.visual if side == "image" else OpenClipTexts(replaced(self.model, "visual", None))

    def _projection_path(self, side: Side) -> str | None:
        """Return where the last layer of a tower lies, if it is linear and applied to what was pooled."""
        whole = self._whole(side)
        return next((path for path in _OPEN_CLIP_PROJECTIONS[side] if linear_at(whole, path) is not None), None)

    def with_towers(self, towers: Mapping[Side, TowerModel]) -> DualEncoder:
        """Return the same dual encoder with other towers, made from its own."""
        model = self.model
        for side, tower in towers.items():
            network, path = tower.network, self._projection_path(side)
            if path is not None:
                as_matrix = isinstance(part_at(self._whole(side), path), nn.Parameter)
                network = with_linear(network, path, tower.projection, as_matrix=as_matrix)
            visual = network if side == "image" else model.visual
            model = replaced(model if side == "image" else network.clip, "visual", visual)
        return self.with_model(model)

    def save(self, folder: Path) -> None:
        """Write open_clip's layout: its configuration, safetensors and tokenizer."""
        save_clip(self.model, self.folder, folder)

    def image_settings(self) -> dict[str, object]:
        """Return the transform, step by step."""
        return {"class": "open_clip", "steps": repr(self.transform)}

    def text_settings(self) -> dict[str, object]:
        """Return the digest of the tokenizer's files, and its kind."""
        return {"class": type(self.tokenizer).__name__, "files": self._tokenizer_digest}


# In transformers: the tower, the projection beside it, or that at its own end (SigLIP's texts).
_TOWERS: dict[Side, tuple[str, str, str | None]] = {
    "image": ("vision_model", "visual_projection", None),
    "text": ("text_model", "text_projection", "head"),
}
# Their texts are embedded by the first token as the last layer gives it, without the pooler of BERT.
_BY_FIRST_TOKEN = ("align", "chinese_clip")
_OPEN_CLIP_PROJECTIONS: dict[Side, tuple[str, ...]] = {
    "image": ("proj", "head.proj"),
    "text": ("clip.text_projection", "clip.text.text_projection", "clip.text.proj"),
}


def load_dual(checkpoint: Checkpoint) -> DualEncoder:
    """Return the dual encoder of a checkpoint, in float32 and eval mode.

    Raises:
        ModelError: the weights are not whole, or the model does not have two towers.
    """
    with damage_as_model_error(checkpoint.name), quiet_transformers():
        if checkpoint.family == "open_clip":
            return _load_open_clip(checkpoint)
        model = _load_transformers(checkpoint)
        image_processor, tokenizer = load_image_processor(checkpoint), load_tokenizer(checkpoint)
        return TransformersDual(model, image_processor, tokenizer, checkpoint.name, checkpoint.family)


def _load_transformers(checkpoint: Checkpoint) -> PreTrainedModel:
    where = f"model '{checkpoint.name}'"
    model = load_backbone(checkpoint, where, "a dual encoder that transformers loads")
    if not hasattr(model, "get_image_features") or not hasattr(model, "get_text_features"):
        raise ModelError(must_be(where, "one with an image tower and a text tower", type(model).__name__))
    return model


def load_backbone(checkpoint: Checkpoint, where: str, allowed: str, *, may_lack: str | None = None) -> PreTrainedModel:
    """Return what transformers' `AutoModel` makes of a checkpoint, in float32 and eval mode; only weights with
    `may_lack` in their names may be missing.

    Raises:
        ModelError: it can't be loaded, or its weights are not whole.
    """
    import transformers

    with loading(where, allowed, checkpoint.family):
        model, report = model_of(transformers.AutoModel, checkpoint, config_of(checkpoint))
    require_whole(where, [name for name in lacking(report) if may_lack is None or may_lack not in name])
    return model.eval()


def _load_open_clip(checkpoint: Checkpoint) -> DualEncoder:
    import open_clip

    model, transform = load_clip(checkpoint)
    where = f"model '{checkpoint.name}'"
    if not hasattr(model, "encode_text"):
        raise ModelError(must_be(where, "one with an image tower and a text tower", type(model).__name__))
    try:
        tokenizer = open_clip.get_tokenizer(f"local-dir:{checkpoint.folder}")
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, ImportError) as error:
        raise ModelError(must_be(where, "one with a tokenizer", f"none ({first_line(error)})")) from error
    return OpenClipDual(model, transform, tokenizer, checkpoint.name, checkpoint.folder)


def _is_small_identity(layer: nn.Linear) -> bool:
    """Return whether a pooler's layer only shrinks what it is given, so that its tanh is linear."""
    weight = layer.weight.detach()
    if weight.shape[0] != weight.shape[1]:
        return False
    small = weight[0, 0]
    return bool(0 < small <= 0.05) and torch.equal(weight, small * torch.eye(len(weight), device=weight.device))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
