"""The inputs of a folder that are nearest to an image, or to words: by the cosine of what a model sees in them."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from typing_extensions import override

from hftransfer.base.errors import DataError, RecipeError, must_be
from hftransfer.base.progress import Progress
from hftransfer.data.inputs import inputs_at
from hftransfer.data.pictures import IMAGE_SUFFIXES
from hftransfer.data.reading import NamedInput
from hftransfer.predictors.dual import DualPredictor
from hftransfer.predictors.embedding import load_embedder
from hftransfer.predictors.inputs import OneInput, as_list, is_one
from hftransfer.predictors.looking import look_at, named_inputs, tell_unread, weights_of
from hftransfer.predictors.predictor import Predictor, all_or_faults, find_place
from hftransfer.predictors.ranked import Ranked, RankedInput
from hftransfer.training.embeddings import unit

DEFAULT_MODEL = "bundled/dual-encoder"


@dataclass(frozen=True)
class Match(RankedInput):
    """An input that was found, and its cosine with what was asked for."""

    similarity: float

    @property
    @override
    def caption(self) -> str:
        return f"{super().caption}: {self.similarity:.3f}"


def search(
    query: OneInput,
    inputs: object,
    *,
    model: str | os.PathLike[str] | Predictor | DualPredictor = DEFAULT_MODEL,
    count: int = 12,
    column: str | None = None,
    precision: Literal["auto", "fp32", "bf16"] = "fp32",
    progress: Progress | None = None,
) -> Ranked[Match]:
    """Return the inputs that are most like the query, the nearest first; those that can't be read are passed
    over, and told in `faults`.

    `inputs` is a folder, a table (with `column`), a pattern, or a list of images or texts. The query is an image, or
    words where the model is a dual encoder, as `bundled/dual-encoder` is; of a model of texts a text. What a model
    named by its place sees in the inputs is kept in the cache, so that the next search is quick. It shows itself in a
    notebook, and `.save(folder, "search")` writes a table and a sheet.

    >>> ht.search("two dogs", "photos")[0].input

    Raises:
        RecipeError: the count is none, or the query is none for this model.
        DataError: the query, or all of the inputs, can't be read.
        ModelError: there is no such model.
    """
    if count < 1:
        raise RecipeError(must_be("the count", "1 or more", count))
    tells, progress = progress is None, progress or Progress()
    embedder: Predictor | DualPredictor
    if isinstance(model, Predictor | DualPredictor):
        embedder, sha = model, ""
    else:
        embedder, sha = load_embedder(model, precision), weights_of(find_place(model))
    wanted = _embedded(embedder, query)
    looked = look_at(embedder, _given(embedder, inputs, column), sha, progress)
    if tells:
        tell_unread(looked.faults, progress)
    if not looked.names:
        raise DataError(*looked.faults, must_be("the inputs to search", "at least one readable input", "none"))
    likeness = unit(looked.features.astype(np.float32)) @ wanted  # (N,)
    order = np.argsort(-likeness, kind="stable")[:count]
    found = [Match(looked.names[at], float(likeness[at])) for at in order]
    named = query if isinstance(query, str) else query.name if isinstance(query, Path) else "the query"
    title = f"{len(found)} of {len(looked.names):,} inputs nearest to {named}"
    return Ranked(
        found, [looked.values[at] for at in order], title, of_texts=bool(embedder.reader.fields), faults=looked.faults
    )


def _given(embedder: Predictor | DualPredictor, inputs: object, column: str | None) -> list[NamedInput]:
    """Return inputs by name: a path, or a pattern, as on the command line."""
    if isinstance(inputs, str | os.PathLike):
        return inputs_at(os.fspath(inputs), embedder.reader, replace(embedder.columns, first=column))
    return named_inputs(as_list(inputs, embedder.reader))


def _embedded(embedder: Predictor | DualPredictor, query: OneInput) -> np.ndarray:
    """Return the embedding (D,) of a query, of length 1.

    Raises:
        RecipeError: it is several, or words where the model sees images alone.
        DataError: it can't be read.
    """
    if not is_one(query, embedder.reader):
        raise RecipeError(must_be("the query", "one image or text", "several"))
    if not embedder.reader.fields and isinstance(query, str) and not _is_file(query):
        if not isinstance(embedder, DualPredictor):
            remedy = f"Dual encoders can also search by words: leave the model out, or use {DEFAULT_MODEL}."
            raise RecipeError(must_be("the query of this model", "an image file", f"'{query}'", remedy))
        if not query.strip():
            raise RecipeError(must_be("the query", "an image file, or words", "none"))
        found: np.ndarray = embedder.embed_texts(query)[0].astype(np.float32)
        return found
    (row,) = all_or_faults(embedder.embed_each(as_list(query, embedder.reader)))
    return unit(np.asarray(row, dtype=np.float32))


def _is_file(query: str) -> bool:
    """Return whether a query is the name of an image, there or not, and no words."""
    named = Path(query[-9:]).suffix.lower() in IMAGE_SUFFIXES
    return named or os.path.isfile(query)  # noqa: PTH113 - false, too, of what can be no path
