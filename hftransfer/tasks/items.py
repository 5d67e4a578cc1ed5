"""The examples as the network takes them: images decoded when they are needed, texts as tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from PIL import Image

from hftransfer.adapters.anatomy import Inputs
from hftransfer.adapters.texts import TextAdapter, Tokens
from hftransfer.base.errors import DataError
from hftransfer.data.images import enough_for
from hftransfer.data.inspection import decode_row
from hftransfer.data.rows import Row


@dataclass(frozen=True)
class Batch:
    """The inputs of some items, and those that could not be read with the reason."""

    items: list[int]
    inputs: Inputs
    faults: dict[int, str]


class Encoder(Protocol):
    """What makes tensors of raw examples."""

    def encode(self, examples: Sequence[Any]) -> Inputs:
        """Return what a network takes."""


class Items(Protocol):
    """Examples that become inputs."""

    @property
    def digests(self) -> list[bytes]:
        """Return what identifies the content of each."""

    @property
    def lengths(self) -> np.ndarray | None:
        """Return how many tokens each has; None where all are of one size."""

    def batch(self, chosen: Sequence[int], tokens: int = 0) -> Batch:
        """Return the inputs of these items; texts are padded to so many tokens at least."""

    def beside(self, chosen: Sequence[int], tokens: int = 0) -> Inputs:
        """Return what goes beside their stored activations."""


@dataclass(frozen=True)
class Augment:
    """Random changes of training images; the same seed, view and image give the same change."""

    kind: Literal["light", "strong"]
    seed: int
    view: int


class ImageItems:
    """Images, decoded (as drafts, if so wished, and changed, with `augment`) each time they are asked for."""

    lengths: None = None

    def __init__(
        self,
        rows: Sequence[Row],
        digests: Sequence[bytes],
        adapter: Encoder,
        augment: Augment | None = None,
        decode: Literal["exact", "draft"] = "exact",
    ) -> None:
        self.rows, self.adapter, self.augment = rows, adapter, augment
        self._draft = enough_for(_edge_of(adapter)) if decode == "draft" else None
        changes = [str(change) for change in (augment, self._draft) if change]
        self.digests = [_changed_digest(digest, changes) for digest in digests] if changes else list(digests)

    def batch(self, chosen: Sequence[int], tokens: int = 0) -> Batch:
        """`pixel_values` (B, 3, H, W) of the images that can be decoded."""
        del tokens
        kept, images, faults = [], [], {}
        for item in chosen:
            try:
                image = decode_row(self.rows[item], self._draft)
            except DataError as error:
                faults[item] = str(error)
                continue
            images.append(self._changed(image, item) if self.augment else image)
            kept.append(item)
        return Batch(kept, self.adapter.encode(images) if images else {}, faults)

    def beside(self, chosen: Sequence[int], tokens: int = 0) -> Inputs:
        """Return nothing: their activations need nothing beside them."""
        del chosen, tokens
        return {}

    def _changed(self, image: Image.Image, item: int) -> Image.Image:
        """Return a random part of the image (60-100 % of its area, near its own shape), mirrored or not."""
        assert self.augment is not None
        words = int.from_bytes(self.digests[item][:8], "little")
        random = np.random.default_rng(words)
        area, shape = random.uniform(0.6, 1.0), np.exp(random.uniform(-0.2, 0.2))
        width = min(image.width, max(1, round(image.width * np.sqrt(area * shape))))
        height = min(image.height, max(1, round(image.height * np.sqrt(area / shape))))
        left, top = random.integers(0, image.width - width + 1), random.integers(0, image.height - height + 1)
        cut = image.crop((int(left), int(top), int(left) + width, int(top) + height))
        if random.random() < 0.5:
            cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return _strongly_changed(cut, random) if self.augment.kind == "strong" else cut


def _changed_digest(digest: bytes, changes: Sequence[str]) -> bytes:
    return hashlib.blake2b(digest + "".join(changes).encode(), digest_size=16).digest()


def _edge_of(adapter: Encoder) -> int:
    """Return the longer edge in pixels of what a network takes."""
    return max(adapter.encode([Image.new("RGB", (64, 64))])["pixel_values"].shape[-2:])


def _strongly_changed(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Two of Pillow's changes of tone and shape in random strength, in the manner of RandAugment
    (Cubuk et al., arXiv 1909.13719)."""
    from torchvision.transforms.v2 import functional as change

    tone = float(random.uniform(0.6, 1.4))
    choices: list[Any] = [
        lambda given: change.adjust_brightness(given, tone),
        lambda given: change.adjust_contrast(given, tone),
        lambda given: change.adjust_saturation(given, tone),
        lambda given: change.adjust_sharpness(given, tone**3),
        lambda given: change.rotate(given, 40 * (tone - 1)),
        lambda given: change.autocontrast(given),
        lambda given: change.posterize(given, int(random.integers(4, 8))),
    ]
    for choice in random.choice(len(choices), 2, replace=False):
        image = choices[choice](image)
    return image


class TokenItems:
    """Texts (or windows of them) as tokens."""

    def __init__(self, tokens: Sequence[Tokens], adapter: TextAdapter) -> None:
        self.tokens, self.adapter = tokens, adapter
        self.lengths = np.array([len(entry["input_ids"]) for entry in tokens], dtype=np.int64)
        self.digests = [_digest_of(entry) for entry in tokens]

    def batch(self, chosen: Sequence[int], tokens: int = 0) -> Batch:
        """`input_ids`, `attention_mask` (and `token_type_ids`), each (B, T)."""
        return Batch(list(chosen), self.beside(chosen, tokens), {})

    def beside(self, chosen: Sequence[int], tokens: int = 0) -> Inputs:
        """Return the tokens themselves: masks and positions above the boundary follow from them."""
        return self.adapter.pad([self.tokens[item] for item in chosen], tokens)


def _digest_of(tokens: Tokens) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(tokens):
        digest.update(np.asarray(tokens[name], dtype=np.int64).tobytes() + name.encode())
    return digest.digest()
