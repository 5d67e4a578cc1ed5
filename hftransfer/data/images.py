"""Bytes to pixels: the one way in which every image, whatever its mode, becomes RGB.

The conversion equals that of `transformers.image_utils.load_image` (turn by EXIF, then Pillow's `convert("RGB")`),
so that a saved model sees the same pixels in plain transformers; only 16-bit, 32-bit and float images, which Pillow
would clip to white, are scaled to 8 bits first, by the range of values that a data set uses.
"""

from __future__ import annotations

import io
import math
import struct
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageOps

from hftransfer.base.errors import DataError, HftransferError, must_be
from hftransfer.data.depth import SIXTEEN_BITS, Depth, PixelRange
from hftransfer.data.rows import LFS_POINTER

_REMEDY = "Fix or remove the file."
# What Pillow's readers raise on damaged files.
_DAMAGE = (
    *(OSError, SyntaxError, ValueError, EOFError, RuntimeError, TypeError, LookupError, ArithmeticError),
    *(struct.error, Image.DecompressionBombError),
)
MAX_PIXELS = 178_956_970  # where Pillow itself refuses to go on: 512 MiB of RGB
_HUGE_PX = 50_000_000
"""Above so many pixels an image is decoded alone, and reduced at once: the photos of a batch would fill the memory."""
_REDUCED_PX, _REDUCED_EDGE_PX = 4_000_000, 1024
_DARK = 64  # the upper bytes of 14 bits in 16 stay below it
_MOST_BEYOND = 0.01
_ORIENTATION = 0x0112  # the EXIF tag


def common_range(depths: Iterable[Depth]) -> PixelRange | None:
    """Return the range of all deep greyscale images of a data set, None where there are none.

    Raises:
        DataError: some hold whole numbers and others fractions; or coloured ones use few of their 16 bits.
    """
    seen = list(depths)
    coloured = [depth.most for depth in seen if depth.coloured]
    if coloured and max(coloured) < _DARK:
        allowed = "images that use all 16 bits of each colour, or 8-bit images"
        got = f"values of at most {8 + int(max(coloured)).bit_length()} bits, of which Pillow keeps the upper 8"
        raise DataError(must_be("the 16-bit colour images", allowed, got, "They would be black: convert them first."))
    grey = [depth for depth in seen if not depth.coloured]
    if not grey:
        return None
    if len({depth.whole for depth in grey}) > 1:
        remedy = "Convert them first: no single range fits both."
        raise DataError(must_be("deep greyscale images", "all whole numbers, or all fractions", "both", remedy))
    # One range for all: each by its own would make a pale image as bright as a dark one.
    least, most = min(depth.least for depth in grey), max(depth.most for depth in grey)
    return PixelRange.around(least, most, whole=grey[0].whole)


def inspect_image(content: bytes, name: str, *, decode: bool = False, max_pixels: int = MAX_PIXELS) -> Depth | None:
    """Look at the header of an image, and with `decode` at its pixels; those of deep images are decoded always.
    Return how deep it is; None for images of 8 bits.

    Raises:
        DataError: the bytes are empty, are no known image format, or claim too many pixels; with `decode`, they are
            truncated or corrupt.
    """
    with _opened(content, name, max_pixels) as image:
        if is_deep(image) or _is_deep_in_colour(content):
            with _as_faults(image, name), _quiet_pillow:
                return _depth(image)
        if decode:
            image.draft("RGB", (_SMALLEST_PX, _SMALLEST_PX))  # of JPEG files all bytes are read nonetheless
            _rgb_of(image, name, None)
    return None


_SMALLEST_PX = 1


def upright_size(content: bytes, name: str) -> tuple[int, int]:
    """Return the width and height of an image, turned upright; only its header is read.

    Raises:
        DataError: the bytes are empty, are no known image format, or claim too many pixels.
    """
    with _opened(content, name) as image, _as_faults(image, name), _quiet_pillow:
        # The orientations 5 to 8 of EXIF lie on their side.
        turned = image.getexif().get(_ORIENTATION, 1) >= 5
        return (image.height, image.width) if turned else image.size


def decode_image(content: bytes, name: str, draft: int | None = None, pixels: PixelRange | None = None) -> Image.Image:
    """Return an RGB image, turned upright by its EXIF tag. A JPEG file may come as a `draft`: halved up to three times
    while it is decoded, its edges no shorter than so many pixels (the scaled inverse DCT of libjpeg). `pixels` is the
    range of deep greyscale images; where it is not known, 16 bits, or the next power of two where 14 are enough.

    Images of more than 50 million pixels come reduced by a whole number, to some 4 million.

    Raises:
        DataError: as `inspect_image`, or the image is truncated or corrupt, or lies beyond the range.
    """
    with _opened(content, name) as image:
        if draft is not None:
            image.draft("RGB", (draft, draft))
        return _rgb_of(image, name, pixels)


def _rgb_of(image: Image.Image, name: str, pixels: PixelRange | None) -> Image.Image:
    if image.width * image.height <= _HUGE_PX:
        return image_to_rgb(image, name, pixels)
    # One at a time: threads that decode huge images together would fill the memory.
    with _one_huge_at_a_time, _as_faults(image, name), _quiet_pillow:
        return _reduced(image, pixels)


_one_huge_at_a_time = threading.Lock()


def _reduced(image: Image.Image, pixels: PixelRange | None) -> Image.Image:
    """Return the RGB form of a huge image, its area averaged strip by strip: only what Pillow decodes is there as a
    whole."""
    by_area = math.ceil(math.sqrt(image.width * image.height / _REDUCED_PX))
    factor = max(1, min(by_area, min(image.size) // _REDUCED_EDGE_PX))
    # Read before the strips are cut, which carry no EXIF.
    orientation = image.getexif().get(_ORIENTATION, 1)
    before = image.width
    image.draft("RGB", (image.width // factor, image.height // factor))
    factor = max(1, round(factor * image.width / before))
    image.load()
    if is_deep(image):
        pixels = pixels or _usual_range(np.asarray(image), image.mode)
    small = Image.new("RGB", (math.ceil(image.width / factor), math.ceil(image.height / factor)))
    height = factor * max(1, 256 // factor)
    for top in range(0, image.height, height):
        strip = image.crop((0, top, image.width, min(top + height, image.height)))
        small.paste(_converted(strip, pixels).reduce(factor), (0, top // factor))
    small.getexif()[_ORIENTATION] = orientation
    return ImageOps.exif_transpose(small)


def enough_for(edge: int) -> int:
    """Return how long a draft's edges must be that is then scaled to this edge: twice as long, as in Pillow's
    thumbnails, so that the scaling hides the difference."""
    return 2 * edge


def image_to_rgb(image: Image.Image, name: str, pixels: PixelRange | None = None) -> Image.Image:
    """Return the RGB form of an opened image, its pixels decoded.

    Raises:
        DataError: they can't be, or lie beyond the range.
    """
    with _as_faults(image, name), _quiet_pillow:
        return to_rgb(image, pixels)


@contextmanager
def _as_faults(image: Image.Image, name: str) -> Iterator[None]:
    """Raise what Pillow says of damaged pixels as a fault of the file, and a lack of memory as none of it."""
    try:
        yield
    except _DAMAGE as error:
        reason = f"one that can't be decoded ({error})"
        raise DataError(must_be(name, "a complete image", reason, _REMEDY)) from error
    except _Beyond as error:
        allowed = f"an image with values {error.pixels.in_words}, like the training images"
        raise DataError(
            must_be(name, allowed, f"values up to {error.most:,.0f}", "Scale them the same way.")
        ) from error
    except MemoryError as error:
        size = f"{image.width:,} × {image.height:,} pixels"
        remedy = "The file may be sound: scale it down, or leave it out."
        raise HftransferError(must_be(name, "an image that fits into memory", size, remedy)) from error


class _Beyond(Exception):
    """Values that are not those of a range."""

    def __init__(self, pixels: PixelRange, most: float) -> None:
        super().__init__()
        self.pixels, self.most = pixels, most


def to_rgb(image: Image.Image, pixels: PixelRange | None = None) -> Image.Image:
    """Return the RGB form of any Pillow image; values of more than 8 bits are scaled from their range to 0 to 255."""
    return _converted(ImageOps.exif_transpose(image), pixels)


def _converted(image: Image.Image, pixels: PixelRange | None) -> Image.Image:
    if image.mode == "RGB":
        image.load()
        return image
    if is_deep(image):
        image = Image.fromarray(_eight_bits(np.asarray(image), image.mode, pixels))
    return image.convert("RGB")


def is_deep(image: Image.Image) -> bool:
    """Return whether an image holds one band of more than 8 bits."""
    return image.mode.startswith("I") or image.mode == "F"


def _is_deep_in_colour(content: bytes) -> bool:
    """Return whether the bytes are a PNG file of 16 bits for each colour (Pillow keeps the upper byte of each)."""
    return content[:8] == b"\x89PNG\r\n\x1a\n" and content[24:25] == b"\x10" and content[25:26] in (b"\2", b"\4", b"\6")


def _depth(image: Image.Image) -> Depth:
    if not is_deep(image):
        bands = image.convert("RGB").getextrema()
        return Depth(0.0, float(max(most for _, most in bands)), coloured=True)  # type: ignore[misc]
    values = np.asarray(image)
    finite = values[np.isfinite(values)] if image.mode == "F" else values
    if not finite.size:
        return Depth(0.0, 0.0, whole=image.mode != "F")
    return Depth(float(finite.min()), float(finite.max()), whole=image.mode != "F")


def _usual_range(values: np.ndarray, mode: str) -> PixelRange:
    """Return the range of one image alone, of whose data set nothing is known."""
    finite = values[np.isfinite(values)] if mode == "F" else values
    least, most = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if mode != "F" and least >= 0 and 2**14 <= most < 2**16:
        return SIXTEEN_BITS
    return PixelRange.around(least, most, whole=mode != "F")


def _eight_bits(values: np.ndarray, mode: str, pixels: PixelRange | None) -> np.ndarray:
    low, high = pixels or _usual_range(values, mode)
    # NaN would become any number at all when it is made a whole one.
    numbers = np.nan_to_num(values.astype(np.float64))
    if pixels is not None and float(np.mean((numbers > high) | (numbers < low))) > _MOST_BEYOND:
        raise _Beyond(pixels, float(numbers.max() if numbers.max() > high else numbers.min()))
    scaled = (np.clip(numbers, low, high) - low) / ((high - low) / 255.0)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


class _QuietPillow:
    """Pillow without its warnings of odd EXIF tags, palettes and sizes: the pixels are fine or an error is raised.

    Filters of warnings belong to the whole process, so that threads share one change of them: the first to enter makes
    it, the last to leave takes it back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._caught = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.filterwarnings("ignore", module="PIL")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._caught.__exit__(None, None, None)


_quiet_pillow = _QuietPillow()


@contextmanager
def _opened(content: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    if not content:
        raise DataError(must_be(name, "an image", "an empty file", _REMEDY))
    if _is_heif(content):
        _read_heif(name)
    try:
        with _quiet_pillow:
            image = Image.open(io.BytesIO(content))
    except Image.DecompressionBombError as error:
        raise _too_large(name, MAX_PIXELS) from error
    except _DAMAGE as error:
        got, remedy = _looks_like(content)
        raise DataError(must_be(name, "an image that Pillow reads", got, remedy)) from error
    with image:
        most = min(max_pixels, MAX_PIXELS)
        if image.width * image.height > most:
            raise _too_large(name, most)
        yield image


_FOREIGN = (
    (LFS_POINTER, "a Git LFS pointer, not the file", "Fetch the files: git lfs pull."),
    (b"%PDF", "a PDF document", _REMEDY),
    (b"PK\x03\x04", "a ZIP archive", "Unpack it first."),
    (b"\x1f\x8b", "a gzip archive", "Unpack it first."),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL image, which Pillow does not read", "Convert it to PNG or JPEG."),
    (b"\xff\x0a", "a JPEG XL image, which Pillow does not read", "Convert it to PNG or JPEG."),
    (b"<svg", "an SVG drawing", "Render it to PNG first."),
    (b"<!doctype html", "a web page (perhaps a failed download)", _REMEDY),
    (b"<html", "a web page (perhaps a failed download)", _REMEDY),
    (b"\x93NUMPY", "a NumPy array", "Save it as PNG or TIFF."),
)
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


def _looks_like(content: bytes) -> tuple[str, str]:
    """Return what bytes are that are no image, and the remedy."""
    start = content[:256].lstrip()
    if content[128:132] == b"DICM":
        return "a DICOM file", "Export it as PNG or TIFF first (16 bits are read)."
    if content[4:8] == b"ftyp":
        return "a video", _REMEDY
    for sign, got, remedy in _FOREIGN:
        if content.startswith(sign) or start.lower().startswith(sign.lower()):
            return got, remedy
    if start.startswith(b"<?xml") and b"<svg" in content[:2048]:
        return "an SVG drawing", "Render it to PNG first."
    return "something else", _REMEDY


def _is_heif(content: bytes) -> bool:
    return content[4:8] == b"ftyp" and content[8:12] in _HEIF_BRANDS


def _read_heif(name: str) -> None:
    """Teach Pillow to read HEIC photos, if the package for it is installed.

    Raises:
        DataError: it is not.
    """
    if "HEIF" in Image.OPEN:
        return
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        remedy = "Install pillow-heif, which reads it (pip install pillow-heif), or convert it to JPEG."
        raise DataError(must_be(name, "an image that Pillow reads", "a HEIC photo", remedy)) from None
    register_heif_opener()


def _too_large(name: str, most: int) -> DataError:
    remedy = "Scale it down first."
    return DataError(must_be(name, f"an image of at most {most:,} pixels", "more (not decoded)", remedy))
