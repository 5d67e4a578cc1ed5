"""What the models of `keras.applications` take: size, range and order of their pixels. Importing this imports no torch.

Source: `preprocess_input` of each module of keras.applications (Keras 3.15). The order of channels is turned in the
network (`bgr`), so that images are RGB everywhere outside it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from hftransfer.base.errors import ModelError, first_line, must_be

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

Mode = Literal["caffe", "tf", "torch", "none", "unit"]
"""The range of the pixels that go in: `caffe`, 0 to 255 less ImageNet's means, BGR; `tf`, −1 to 1; `torch`, 0 to 1 less
ImageNet's means, over its deviations; `none`, 0 to 255, what is to be done is done by the model's own layers; `unit`, 0
to 1."""
Resizing = Literal["keras", "pillow"]
"""How images are brought to their size, both bilinear: `keras`, from the four pixels around each place, as
`keras.ops.image.resize` does by default; `pillow`, from all pixels that a place covers (antialiased)."""

FILE = "preprocessor_config.json"
_USUAL_SIDE = 224
_MOST_SIDE = 4096
_CAFFE_MEANS = (123.68, 116.779, 103.939)  # RGB
_MEANS, _DEVIATIONS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _of(names: str, mode: Mode, side: int = _USUAL_SIDE) -> dict[str, tuple[Mode, int]]:
    return dict.fromkeys(names.split(), (mode, side))


APPLICATIONS: dict[str, tuple[Mode, int]] = {
    **_of("VGG16 VGG19 ResNet50 ResNet101 ResNet152", "caffe"),
    **_of("ResNet50V2 ResNet101V2 ResNet152V2 MobileNet MobileNetV2", "tf"),
    **_of("InceptionV3 InceptionResNetV2 Xception", "tf", 299),
    **_of("DenseNet121 DenseNet169 DenseNet201", "torch"),
    **_of("MobileNetV3Small MobileNetV3Large EfficientNetB0 EfficientNetV2B0", "none"),
    **_of("ConvNeXtTiny ConvNeXtSmall ConvNeXtBase ConvNeXtLarge ConvNeXtXLarge", "none"),
    **_of("EfficientNetB1 EfficientNetV2B1", "none", 240),
    **_of("EfficientNetB2 EfficientNetV2B2", "none", 260),
    **_of("EfficientNetB3 EfficientNetV2B3", "none", 300),
    **_of("EfficientNetB4", "none", 380),
    **_of("EfficientNetB5", "none", 456),
    **_of("EfficientNetB6", "none", 528),
    **_of("EfficientNetB7", "none", 600),
    **_of("EfficientNetV2S", "none", 384),
    **_of("EfficientNetV2M EfficientNetV2L", "none", 480),
}
"""The range of pixels and the side of images, in pixels, of each model of keras.applications that Keras has on torch
(it refuses to build NASNet there)."""

# The names that keras.applications gives its networks, the longer first.
_NAMED: tuple[tuple[str, Mode], ...] = (
    (r"resnet\d+v2|inception_resnet_v2|inception_v3|xception|nasnet", "tf"),
    (r"mobilenetv3|efficientnet|convnext", "none"),
    (r"mobilenet", "tf"),
    (r"resnet(50|101|152)\b|vgg(16|19)", "caffe"),
    (r"densenet", "torch"),
)


@dataclass(frozen=True)
class Preprocessing:
    """From RGB images to the pixels that a model takes."""

    mode: Mode
    height: int
    width: int
    resizing: Resizing = "keras"

    @property
    def bgr(self) -> bool:
        """Return whether the model wants blue first."""
        return self.mode == "caffe"

    def __call__(self, images: Sequence[Image.Image]) -> Tensor:
        """Return pixels (B, 3, H, W) in float32 of RGB images; the whole image, its sides brought to the size."""
        import torch

        pixels = torch.stack([self._resized(image) for image in images])
        means, deviations = _ranges(self.mode)
        return (pixels - torch.tensor(means)[:, None, None]) / torch.tensor(deviations)[:, None, None]

    def _resized(self, image: Image.Image) -> Tensor:
        """Return an image as numbers (3, H, W) from 0 to 255."""
        import numpy as np
        import torch
        from PIL import Image

        size = self.height, self.width
        # Pillow takes width first.
        if self.resizing == "pillow":
            image = image.resize(size[::-1], Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.asarray(image, dtype=np.float32)).permute(2, 0, 1)[None]  # (1, 3, H, W)
        if tuple(pixels.shape[2:]) != size:
            pixels = torch.nn.functional.interpolate(pixels, size, mode="bilinear", align_corners=False)
        return pixels[0]

    def settings(self) -> dict[str, object]:
        """Return what shapes the pixels, as plain values."""
        return {"library": "keras", **asdict(self)}

    def save(self, folder: Path) -> None:
        """Write `preprocessor_config.json`."""
        (folder / FILE).write_text(json.dumps(self.settings(), indent=1) + "\n", encoding="utf-8")


def _ranges(mode: Mode) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return what is taken from pixels of 0 to 255, and what the rest is divided by, for R, G and B."""
    match mode:
        case "caffe":
            return _CAFFE_MEANS, (1.0, 1.0, 1.0)
        case "tf":
            return (127.5,) * 3, (127.5,) * 3
        case "torch":
            return tuple(255 * mean for mean in _MEANS), tuple(255 * one for one in _DEVIATIONS)
        case "unit":
            return (0.0,) * 3, (255.0,) * 3
        case "none":
            return (0.0,) * 3, (1.0,) * 3


def mode_of(names: Sequence[str]) -> Mode | None:
    """Return the range of pixels that goes with a network of one of these names; None where none is known."""
    for pattern, mode in _NAMED:
        if any(re.search(pattern, name.lower()) for name in names):
            return mode
    return None


def preprocessing_for(
    folder: Path, model: str, found: Mode | None, sides: tuple[int | None, int | None]
) -> Preprocessing:
    """Return what `preprocessor_config.json` in a model's folder says, completed by what the model itself tells: the
    range `found` by its layers or its name, and the sides of its input, None where these are free.

    Raises:
        ModelError: the file is damaged, asks for something else than the model takes, or the range can't be known.
    """
    said = _settings_in(folder / FILE)
    mode, resizing = said.get("mode", found), said.get("resizing", "keras")
    modes = ", ".join(get_args(Mode))
    if mode is None:
        remedy = f'Write it into {FILE} beside the model: {{"mode": "tf"}}, say. docs/keras.md explains the modes.'
        got = "a network whose layers and name don't show it"
        raise ModelError(must_be(f"the range of pixels of model '{model}'", f"known ({modes})", got, remedy))
    faults = [
        must_be(f"{key} in {FILE} of model '{model}'", f"one of {', '.join(allowed)}", repr(value)[:80])
        for key, value, allowed in (("mode", mode, get_args(Mode)), ("resizing", resizing, get_args(Resizing)))
        if value not in allowed
    ]
    wanted = [said.get(name, side or _USUAL_SIDE) for name, side in zip(("height", "width"), sides, strict=True)]
    for name, side, own in zip(("height", "width"), wanted, sides, strict=True):
        if not isinstance(side, int) or isinstance(side, bool) or not 1 <= side <= _MOST_SIDE:
            faults.append(must_be(f"{name} of the images of model '{model}'", f"1 to {_MOST_SIDE} pixels", side))
        elif own is not None and side != own:
            faults.append(must_be(f"{name} in {FILE} of model '{model}'", f"{own}, as the model takes", side))
    if faults:
        raise ModelError(*faults)
    height, width = (cast(int, side) for side in wanted)
    return Preprocessing(cast(Mode, mode), height, width, cast(Resizing, resizing))


def _settings_in(file: Path) -> dict[str, object]:
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise ModelError(must_be(str(file), "a file with a JSON object", f"another ({first_line(error)})")) from error
    if not isinstance(found, dict):
        raise ModelError(must_be(str(file), "a file with a JSON object", "something else"))
    return found
