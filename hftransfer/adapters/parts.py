"""The parts of a model by name, as `hftransfer.json` keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version


@dataclass(frozen=True)
class Parts:
    """The parts of a model by the names of their modules, as they were found once: a saved model need not be tried out
    again when it is loaded."""

    stages: tuple[str, ...]
    head: str
    head_parts: tuple[str, ...]
    tail: tuple[str, ...]
    narrow: tuple[str, ...]
    features: tuple[int, ...]
    """The shape of what enters the head, of one example: (1, D), of tokens (1, T, D)."""
    head_gives_logits: bool
    pads: bool
    """Whether texts of several lengths go through it together, padded."""
    libraries: str
    """The versions whose code the names are of: in another a layer may read what it did not read before."""


@cache
def libraries() -> str:
    """Return the versions of the libraries whose code the models are."""
    found = []
    for name in ("torch", "transformers", "timm", "open_clip_torch"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)
