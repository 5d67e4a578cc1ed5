"""Mutated tables, folders and images: read, or refused in words; nothing else."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from hftransfer.base.errors import HftransferError
from hftransfer.base.progress import Progress
from hftransfer.data.images import decode_image, inspect_image
from hftransfer.data.inputs import inputs_of
from hftransfer.data.pictures import IMAGES as IMAGE_READER
from hftransfer.data.questions import QUESTIONS
from hftransfer.data.reading import Reader
from hftransfer.data.settings import DataSettings
from hftransfer.data.sources import find_rows, rows_from_python
from hftransfer.data.splits import build_splits
from hftransfer.data.targets import CLASSES, SPANS, TargetKind
from hftransfer.data.texts import TEXTS

pytestmark = pytest.mark.slow
SILENT = Progress(None)


def seeded(examples: int) -> Any:
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=5000,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def _targets(reader: Reader) -> TargetKind:
    return SPANS if reader is QUESTIONS else CLASSES


def refused_or_read(source: str, reader: Reader, **values: Any) -> None:
    """Read a source through to its splits; only errors of ours may come."""
    with suppress(HftransferError):
        chosen = DataSettings(source=source, **values)
        build_splits(find_rows(chosen, SILENT, reader), chosen, 0, SILENT, reader, _targets(reader))


NAMES = st.sampled_from(["text", "label", "image", "split", "question", "context", "answers", "id", ""])
CELLS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["a", "b", "1", "1.0", "-1", "NA", "train", "test", "../x", "x|y", "\ud800", "\0", '"', "=1", "a\nb"]
    ),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.floats(), CELLS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=6,
)
KINDS: st.SearchStrategy[Reader] = st.sampled_from([IMAGE_READER, TEXTS, QUESTIONS])


@seeded(250)
@given(st.lists(NAMES, min_size=1, max_size=5), st.lists(st.lists(CELLS, max_size=6), max_size=12), KINDS, st.data())
def test_mutated_tables_of_cells(
    columns: list[str], rows: list[list[str]], reader: Reader, data: st.DataObject
) -> None:
    sign = data.draw(st.sampled_from([",", ";", "\t"]))
    text = "\n".join(sign.join(row) for row in [columns, *rows])
    content = bytearray(text.encode("utf-8", "surrogatepass"))
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=3)):
        if place < len(content):
            content[place] = value
    with TemporaryDirectory() as folder:
        path = Path(folder) / data.draw(st.sampled_from(["t.csv", "train.tsv", "t.CSV"]))
        path.write_bytes(bytes(content))
        on_error = data.draw(st.sampled_from(["stop", "skip"]))
        refused_or_read(str(path), reader, on_error=on_error)
        refused_or_read(folder, reader, encoding=data.draw(st.sampled_from([None, "latin-1", "utf-16"])))
        with suppress(HftransferError):
            inputs_of([str(path)], reader)


@seeded(250)
@given(st.lists(st.dictionaries(NAMES, VALUES, max_size=5), max_size=12), KINDS, st.sampled_from(["t.json", "t.jsonl"]))
def test_mutated_records(records: list[dict[str, Any]], reader: Reader, name: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        lines = [json.dumps(record) for record in records]
        path.write_text("\n".join(lines) if name.endswith("l") else f"[{','.join(lines)}]", encoding="utf-8")
        refused_or_read(str(path), reader)
    for skip in ("stop", "skip"):
        chosen = DataSettings(source="memory", on_error=skip)
        with suppress(HftransferError):
            build_splits(rows_from_python(records, chosen, reader), chosen, 0, SILENT, reader, _targets(reader))


FOLDERS = st.sampled_from(["train", "test", "cat", "dog", "images", "masks", "color", "seg_train", "seg_test"])


@seeded(150)
@given(st.lists(st.lists(FOLDERS, min_size=1, max_size=4), max_size=10), KINDS, st.data())
def test_mutated_folders(places: list[list[str]], reader: Reader, data: st.DataObject) -> None:
    content = io.BytesIO()
    Image.new("RGB", (4, 4)).save(content, "PNG")
    with TemporaryDirectory() as folder:
        for parts in places:
            file = Path(folder, *parts)
            name = data.draw(st.sampled_from([".png", ".txt", "", ".csv"]))
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.with_name(file.name + name).write_bytes(
                    content.getvalue() if name == ".png" else b"text,label\na,b\n"
                )
            except OSError:  # a file is where a folder should be
                continue
        refused_or_read(folder, reader)


def _images() -> list[bytes]:
    random = np.random.default_rng(0)
    forms = []
    for mode, form in (("RGB", "PNG"), ("RGB", "JPEG"), ("P", "GIF"), ("L", "TIFF"), ("RGBA", "WEBP"), ("1", "BMP")):
        buffer = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (24, 20, 3), dtype=np.uint8)).convert(mode).save(buffer, form)
        forms.append(buffer.getvalue())
    buffer = io.BytesIO()
    Image.fromarray(random.integers(0, 4096, (24, 20)).astype(np.uint16)).save(buffer, "PNG")
    return [*forms, buffer.getvalue()]


IMAGES = _images()


@seeded(200)
@given(
    st.sampled_from(IMAGES),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8),
    st.floats(0.2, 1),
    st.sampled_from([None, 8]),
)
def test_mutated_images(content: bytes, changes: list[tuple[float, int]], kept: float, draft: int | None) -> None:
    changed = bytearray(content[: max(1, int(kept * len(content)))])
    for place, value in changes:
        changed[min(len(changed) - 1, int(place * len(changed)))] = value
    for look in (lambda b: inspect_image(b, "x", decode=True), lambda b: decode_image(b, "x", draft)):
        try:
            seen = look(bytes(changed))
        except HftransferError:
            continue
        if isinstance(seen, Image.Image):
            assert seen.mode == "RGB"
            assert min(seen.size) > 0
