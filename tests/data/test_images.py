"""Bytes to pixels: every mode, every shape, every kind of damage."""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from transformers.image_utils import load_image

from hftransfer.base.errors import DataError
from hftransfer.data.images import MAX_PIXELS, decode_image, inspect_image, upright_size
from hftransfer.data.inspection import as_content
from hftransfer.data.pictures import Images
from hftransfer.predictors.inputs import is_one
from tests.builders import bomb, encoded, picture


def gradient(mode: str) -> Image.Image:
    """A 24 × 16 image of a mode, from a colourful gradient."""
    y, x = np.mgrid[0:16, 0:24]
    color = Image.fromarray(np.stack([x * 10, y * 15, (x + y) * 6], axis=-1).astype(np.uint8))
    if mode == "RGBA":
        color.putalpha(Image.fromarray((x * 10).astype(np.uint8)))
        return color
    if mode == "LA":
        gray = color.convert("L")
        gray.putalpha(Image.fromarray((x * 10).astype(np.uint8)))
        return gray
    if mode == "LAB":
        profile = ImageCms.createProfile
        return ImageCms.profileToProfile(color, profile("sRGB"), profile("LAB"), outputMode="LAB") or color
    return color.convert(mode)


ORDINARY = [
    ("RGB", "PNG"),
    ("RGB", "JPEG"),
    ("RGB", "BMP"),
    ("RGB", "WEBP"),
    ("RGB", "TIFF"),
    ("RGB", "PPM"),
    ("L", "PNG"),
    ("L", "JPEG"),
    ("LA", "PNG"),
    ("RGBA", "PNG"),
    ("RGBA", "WEBP"),
    ("P", "PNG"),
    ("P", "GIF"),
    ("CMYK", "JPEG"),
    ("CMYK", "TIFF"),
    ("1", "PNG"),
    ("1", "TIFF"),
    ("YCbCr", "JPEG"),
    ("YCbCr", "TIFF"),
    ("LAB", "TIFF"),
]


@pytest.mark.parametrize(("mode", "form"), ORDINARY)
def test_ordinary_images_become_the_pixels_that_transformers_sees(mode, form):
    content = encoded(gradient(mode), form)
    ours = decode_image(content, "image")
    theirs = load_image(Image.open(io.BytesIO(content)))
    assert ours.mode == "RGB"
    assert ours.size == (24, 16)
    assert np.array_equal(np.asarray(ours), np.asarray(theirs))


def photo(width: int, height: int) -> Image.Image:
    """Soft shapes of all colours, with some grain."""
    random = np.random.default_rng(0)
    shapes = Image.fromarray(random.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize((width, height))
    grain = random.normal(0, 6, (height, width, 1))
    return Image.fromarray(np.clip(np.asarray(shapes) + grain, 0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((1600, 1200), (800, 600)), ((1200, 1600), (600, 800)), ((3600, 2700), (900, 675)), ((895, 4000), (895, 4000))],
)
def test_a_draft_is_halved_while_its_edges_are_long_enough(size, wanted):
    content = encoded(photo(*size), "JPEG", quality=90)
    draft, exact = decode_image(content, "photo", draft=448), decode_image(content, "photo")
    assert (draft.size, exact.size) == (wanted, size)
    assert draft.mode == "RGB"
    small = [np.asarray(image.resize((224, 224), Image.Resampling.BICUBIC), dtype=float) for image in (draft, exact)]
    assert np.abs(small[0] - small[1]).max() <= 6
    assert np.abs(small[0] - small[1]).mean() < 0.6


def test_a_draft_is_turned_upright_too():
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(photo(1600, 1200), "JPEG", exif=exif)
    assert decode_image(content, "photo", draft=448).size == (600, 800)


@pytest.mark.parametrize(("mode", "form"), [("RGB", "PNG"), ("RGB", "WEBP"), ("CMYK", "JPEG"), ("L", "JPEG")])
def test_what_is_small_or_no_jpeg_file_is_no_other_as_a_draft(mode, form):
    content = encoded(gradient(mode), form)
    draft, exact = decode_image(content, "x", draft=16), decode_image(content, "x")
    assert np.array_equal(np.asarray(draft), np.asarray(exact))


def test_a_draft_of_half_a_file_is_told():
    content = encoded(photo(1600, 1200), "JPEG")
    with pytest.raises(DataError, match="must be a complete image"):
        decode_image(content[: len(content) // 2], "photo", draft=448)


def damaged(content: bytes, random: np.random.Generator) -> bytes:
    """The bytes of a file cut off, with a hole, or with some of them changed."""
    start = int(random.integers(10, len(content)))
    match random.integers(3):
        case 0:
            return content[:start]
        case 1:
            return content[:start] + content[start + int(random.integers(1, 2000)) :]
    changed = bytearray(content)
    for place in random.integers(0, len(content), int(random.integers(1, 20))):
        changed[place] = random.integers(256)
    return bytes(changed)


@pytest.mark.parametrize("progressive", [False, True])
def test_the_smallest_draft_shows_the_same_faults(progressive):
    random = np.random.default_rng(0)
    content = encoded(photo(200, 150), "JPEG", progressive=progressive)

    def fault(content: bytes, draft: int | None) -> str | None:
        try:
            decode_image(content, "photo", draft)
        except DataError as error:
            return str(error)
        return None

    files = [damaged(content, random) for _ in range(100)]
    found = [fault(file, 1) for file in files]
    assert found == [fault(file, None) for file in files]
    assert 20 < sum(told is not None for told in found) < 80


def test_a_palette_with_transparency_keeps_its_colors():
    image = gradient("P")
    content = encoded(image, "PNG", transparency=bytes(range(256)))
    assert np.array_equal(np.asarray(decode_image(content, "x")), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_sixteen_bits_are_scaled_to_eight(dtype):
    values = np.linspace(0, 65535, 24 * 16).reshape(16, 24)
    content = encoded(Image.fromarray(values.astype(dtype)), "TIFF")
    decoded = np.asarray(decode_image(content, "x"))
    wanted = np.array([[round(int(v) / 257) for v in row] for row in values])
    for channel in range(3):
        assert np.array_equal(decoded[:, :, channel], wanted)


def test_a_sixteen_bit_png_is_not_clipped_to_white():
    content = encoded(Image.fromarray(np.full((4, 4), 30_000, dtype=np.uint16)), "PNG")
    assert np.unique(np.asarray(decode_image(content, "x"))).tolist() == [117]


@pytest.mark.parametrize(("top", "wanted"), [(1.0, 255), (255.0, 255), (0.0, 0)])
def test_floats_up_to_one_are_shares_of_white_and_others_are_levels(top, wanted):
    values = np.full((4, 4), top, dtype=np.float32)
    values[0, 0] = 0.0
    decoded = np.asarray(decode_image(encoded(Image.fromarray(values), "TIFF"), "x"))
    assert decoded[3, 3].tolist() == [wanted] * 3
    assert decoded[0, 0].tolist() == [0, 0, 0]


def test_floats_that_are_no_numbers_become_black_or_white():
    values = np.array([[np.nan, np.inf], [-np.inf, 0.0]], dtype=np.float32)
    decoded = np.asarray(decode_image(encoded(Image.fromarray(values), "TIFF"), "x"))
    assert decoded[:, :, 0].tolist() == [[0, 255], [0, 0]]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_images_are_turned_upright_by_their_exif_tag(orientation, form):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(gradient("RGB"), form, exif=exif)
    ours = decode_image(content, "x")
    assert ours.size == ((24, 16) if orientation < 5 else (16, 24)) == upright_size(content, "x")
    assert np.array_equal(np.asarray(ours), np.asarray(load_image(Image.open(io.BytesIO(content)))))


def test_an_odd_exif_block_does_no_harm():
    content = encoded(gradient("RGB"), "JPEG", exif=b"Exif\0\0garbage that is no TIFF header")
    assert decode_image(content, "x").size == (24, 16) == upright_size(content, "x")


def test_the_first_frame_stands_for_an_animation():
    frames = [picture("red"), picture("blue")]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    red, _, blue = np.asarray(decode_image(content, "x")).mean(axis=(0, 1))
    assert red > blue


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (2, 3)])
def test_tiny_and_extremely_long_images_are_decoded(size):
    assert decode_image(encoded(picture(size=size)), "x").size == size


@pytest.mark.parametrize("family", ["resnet", "timm", "vit", "convnext"])
@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 2), (40, 5000)])
def test_tiny_and_extremely_long_images_give_finite_features(family, size, tiny):
    from hftransfer.adapters.checkpoint import find_checkpoint
    from hftransfer.adapters.heads import IMAGE_CLASSES
    from hftransfer.adapters.loading import load_adapter

    checkpoint = find_checkpoint(str(tiny(family)))
    assert checkpoint is not None
    adapter = load_adapter(checkpoint, head=IMAGE_CLASSES)
    inputs = adapter.encode([decode_image(encoded(picture(size=size)), "x")])
    assert adapter.features(inputs).isfinite().all()


def most_memory_bytes(work: Callable[[], Any]) -> int:
    """How much more memory than before the process holds at most while it works."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    except OSError:
        pytest.skip("the peak of memory can't be measured here")

    def held(name: str) -> int:
        (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
        return int(line.split()[1]) * 1024

    before = held("VmRSS:")
    work()
    return held("VmHWM:") - before


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("family", ["resnet", "timm", "convnext"])
@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1)])
def test_extremely_long_images_take_little_memory(family, size, tiny):
    """Scaling the short edge of 1 × 60,000 pixels up to 36 first would ask for 36 × 2,160,000 pixels: 233 MB a copy."""
    from hftransfer.adapters.checkpoint import find_checkpoint
    from hftransfer.adapters.heads import IMAGE_CLASSES
    from hftransfer.adapters.loading import load_adapter

    checkpoint = find_checkpoint(str(tiny(family)))
    assert checkpoint is not None
    adapter = load_adapter(checkpoint, head=IMAGE_CLASSES)
    adapter.encode([picture()])
    long = Image.new("RGB", size, "red")
    assert most_memory_bytes(lambda: adapter.encode([long])) < 100e6


# --- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "photo.jpg must be an image; got an empty file"),
        (b"this is a text", "photo.jpg must be an image that Pillow reads; got something else"),
        (b"\x89PNG\r\n\x1a\n", "photo.jpg must be an image that Pillow reads"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 100, "photo.jpg must be an image that Pillow reads"),
    ],
)
def test_what_is_no_image_is_told_by_its_name(content, words):
    for look in (inspect_image, decode_image):
        with pytest.raises(DataError, match=words) as error:
            look(content, "photo.jpg")
        assert "data." not in str(error.value)  # there may be no recipe


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "TIFF", "GIF", "WEBP"])
def test_a_truncated_image_is_told_by_its_name(form):
    content = encoded(picture(size=(200, 150)), form)
    with pytest.raises(DataError, match=r"photo\.jpg must be .*image"):
        decode_image(content[: len(content) // 2], "photo.jpg")


def test_the_header_of_a_truncated_image_is_sound():
    content = encoded(picture(size=(200, 150)), "JPEG")
    inspect_image(content[: len(content) // 2], "photo.jpg")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "TIFF", "GIF", "WEBP", "PPM", "AVIF", "ICO", "TGA"])
def test_no_damage_escapes_as_another_error(form):
    """Bytes flipped, cut and doubled at random: an image, or a DataError; nothing else."""
    generator = np.random.default_rng(0)
    whole = np.frombuffer(encoded(picture(size=(20, 16)), form), dtype=np.uint8)
    for trial in range(150):
        damaged = whole.copy()
        for _ in range(generator.integers(1, 8)):
            damaged[generator.integers(0, min(len(damaged), 400 if trial % 2 else 40))] = generator.integers(0, 256)
        content = damaged.tobytes()
        if trial % 3 == 0:
            content = content[: generator.integers(1, len(content))]
        with contextlib.suppress(DataError):
            assert decode_image(content, "x").mode == "RGB"


def test_a_decompression_bomb_is_refused_by_its_header(monkeypatch):
    def never(*_):
        raise AssertionError("the pixels were decoded")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", never)
    for look in (inspect_image, decode_image):
        with pytest.raises(DataError, match=f"at most {MAX_PIXELS:,} pixels; got more \\(not decoded\\)"):
            look(bomb(), "bomb.png")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_decompression_bomb_takes_no_memory():
    def refused() -> None:
        with pytest.raises(DataError):
            decode_image(bomb(), "bomb.png")

    assert most_memory_bytes(refused) < 20e6


# --- images from Python ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "1", "LA", "YCbCr"])
def test_an_image_from_python_is_the_image_itself(mode):
    image = gradient(mode)
    decoded = decode_image(as_content(image, "x").read(), "x")
    assert np.array_equal(np.asarray(decoded), np.asarray(image.convert("RGB")))


def test_a_transparent_palette_from_python_warns_of_nothing():
    content = encoded(gradient("P"), "PNG", transparency=bytes(range(256)))
    decoded = decode_image(as_content(Image.open(io.BytesIO(content)), "x").read(), "x")
    assert decoded.size == (24, 16)


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3), (6, 5, 4), (6, 5, 1)])
def test_an_array_from_python_is_an_image(shape):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    decoded = np.asarray(decode_image(as_content(array, "x").read(), "x"))
    wanted = array[:, :, :3] if array.ndim == 3 else array[:, :, None]
    assert np.array_equal(decoded, np.broadcast_to(wanted, (6, 5, 3)))


@pytest.mark.parametrize(
    "value",
    [
        3,
        None,
        np.zeros((4, 4, 3), np.int64),
        np.zeros(4, np.uint8),
        np.zeros((5, 5, 7), np.uint8),
        np.zeros((7, 5, 5), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        object(),
    ],
    ids=lambda value: str(getattr(value, "shape", type(value).__name__)),
)
def test_what_is_no_image_from_python_is_told(value):
    with pytest.raises(DataError, match=r"row\[3\] must be a path, bytes, an open file, a PIL image or a uint8 array"):
        as_content(value, "row[3]")


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3), (6, 5, 4), (6, 5, 1)])
def test_fractions_and_tensors_from_python_are_the_image_of_their_pixels(shape):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    wanted = decode_image(as_content(array, "x").read(), "x")
    tensor = torch.from_numpy(array.transpose(2, 0, 1).copy() if array.ndim == 3 else array)
    channels_first = array.transpose(2, 0, 1) if array.ndim == 3 else array
    for other in (array / 255, (array / 255).astype(np.float32), tensor, tensor / 255, channels_first):
        assert np.array_equal(np.asarray(decode_image(as_content(other, "x").read(), "x")), np.asarray(wanted))


def test_truth_values_are_black_and_white() -> None:
    array = np.eye(6, dtype=bool)
    decoded = np.asarray(decode_image(as_content(array, "x").read(), "x"))
    assert np.array_equal(decoded, np.repeat(np.where(array, 255, 0)[:, :, None], 3, axis=2))


def test_open_files_are_images(tmp_path: Path) -> None:
    wanted = encoded(picture())
    path = tmp_path / "a.png"
    path.write_bytes(wanted)
    with path.open("rb") as file:
        assert as_content(file, "x").read() == as_content(io.BytesIO(wanted), "x").read() == wanted
        with pytest.raises(DataError, match=r"x must be a file with an image; got one at its end\. file\.seek\(0\)"):
            as_content(file, "x")
    with pytest.raises(DataError, match="x must be an open file that can be read; got read of closed file"):
        as_content(file, "x")
    with path.open(encoding="latin-1") as text, pytest.raises(DataError, match="mode 'rb'"):
        as_content(text, "x")
    with tempfile.NamedTemporaryFile() as kept:  # which wraps a file
        kept.write(wanted)
        kept.seek(0)
        assert is_one(kept, Images())
        assert as_content(kept, "x").read() == wanted
    assert is_one(memoryview(wanted), Images())
    assert is_one(io.BytesIO(wanted), Images())


@pytest.mark.parametrize("value", [np.full((4, 4, 3), 2.5), np.full((4, 4), -0.1), np.full((4, 4, 3), np.nan)])
def test_normalised_pixels_are_refused(value):
    with pytest.raises(DataError, match=r"row\[3\] must be fractions from 0 to 1; got .*without Normalize"):
        as_content(value, "row[3]")


def test_a_truncated_image_opened_lazily_is_told():
    content = encoded(picture(size=(200, 150)), "JPEG")
    with pytest.raises(DataError, match=r"row\[0\] must be"):
        as_content(Image.open(io.BytesIO(content[:2000])), "row[0]")
