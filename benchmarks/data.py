"""Data and models for all sides of a comparison: written once, split once, in forms that every library reads.

Where `../shared` has real photos, sentences and weights they are the default; else what comes with the packages.
"""

from __future__ import annotations

import csv
import itertools
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hftransfer.data.pictures import IMAGES
from hftransfer.data.texts import TEXTS

if TYPE_CHECKING:
    from hftransfer.data.reading import Reader
    from hftransfer.data.rows import Row
    from hftransfer.data.splits import Splits

_SHARED = Path(__file__).resolve().parents[1].parent / "shared"


def _default(path: str, other: str) -> str:
    found = _SHARED / path
    return str(found) if found.exists() else other


PHOTOS = _default("data/cats_dogs", "bundled/drawn-pets")
SENTENCES = _default("data/sst2", "bundled/short-reviews")
QUESTIONS = _default("data/squad", "")
EMOTIONS = _default("data/goemotions", "")
ENTITIES = _default("data/wnut17", "")
SIMILARITIES = _default("data/stsb", "")
DESCRIPTIONS = _default("data/e2e", "")
SCENES = _default("data/camvid", "")
IMAGE_MODEL = _default("models/vit_tiny_patch16_224", "bundled/efficientnet-lite0")
TEXT_MODEL = "bundled/minilm-l6"


def photos(settings: dict[str, Any]) -> dict[str, Any]:
    """`data`, an image folder with train, validation and test, and `model`, a folder.

    `rows` limits the images of each class and split (0: all are taken); `times` makes so many copies of each image,
    each with bytes of its own after its end, which decoders ignore.
    """
    splits = _splits(settings, IMAGES)
    folder = Path(settings["folder"]) / "photos"
    for name, split in splits.items():
        for number, row in enumerate(split.rows):
            target = folder / name / row.target
            target.mkdir(parents=True, exist_ok=True)
            _write_copies(row, target / f"{number:05d}{Path(row.id).suffix}", settings.get("times", 1))
    return {"data": str(folder), **model(settings)}


def copied_masks(settings: dict[str, Any]) -> str:
    """A folder with `images/` and `masks/`: `rows` limits those of each split (0: all are taken), `times` copies each
    training image, each with bytes of its own after its end."""
    rows, times = settings.get("rows", 0), settings.get("times", 1)
    if not rows and times == 1:
        return str(settings["data"])
    source, folder = Path(settings["data"]), Path(settings["folder"]) / "scenes"
    for split in ("train", "validation", "test"):
        for file in sorted((source / "images" / split).iterdir())[: rows or None]:
            mask = source / "masks" / split / f"{file.stem}.png"
            for copy in range(times if split == "train" else 1):
                for one, part in ((file, "images"), (mask, "masks")):
                    target = folder / part / split / f"{file.stem}-{copy}{one.suffix}"
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(one.read_bytes() + (f"copy {copy}".encode() if copy and one is file else b""))
    if (source / "classes.txt").is_file():
        (folder / "classes.txt").write_bytes((source / "classes.txt").read_bytes())
    return str(folder)


def _write_copies(row: Row, file: Path, times: int) -> None:
    content = row.content.read()
    for copy in range(times):
        own = content + f"copy {copy}".encode() if copy else content
        file.with_stem(f"{file.stem}-{copy}").write_bytes(own)


def sentences(settings: dict[str, Any]) -> dict[str, Any]:
    """`data`, a folder with train.csv, validation.csv and test.csv (text, label), and `model`, a folder.

    With `shots` there are so many of each class to train on, drawn by the seed, and a few to choose by.
    """
    splits = _splits(settings, TEXTS)
    folder = Path(settings["folder"]) / "sentences"
    folder.mkdir()
    for name, split in splits.items():
        rows: list[Any] = split.rows
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("text", "label"), *((row.content.text, row.target) for row in rows)])
    return {"data": str(folder), **model(settings)}


def texts(settings: dict[str, Any]) -> dict[str, Any]:
    """`data`, a CSV file of `texts` different texts: those there are, then such as are made of two of them."""
    rows: list[Any] = [row for _, split in _splits(settings, TEXTS).items() for row in split.rows]
    own = list(dict.fromkeys(row.content.text for row in rows))
    pairs = (f"{one} {other}" for one, other in itertools.product(own, own))
    file = Path(settings["folder"]) / "texts.csv"
    chosen = itertools.islice(itertools.chain(own, pairs), settings["texts"])
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("text",), *((text,) for text in chosen)])
    return {"data": str(file), **model(settings)}


def image_files(settings: dict[str, Any]) -> dict[str, Any]:
    """`data`, a folder with a folder per class and `images` different files in all: those there are, then copies."""
    splits = _splits(settings, IMAGES)
    rows = [row for _, split in splits.items() for row in split.rows]
    random.Random(settings["seed"]).shuffle(rows)
    folder = Path(settings["folder"]) / "images"
    for name in splits.class_names:
        (folder / name).mkdir(parents=True)
    for number in range(settings["images"]):
        copy, row = number // len(rows), rows[number % len(rows)]
        content = row.content.read() + (f"copy {copy}".encode() if copy else b"")
        (folder / row.target / f"{number:05d}{Path(row.id).suffix}").write_bytes(content)
    return {"data": str(folder), **model(settings)}


def model(settings: dict[str, Any]) -> dict[str, str]:
    """`model`, the folder of a native checkpoint."""
    from hftransfer.adapters.bundled import BUNDLED_MODELS, bundled_folder

    name = settings["model"]
    return {"model": str(bundled_folder(name) if name in BUNDLED_MODELS else name)}


def _splits(settings: dict[str, Any], reader: Reader) -> Splits:
    from hftransfer.base.progress import Progress
    from hftransfer.data.settings import DataSettings
    from hftransfer.data.sources import find_rows
    from hftransfer.data.splits import build_splits, few_shots

    chosen = DataSettings(source=settings["data"], limit=settings.get("rows") or None)
    silent = Progress(None)
    splits = build_splits(find_rows(chosen, silent, reader), chosen, settings["seed"], silent, reader)
    return few_shots(splits, settings["shots"], settings["seed"]) if "shots" in settings else splits
