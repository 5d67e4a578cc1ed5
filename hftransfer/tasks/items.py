"""The examples as the network takes them: images decoded when they are needed, texts as tokens."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import torch
from PIL import Image

from hftransfer.adapters.anatomy import Inputs
from hftransfer.adapters.texts import TextAdapter, Tokens
from hftransfer.base.errors import DataError
from hftransfer.data.images import enough_for
from hftransfer.data.inspection import decode_row, image_of
from hftransfer.data.rows import Row


@dataclass(frozen=True)
class Batch:
    """The inputs of some items, and those that could not be read with the reason."""

    items: list[int]
    inputs: Inputs
    faults: dict[int, str]


class Encoder(Protocol):
    """A maker of tensors from raw examples."""

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


Transform: TypeAlias = Callable[[Image.Image], object]
"""A function of an RGB image that gives an image: Pillow's, an array (H, W, 3), or a tensor (3, H, W)."""


@dataclass(frozen=True)
class Augment:
    """Random changes of training images; the same seed, view and image give the same change."""

    kind: str
    """`light`, `strong`, or what tells a transform from all others."""
    seed: int
    view: int
    transform: Transform | None = field(default=None, repr=False)


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
        self.rows, self.adapter, self.augment, self._contents = rows, adapter, augment, digests
        self._draft = enough_for(_edge_of(adapter)) if decode == "draft" else None
        changes = [str(change) for change in (augment, self._draft) if change]
        # Another view is another content: activations of both are kept apart.
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
            images.append(self._shown(image, item))
            kept.append(item)
        return Batch(kept, self.adapter.encode(images) if images else {}, faults)

    def beside(self, chosen: Sequence[int], tokens: int = 0) -> Inputs:
        """Return nothing: their activations need nothing beside them."""
        del chosen, tokens
        return {}

    def _shown(self, image: Image.Image, item: int) -> Image.Image:
        """Return what the network is to see of an image."""
        if self.augment is not None and self.augment.transform is not None:
            drawn = _changed_digest(self._contents[item], [f"{self.augment.seed} {self.augment.view}"])
            return _transformed(self.augment.transform, image, int.from_bytes(drawn[:8], "little") >> 1)
        change = self.change_of(item, image.size)
        return image if change is None else change.image(image)

    def change_of(self, item: int, size: tuple[int, int]) -> Change | None:
        """Return how an image of a size (width, height) is changed; None where images stay as they are."""
        if self.augment is None:
            return None
        # From the content, seed and view alone: every epoch, process and resumed run changes an image alike.
        random = np.random.default_rng(int.from_bytes(self.digests[item][:8], "little"))
        return Change.drawn(size, random, strong=self.augment.kind == "strong")


class InFetchingOrder:
    """The images of several splits and views as one, in the order in which they lie where they are fetched from."""

    lengths: None = None

    def __init__(self, parts: Sequence[Any]) -> None:
        self._parts = parts
        places = [(part, item) for part, own in enumerate(parts) for item in range(len(own.digests))]
        self.places = sorted(places, key=lambda place: parts[place[0]].rows[place[1]].content.place)
        """Of each item the part that it is of, and its place there."""
        self.digests = [parts[part].digests[item] for part, item in self.places]

    def batch(self, chosen: Sequence[int], tokens: int = 0) -> Batch:
        """Return the inputs of these items, those of a part after those of the part before."""
        items, inputs, faults = list[int](), list[Inputs](), dict[int, str]()
        for part, parts_items in enumerate(self._parts):
            own = {self.places[item][1]: item for item in chosen if self.places[item][0] == part}
            found: Batch = parts_items.batch(list(own), tokens)
            items += [own[item] for item in found.items]
            faults |= {own[item]: reason for item, reason in found.faults.items()}
            inputs += [found.inputs] if found.items else []
        return Batch(items, {name: torch.cat([own[name] for own in inputs]) for name in _names(inputs)}, faults)

    def beside(self, chosen: Sequence[int], tokens: int = 0) -> Inputs:
        """Return nothing: activations of images need nothing beside them."""
        del chosen, tokens
        return {}


def _names(inputs: Sequence[Inputs]) -> list[str]:
    return list(inputs[0]) if inputs else []


@dataclass(frozen=True)
class Change:
    """A part of an image, mirrored or not, and of strong ones two changes of tone and shape."""

    box: tuple[int, int, int, int]
    mirrored: bool
    tone: float = 1.0
    chosen: tuple[int, ...] = ()
    bits: int = 8

    @classmethod
    def drawn(cls, size: tuple[int, int], random: np.random.Generator, *, strong: bool) -> Change:
        """Draw one: 60-100 % of the area, near its own shape."""
        area, shape = random.uniform(0.6, 1.0), np.exp(random.uniform(-0.2, 0.2))
        width = min(size[0], max(1, round(size[0] * np.sqrt(area * shape))))
        height = min(size[1], max(1, round(size[1] * np.sqrt(area / shape))))
        left, top = int(random.integers(0, size[0] - width + 1)), int(random.integers(0, size[1] - height + 1))
        box, mirrored = (left, top, left + width, top + height), bool(random.random() < 0.5)
        if not strong:
            return cls(box, mirrored)
        tone = float(random.uniform(0.6, 1.4))
        chosen = tuple(random.choice(_STRONG, 2, replace=False).tolist())
        return cls(box, mirrored, tone, chosen, int(random.integers(4, 8)) if _POSTERIZE in chosen else 8)

    def image(self, image: Image.Image) -> Image.Image:
        """Return an image so changed."""
        cut = image.crop(self.box)
        if self.mirrored:
            cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        for choice in self.chosen:
            cut = _strongly_changed(cut, choice, self)
        return cut

    def mask(self, ids: np.ndarray, fill: int) -> np.ndarray:
        """Return class ids (H, W) whose places went the same way, `fill` where the image now has nothing."""
        left, top, right, bottom = self.box
        cut = ids[top:bottom, left:right]
        cut = cut[:, ::-1] if self.mirrored else cut
        if _ROTATE not in self.chosen:
            return cut
        turned = Image.fromarray(np.ascontiguousarray(cut).astype(np.int32), "I")
        return np.asarray(turned.rotate(self._angle, Image.Resampling.NEAREST, fillcolor=fill)).astype(ids.dtype)

    @property
    def _angle(self) -> float:
        """Degrees against the clock."""
        return 40 * (self.tone - 1)


_STRONG, _ROTATE, _POSTERIZE = 7, 4, 6
"""How many strong changes there are, and the places of those by which masks go along or which draw a number."""


def _changed_digest(digest: bytes, changes: Sequence[str]) -> bytes:
    return hashlib.blake2b(digest + "".join(changes).encode(), digest_size=16).digest()


def _edge_of(adapter: Encoder) -> int:
    """Return the longer edge in pixels of what a network takes."""
    return max(adapter.encode([Image.new("RGB", (64, 64))])["pixel_values"].shape[-2:])


def _strongly_changed(image: Image.Image, choice: int, drawn: Change) -> Image.Image:
    """Return one of Pillow's changes of tone and shape in random strength, in the manner of RandAugment
    (Cubuk et al., arXiv 1909.13719)."""
    from torchvision.transforms.v2 import functional as change

    tone = drawn.tone
    choices: list[Callable[[Image.Image], Image.Image]] = [
        lambda given: change.adjust_brightness(given, tone),
        lambda given: change.adjust_contrast(given, tone),
        lambda given: change.adjust_saturation(given, tone),
        lambda given: change.adjust_sharpness(given, tone**3),
        lambda given: change.rotate(given, drawn._angle),
        lambda given: change.autocontrast(given),
        lambda given: change.posterize(given, drawn.bits),
    ]
    changed: Image.Image = choices[choice](image)
    return changed


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
    # Names too: the same numbers could be ids or a mask.
    for name in sorted(tokens):
        digest.update(np.asarray(tokens[name], dtype=np.int64).tobytes() + name.encode())
    return digest.digest()


def _transformed(transform: Transform, image: Image.Image, seed: int) -> Image.Image:
    """Return an RGB image as a transform makes it; what it draws from the generators of Python, numpy and torch follows
    from the seed.

    Raises:
        DataError: it gives no image.
    """
    return image_of(_drawn(transform, image, seed), "what transform gives")


_ONE_AT_A_TIME = threading.Lock()


def _drawn(transform: Transform, image: Image.Image, seed: int) -> object:
    # Images are read in threads, and these generators are shared by all.
    with _ONE_AT_A_TIME, torch.random.fork_rng(devices=[]):
        before, before_numpy = random.getstate(), np.random.get_state()
        try:
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.manual_seed(seed)
            return transform(image)
        finally:
            random.setstate(before)
            np.random.set_state(before_numpy)
