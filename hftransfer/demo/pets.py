"""A small data set of cats and dogs drawn by code: seeded, varied, and made without any download.

Every picture is a pure function of (seed, split, index, kind). The scene, the coat, the pose and the finish come
from streams that do not know which animal is drawn, so only the animal itself tells a cat from a dog.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from types import ModuleType

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from hftransfer.demo.animals import POSES, Kind, choose_build, choose_coat
from hftransfer.demo.brush import SHADOW, SIDE, Brush, Labels, blend
from hftransfer.demo.scenes import paint_background, paint_clutter, paint_cover

CLASS_NAMES: tuple[Kind, Kind] = ("cat", "dog")
DRAWING_VERSION: int = 1
DEFAULT_SIZES: Mapping[str, int] = {"train": 400, "validation": 100, "test": 200}
IN_PROCESS_LIMIT = 64


# --- one picture ----------------------------------------------------------------------------------------------


def draw_pet(kind: Kind, *, seed: int = 0, split: str = "train", index: int = 0, size_px: int = 256) -> Image.Image:
    """Return the picture of one cat or dog, which depends on the arguments alone."""
    return draw_pet_with_mask(kind, seed=seed, split=split, index=index, size_px=size_px)[0]


def draw_pet_with_mask(
    kind: Kind, *, seed: int = 0, split: str = "train", index: int = 0, size_px: int = 256
) -> tuple[Image.Image, Image.Image]:
    """Return the same picture, and its mask: 0 where there is no animal, 1 for a cat, 2 for a dog."""
    name = f"drawn-pets/{DRAWING_VERSION}/{seed}/{split}/{index}"
    # Streams of their own: what is drawn from one changes nothing in the others.
    scene, looks, extras = Random(f"{name}/scene"), Random(f"{name}/coat"), Random(f"{name}/pose")
    animal = Random(f"{name}/{kind}")
    canvas = paint_background(scene)
    labels = Labels(Image.new("L", (SIDE, SIDE)))
    whole = Brush(canvas, np.diag([float(SIDE), float(SIDE), 1.0]), scene, labels=labels)
    paint_clutter(whole, scene)
    coat, build, pose = choose_coat(looks), choose_build(kind, animal), extras.choice(POSES)
    # As large as fits the picture, or a little more: parts may be cut off.
    scale = min(1 / pose.high, 1 / pose.wide) * extras.uniform(0.78, 1.02)
    x, y = 0.5 + extras.uniform(-0.3, 0.3) / pose.wide, extras.uniform(0.5, 0.58)
    place = whole.at(x, y + pose.middle * scale, scale, extras.uniform(-4, 4), mirror=extras.random() < 0.5)
    brush = Brush(canvas, place.frame, animal, build.fur == "curly", labels=labels.of(1 + CLASS_NAMES.index(kind)))
    if pose.on_ground:
        brush.glow(0.1, 0.05, pose.wide * 0.6, 0.42, SHADOW, 0.6)
    pose.draw(brush, coat, build, extras)
    paint_cover(whole, scene)
    mask = labels.canvas.resize((size_px, size_px), Image.Resampling.NEAREST)
    return finish(canvas, Random(f"{name}/finish"), size_px), mask


def finish(picture: Image.Image, random: Random, size_px: int) -> Image.Image:
    """Return the drawing at its final size under its own light, with a little blur and grain."""
    size = (size_px, size_px)
    picture = picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=1.0)
    # Nine points of light, blended in between: light falls differently on each part of the picture.
    corners = Image.new("RGB", (3, 3))
    tint = random.choice(((255, 248, 232), (240, 246, 255), (255, 255, 255), (255, 240, 222)))
    for k in range(9):
        corners.putpixel((k % 3, k // 3), blend(tint, SHADOW, random.uniform(0.0, 0.24)))
    picture = ImageChops.multiply(picture, corners.resize(size, Image.Resampling.BICUBIC))
    gain, contrast = random.uniform(0.88, 1.2), random.uniform(0.9, 1.15)
    # One table for each of the three colours.
    tone = [max(0, min(255, round(((v - 128) * contrast + 128) * gain))) for v in range(256)]
    picture = picture.point(tone * 3)
    if random.random() < 0.25:
        picture = picture.filter(ImageFilter.GaussianBlur(random.uniform(0.3, 0.8) * size_px / 256))
    sheet, strength = grain_sheet(size_px), random.uniform(0.4, 2.8)
    left, top = random.randrange(size_px), random.randrange(size_px)
    grain = sheet.crop((left, top, left + size_px, top + size_px))
    grain = grain.point([128 + round((v - 128) * strength / 32) for v in range(256)])
    # The grain's mean is 128, which is taken off again.
    return ImageChops.add(picture, Image.merge("RGB", (grain, grain, grain)), 1, -128)


@lru_cache(maxsize=2)
def grain_sheet(size_px: int) -> Image.Image:
    """Return a sheet of grain around a middle grey, twice as wide and high as the picture."""
    side = 2 * size_px
    # The mean of four evenly distributed numbers is nearly normal.
    bits = np.frombuffer(Random("grain").randbytes(4 * side * side), dtype=np.uint8).reshape(4, side, side)
    return Image.fromarray(bits.mean(axis=0).astype(np.uint8))


# --- the data set ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Order:
    """One picture to draw and where it goes; its mask too, if it has a path."""

    path: str
    split: str
    index: int
    seed: int
    mask_path: str = ""


def write_drawn_pets(
    folder: Path,
    sizes: Mapping[str, int] = DEFAULT_SIZES,
    seed: int = 0,
    on_progress: Callable[[int], None] | None = None,
    *,
    masks: bool = False,
) -> None:
    """Write the data set as folder/<split>/<cat|dog>/<NNNN>.jpg; a smaller set is the beginning of a bigger one. With
    `masks` as folder/images/<split>/<NNNN>.jpg and folder/masks/<split>/<NNNN>.png, and the classes in classes.txt.

    Even numbers are cats and odd numbers are dogs. `on_progress` gets the number of pictures finished since the
    last call.
    """
    orders = list_masked_orders(folder, sizes, seed) if masks else list_orders(folder, sizes, seed)
    done = 0
    if len(orders) > IN_PROCESS_LIMIT:
        for count in draw_over_pool(orders):
            done += count
            if on_progress is not None:
                on_progress(count)
    for order in orders[done:]:  # few pictures, or what a pool that broke has left
        draw_order(order)
        if on_progress is not None:
            on_progress(1)


def list_orders(folder: Path, sizes: Mapping[str, int], seed: int) -> list[Order]:
    """Return every picture of the set, after creating the folders that they go to."""
    orders = []
    for split, count in sizes.items():
        for name in CLASS_NAMES:
            (folder / split / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            path = folder / split / CLASS_NAMES[index % 2] / f"{index:04d}.jpg"
            orders.append(Order(str(path), split, index, seed))
    return orders


def list_masked_orders(folder: Path, sizes: Mapping[str, int], seed: int) -> list[Order]:
    """Return every picture of the set and its mask, after creating the folders that they go to."""
    orders = []
    for split, count in sizes.items():
        images, masks = (folder / name / split for name in ("images", "masks"))
        for own in (images, masks):
            own.mkdir(parents=True, exist_ok=True)
        orders += [
            Order(str(images / f"{index:04d}.jpg"), split, index, seed, str(masks / f"{index:04d}.png"))
            for index in range(count)
        ]
    (folder / "classes.txt").write_text("\n".join(("background", *CLASS_NAMES)) + "\n", encoding="utf-8")
    return orders


def draw_order(order: Order) -> int:
    """Draw and write one picture, and answer how many that makes."""
    kind = CLASS_NAMES[order.index % 2]
    picture, mask = draw_pet_with_mask(kind, seed=order.seed, split=order.split, index=order.index)
    picture.save(order.path, quality=92)
    if order.mask_path:
        mask.save(order.mask_path)
    return 1


def draw_over_pool(orders: Sequence[Order]) -> Iterator[int]:
    """Yield the pictures finished, one by one in order, by several processes; it ends early where no pool can run."""
    workers = min(os.cpu_count() or 1, 4)
    # A worker of another pool starts none of its own.
    if workers < 2 or multiprocessing.parent_process() is not None:
        return
    try:
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            with hidden_main_module():
                results = pool.map(draw_order, orders, chunksize=8)
            yield from results
    except (BrokenProcessPool, OSError, RuntimeError):
        return


@contextmanager
def hidden_main_module() -> Iterator[None]:
    """Keep processes that are started inside from running the caller's script again: they need this module alone."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
