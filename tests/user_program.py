"""A program as a user writes it, over all results; mypy finds no fault in it, and no value without a type.

Run by `test_public_face.py`.
"""
# mypy: disallow-any-expr, disallow-any-explicit, warn-unreachable

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import hftransfer as ht


def trained(recipe: Path, folder: Path, photo: Path) -> list[str]:
    """Train, predict and explain; return what a person is told."""
    result = ht.run(recipe, out=folder / "run")
    headline = result.headline
    told = [repr(result), result.report.name]
    if headline is not None:
        low, high = headline.interval or (headline.score, headline.score)
        told.append(f"{headline.metric} {headline.score:.2f} ({low:.2f} to {high:.2f})")
    told += [figure.name for figure in result.figures]
    model = result.model
    if isinstance(model, ht.DualPredictor):
        return [*told, model.predict(photo, ["cat", "dog"]).label]
    one = model(photo)
    several = model.predict([photo, photo])
    told += [one.label, f"{one.scores[one.label]:.2f}", *(other.label for other in several)]
    if one.unlike is not None and one.unlike > 0.99:
        told.append("unlike all that the model knows")
    why = ht.explain(model, photo)
    told += [why.title, why.save(folder / "why.html").name]
    saved = ht.load(model.save(folder / "saved"))
    return [*told, repr(saved)]


def fitted(rows: list[tuple[str, str]], model: str) -> list[str]:
    """Fit a model of texts in memory, and use it."""
    predictor = ht.fit("text-classification", model=model, train=rows, strategy=ht.LinearProbe(), metrics=[rightness])
    first, *others = predictor([text for text, _ in rows])
    words = ht.explain(predictor, [rows[0][0]])
    return [predictor.takes, first.label, *(one.label for one in others[:1]), *(one.title for one in words)]


def fitted_on_arrays(pixels: NDArray[np.uint8], labels: NDArray[np.str_], name: str, photo: Path) -> list[str]:
    """Fit a model to images in memory, each changed anew."""
    model = ht.fit("image-classification", model=name, train=(pixels, labels), strategy="lora:2", transform=mirrored)
    return [model.takes, model(photo).label]


def mirrored(image: Image.Image) -> Image.Image:
    """Turn an image over."""
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def studied(recipe: Path, folder: Path) -> list[str]:
    """Look at the data, and compare strategies."""
    splits, audit = ht.check(recipe), ht.audit(recipe)
    sizes = [f"{name} {size}" for name, size in splits.sizes().items()]
    faults = [f"{finding.split} {finding.id}: {finding.reason}" for finding in audit.findings]
    study = ht.compare(recipe, strategies=["linear-probe", "fine-tune:1"], seeds=[0], out=folder / "study")
    best = study.arms[0]
    return [*sizes, *faults, audit.save(folder / "audit").name, best.name, f"{best.score:.2f}", study.advice]


def rightness(labels: NDArray[np.int64], predictions: NDArray[np.int64]) -> float:
    """A metric of one's own."""
    return np.count_nonzero(np.equal(labels, predictions)) / labels.size


def drafted(data: Path, folder: Path) -> str:
    """Write a first recipe."""
    return ht.init(data, out=folder / "first.yaml").name


def handed_on(folder: Path, run: Path) -> list[str]:
    """Give a finished run to others."""
    exported = ht.export(run, folder / "exported", format="onnx")
    pushed = ht.push(run, "someone/pets", dry_run=True)
    with ht.serve(run, port=0, background=True) as server:
        address = repr(server)
    return [repr(exported), repr(pushed), address, repr(ht.doctor())]


def mistaken() -> list[str]:
    """Ask for what is not there."""
    try:
        ht.check({"task": "image-classification", "model": "bundled/no", "data": "no/such/folder"})
    except ht.HftransferError as error:
        return list(error.faults)
    return []
