"""The towers of a dual encoder as adapters, their projections as heads: what a strategy does with any network, it does
with each of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

from hftransfer.adapters.anatomy import Inputs
from hftransfer.adapters.base import Adapter
from hftransfer.adapters.dual import DualEncoder
from hftransfer.adapters.heads import TEXT_CLASSES
from hftransfer.adapters.images import ImageAdapter
from hftransfer.adapters.open_clip import stages_of_visual
from hftransfer.adapters.projections import SIDES, TowerModel, Unprojected
from hftransfer.adapters.texts import TextAdapter, Tokens


class ImageTowerAdapter(ImageAdapter):
    """The image tower of a dual encoder."""

    def __init__(self, model: TowerModel, dual: DualEncoder) -> None:
        self.dual, self._width = dual, int(model.projection.out_features)
        super().__init__(model, None, f"{dual.name}, images", model.config.model_type or dual.family)

    @property
    def outputs(self) -> int:
        """The width of the common space."""
        return self._width

    def _find_stages(self) -> list[nn.Module]:
        # open_clip's towers name their stages otherwise than transformers' families.
        if self.dual.family == "open_clip":
            return stages_of_visual(self.model.network)
        return super()._find_stages()

    def encode(self, examples: Sequence[Image.Image]) -> Inputs:
        """Return `{"pixel_values": (B, 3, H, W)}` in float32, from RGB images."""
        return self.dual.encode_images(examples)

    def processor_settings(self) -> dict[str, object]:
        """Return everything that shapes `encode`."""
        return {"tower": "image", **self.dual.image_settings()}

    def save(self, folder: Path) -> None:
        """Write no file: a tower is written with the other."""

    def save_processor(self, folder: Path) -> None:
        """Write no file: a tower is written with the other."""


class TextTowerAdapter(TextAdapter):
    """The text tower of a dual encoder."""

    def __init__(self, model: TowerModel, dual: DualEncoder, *, averages: bool = False) -> None:
        self.dual, self.averages, self._width = dual, averages, int(model.projection.out_features)
        self._start(model)
        # A tokenizer may take longer texts than the tower has positions for.
        self.max_tokens = min(self.max_tokens, dual.longest)

    def _start(self, model: TowerModel) -> None:
        super().__init__(model, self.dual.tokenizer, f"{self.dual.name}, texts", model.config.model_type)

    @property
    def outputs(self) -> int:
        """The width of the common space."""
        return self._width

    def save(self, folder: Path) -> None:
        """Write no file: a tower is written with the other."""

    def _find_stages(self) -> list[nn.Module]:
        """Return those of the network; a last layer that only averages the tokens is no stage."""
        found = super()._find_stages()
        return found[:-1] if self.averages else found


class FixedLengthTextTowerAdapter(TextTowerAdapter):
    """A text tower that takes all texts padded to one length, padding attended to (SigLIP, open_clip)."""

    def _start(self, model: TowerModel) -> None:
        self.max_tokens = self.dual.longest
        name, family = f"{self.dual.name}, texts", model.config.model_type or self.dual.family
        Adapter.__init__(self, model, self.dual.tokenizer, TEXT_CLASSES, name, family)

    def encode(self, examples: Sequence[Any]) -> Inputs:
        """Return `{"input_ids": (B, T)}`, T the tower's one length, from texts."""
        return dict(self.dual.encode_texts(examples))

    def tokenize_all(
        self, examples: Sequence[tuple[str, str | None]], max_tokens: int | None = None
    ) -> tuple[list[Tokens], list[int]]:
        """Return the tokens of all texts, and nothing more: what was cut isn't told by every tokenizer."""
        del max_tokens
        ids = self.encode([first for first, _ in examples])["input_ids"].tolist() if examples else []
        return [{"input_ids": row} for row in ids], []

    def pad(self, batch: Sequence[Tokens], at_least: int = 0) -> Inputs:
        """Return token lists as a tensor (B, T)."""
        del at_least
        return {"input_ids": torch.tensor([tokens["input_ids"] for tokens in batch])}

    def _sample_inputs(self, count: int) -> Inputs:
        return self.encode(["a few words", "a few words more"][:count])

    def _require_split(self) -> None:
        self._require_lengths()  # CoCa's texts have a class token behind the others
        Adapter._require_split(self)


def tower_adapters(dual: DualEncoder) -> tuple[ImageTowerAdapter, TextTowerAdapter]:
    """Return both towers; they share their weights with the dual encoder.

    Raises:
        ModelError: its projections are not linear layers apart, or a tower can't be split below its projection.
    """
    images, texts = (dual.tower(side) for side in SIDES)
    if dual.fixed_length:
        of_texts: TextTowerAdapter = FixedLengthTextTowerAdapter(texts, dual)
    else:
        of_texts = TextTowerAdapter(texts, dual, averages="text" in dual.poolers())
    of_images = ImageTowerAdapter(images, dual)
    of_images.require_parts()
    of_texts.require_parts()
    return of_images, of_texts


def hold_fixed(images: ImageTowerAdapter, texts: TextTowerAdapter) -> None:
    """Freeze what must stay as it is in both towers: a projection that the model doesn't have, a last layer that only
    averages the tokens and the pooler behind it."""
    held: list[nn.Module] = [tower.head for tower in (images, texts) if isinstance(tower.head, Unprojected)]
    if texts.averages:
        held += [texts.model.network.encoder.layer[-1], texts.model.network.pooler]
    for part in held:
        part.requires_grad_(False)


def dual_of_towers(dual: DualEncoder, images: Adapter, texts: Adapter) -> DualEncoder:
    """Return the dual encoder of two towers that were made from its own; LoRA's matrices merged into them."""
    towers = zip(SIDES, (images, texts), strict=True)
    return dual.with_towers(
        {side: (adapter.merged() if adapter.peft is not None else adapter).model for side, adapter in towers}
    )
