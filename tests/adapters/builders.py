"""Adapters of tiny models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hftransfer.adapters.base import Adapter
from hftransfer.adapters.checkpoint import Checkpoint, find_checkpoint
from hftransfer.adapters.heads import IMAGE_CLASSES
from hftransfer.adapters.loading import load_adapter


def checkpoint_in(folder: Path) -> Checkpoint:
    found = find_checkpoint(str(folder))
    assert found is not None
    return found


def adapter_of(folder: Path, class_names: Any = None) -> Adapter:
    return load_adapter(checkpoint_in(folder), class_names, head=IMAGE_CLASSES)
