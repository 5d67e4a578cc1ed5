"""What labelling tools export, as plain records: a text or an image, and its label.

Label Studio nests choices in annotations (labelstud.io, "Export annotations"), Prodigy marks each example as accepted,
rejected or ignored (prodi.gy, "Annotation interfaces"), Roboflow writes a column for each class; captions come in the
forms of COCO and of Karpathy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hftransfer.base.errors import DataError, counted, must_be, some

_CHOICE = ("choices", "taxonomy", "rating")
_OF_PRODIGY = frozenset({"_input_hash", "_task_hash", "_view_id", "accept"})
_COCO = {"images", "annotations"}
_KARPATHY = {"filename", "sentences"}


Plain = tuple[list[dict[str, object]], list[int], str]


def plain_records(records: Sequence[Mapping[str, object]], source: str) -> Plain | None:
    """Return the records of a tool's export as plain ones, the places in the export that they are of, and a note; None
    where they are of no such tool.

    Raises:
        DataError: the export is for another task.
    """
    if not records:
        return None
    if all(record.keys() >= _KARPATHY for record in records):
        return _karpathy(records, source)
    if len(records) == 1 and records[0].keys() >= _COCO:
        if (found := _coco_captions(records[0], source)) is not None:
            return found
        remedy = "Those are for detection and segmentation. Classes are given by folders, or by a column of a table."
        raise DataError(must_be(source, "a table with a label for each row", "boxes or masks in COCO's form", remedy))
    if all(isinstance(record.get("data"), Mapping) and _annotations(record) is not None for record in records):
        return _label_studio(records, source)
    answered = all(record.get("answer") in ("accept", "reject", "ignore") for record in records)
    if answered and any(not _OF_PRODIGY.isdisjoint(record) for record in records):
        return _prodigy(records, source)
    return None


def _coco_captions(document: Mapping[str, Any], source: str) -> Plain | None:
    """Return the images of COCO's captions (cocodataset.org, "Data format"), each with all of its own; None where
    annotations are no captions."""
    annotations = document["annotations"]
    if not isinstance(annotations, list) or not all(
        isinstance(one, Mapping) and "caption" in one for one in annotations
    ):
        return None
    captions: dict[object, list[object]] = {}
    for one in annotations:
        captions.setdefault(one.get("image_id"), []).append(one["caption"])
    images = {image.get("id"): image.get("file_name") for image in document["images"] if isinstance(image, Mapping)}
    if strangers := [str(known) for known in captions if known not in images]:
        got = f"image_id {some(strangers, 3)}"
        raise DataError(must_be(f"{source}: the captions", "of images that are listed there", got))
    plain: list[dict[str, object]] = [{"image": images[known], "caption": own} for known, own in captions.items()]
    left = len(images) - len(plain)
    beside = f"; {counted(left, 'image')} without any left out" if left else ""
    return (
        plain,
        [0] * len(plain),
        f"{source}: captions in COCO's form, {len(annotations):,} of {len(plain):,} images{beside}",
    )


def _karpathy(records: Sequence[Mapping[str, Any]], source: str) -> Plain:
    """Return the images of Karpathy's splits (Karpathy and Fei-Fei 2015, arXiv 1412.2306) with the captions of each;
    `restval` is of the training split, as usual.

    Raises:
        DataError: sentences have no text.
    """
    plain = list[dict[str, object]]()
    for number, record in enumerate(records, start=1):
        texts = [one.get("raw") if isinstance(one, Mapping) else one for one in _listed(record["sentences"])]
        if not all(isinstance(text, str) for text in texts):
            raise DataError(must_be(f"{source}:{number}: sentences", "texts, or objects with raw", repr(texts)[:60]))
        path = "/".join(str(part) for part in (record.get("filepath"), record["filename"]) if part)
        split = {"split": "train" if record["split"] == "restval" else record["split"]} if "split" in record else {}
        plain.append({"image": path, "caption": texts, **split})
    return plain, list(range(len(plain))), f"{source}: captions in the form of Karpathy's splits"


def _annotations(record: Mapping[str, Any]) -> list[Any] | None:
    found = record.get("annotations", record.get("completions"))
    return found if isinstance(found, list) else None


def _label_studio(records: Sequence[Mapping[str, Any]], source: str) -> Plain:
    plain, places = [], []
    for place, record in enumerate(records):
        given = [a for a in _annotations(record) or [] if isinstance(a, Mapping) and not a.get("was_cancelled")]
        choices = [choice for annotation in given if (choice := _choices(annotation))]
        if choices:
            together = list(dict.fromkeys(label for own in choices for label in own))
            if any(set(own) != set(together) for own in choices):
                where, got = f"{source}:{place + 1}: the choices", some(", ".join(map(repr, own)) for own in choices)
                remedy = "Keep one annotation of the task."
                raise DataError(must_be(where, "the same from all annotators", got, remedy))
            plain.append({**record["data"], "label": together[0] if len(together) == 1 else together})
            places.append(place)
    if not plain:
        remedy = "Regions, boxes and spans are for other tasks."
        raise DataError(must_be(source, "a Label Studio export with choices", "none", remedy))
    left = len(records) - len(plain)
    beside = f"; {counted(left, 'task')} without a choice left out" if left else ""
    return plain, places, f"{source}: a Label Studio export; its choices are the labels{beside}"


def _choices(annotation: Mapping[str, Any]) -> list[object]:
    found: list[object] = []
    for result in annotation.get("result") or []:
        value = result.get("value") if isinstance(result, Mapping) else None
        for kind in _CHOICE:
            chosen = value.get(kind) if isinstance(value, Mapping) else None
            if chosen is not None:
                found += [one[-1] if isinstance(one, list) and one else one for one in _listed(chosen)]
    return found


def _prodigy(records: Sequence[Mapping[str, object]], source: str) -> Plain:
    plain, places = [], []
    for place, record in enumerate(records):
        if record["answer"] == "accept":
            plain.append({**record, "label": record["accept"] if "accept" in record else record.get("label")})
            places.append(place)
    if not plain:
        raise DataError(must_be(source, "a Prodigy export with accepted examples", "none"))
    labels = {str(record["label"]) for record in plain}
    if len(labels) == 1 and any(record["answer"] == "reject" for record in records):
        got = f"one, {some(labels)}, accepted or rejected"
        remedy = "Give those that were rejected a label of their own."
        raise DataError(must_be(source, "a Prodigy export with two labels or more", got, remedy))
    left = len(records) - len(plain)
    beside = f"; rejected or ignored and left out: {counted(left, 'example')}" if left else ""
    return plain, places, f"{source}: a Prodigy export; the accepted option is the label{beside}"


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def from_one_hot(
    records: Sequence[Mapping[str, object]], columns: Sequence[str], source: str
) -> list[dict[str, object]]:
    """Return records with a column for each class (Roboflow's `_classes.csv`: `filename`, then 0 or 1) as records with
    `image` and `label`; several classes at once are a list of them.

    Raises:
        DataError: a cell is neither 0 nor 1.
    """
    image, classes = columns[0], list(columns[1:])
    plain = []
    for number, record in enumerate(records, start=2):
        cells = {name: str(record[name]).strip() for name in classes}
        strange = [name for name, cell in cells.items() if cell not in ("0", "1")]
        if strange:
            raise DataError(must_be(f"{source}:{number}: column '{strange[0]}'", "0 or 1", f"'{cells[strange[0]]}'"))
        label = [name.strip() for name, cell in cells.items() if cell == "1"]
        plain.append({"image": record[image], "label": label[0] if len(label) == 1 else label})
    if not classes:
        raise DataError(must_be(source, "a table with a column for each class", some(columns)))
    return plain
