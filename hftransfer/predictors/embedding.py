"""Embeddings: one vector of numbers for each input, as what is pretrained or trained sees it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from typing_extensions import override

from hftransfer.adapters.after_pooling import after_pooling, gone_through
from hftransfer.adapters.checkpoint import find_checkpoint, sidecar
from hftransfer.adapters.families import require_modality
from hftransfer.adapters.loading import load_adapter
from hftransfer.base.cache import new_file
from hftransfer.base.errors import DataError, ModelError, OutputError, RecipeError, must_be, user_path
from hftransfer.base.progress import Progress
from hftransfer.data.inputs import InputRequest
from hftransfer.predictors.dual import DualPredictor
from hftransfer.predictors.inputs import as_list, is_one, require_no_images
from hftransfer.predictors.load import load
from hftransfer.predictors.predictor import Place, Predictor, all_or_faults, find_place
from hftransfer.tasks import head_task
from hftransfer.tasks.facts import ModelFacts

if TYPE_CHECKING:
    from torch import nn


_HEADLESS = ("image-classification", "text-classification")
"""Tasks whose head a backbone is given for the sake of what enters it."""
_OUTPUTS = ("0", "1")


def embed(
    model: str | os.PathLike[str] | Predictor | DualPredictor,
    inputs: object,
    *,
    precision: Literal["auto", "fp32", "bf16"] = "fp32",
) -> np.ndarray:
    """Return the embedding of one image or text (D,), or those of several (N, D), in float32.

    `model` is a trained one, a dual encoder, which embeds images, or a backbone without a head; inputs are those of
    `predict`. The embedding is what enters the head; of a folder of sentence-transformers, what that library gives.

    >>> ht.embed("bundled/minilm-l6", ["a good film", "a bore"]).shape
    (2, 384)

    Raises:
        ModelError: there is no such model, or more than one vector an input enters its head.
        DataError: inputs can't be read; all of them are named.
    """
    embedder = model if isinstance(model, Predictor | DualPredictor) else load_embedder(model, precision)
    if isinstance(embedder, Predictor):
        embedder.require_one_row()
    given = as_list(inputs, embedder.reader)
    if embedder.reader.fields:
        require_no_images(given)
    found = [np.asarray(one, dtype=np.float32) for one in all_or_faults(embedder.embed_each(given))]
    if is_one(inputs, embedder.reader):
        return found[0]
    return np.stack(found) if found else np.empty((0, 0), dtype=np.float32)


def load_embedder(
    model: str | os.PathLike[str], precision: Literal["auto", "fp32", "bf16"] = "fp32"
) -> Predictor | DualPredictor:
    """Return what embeds inputs: a trained model, a dual encoder, or a backbone without a head.

    Raises:
        ModelError: there is no such model, or its weights are not whole.
    """
    place = find_place(model)
    try:
        return load(model, precision=precision)
    except ModelError:
        if sidecar(place.folder) or (place.folder / "adapter_config.json").is_file():
            raise  # what hftransfer or peft wrote has a head, or is damaged
    return _headless(place, precision)


def _headless(place: Place, precision: Literal["auto", "fp32", "bf16"]) -> Predictor:
    """Return a backbone with a head that is never asked; texts are pooled as its folder says, else by the mean."""
    checkpoint = place.checkpoint or find_checkpoint(str(place.folder))
    assert checkpoint is not None
    fitting = [name for name in _HEADLESS if _serves(checkpoint.name, checkpoint.family, name)]
    # A family that is not known may be of either: one of texts has a tokenizer, and prepares no images.
    is_of_texts = any((checkpoint.folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))
    if len(fitting) > 1 and is_of_texts and not (checkpoint.folder / "preprocessor_config.json").is_file():
        fitting.reverse()
    task = head_task(fitting[0] if fitting else _HEADLESS[0])
    pooling: Literal["native", "mean", "cls", "last"] = "native"
    if task.pools_tokens:
        pooling = checkpoint.pooling or "mean"
    layers = after_pooling(checkpoint)
    adapter = load_adapter(checkpoint, _OUTPUTS, head=task.head, pooling=pooling)
    facts = ModelFacts(task=task.name, pooling=pooling, class_names=_OUTPUTS)
    return _Backbone(adapter, precision, facts, layers=layers)


class _Backbone(Predictor):
    """A backbone with the layers that sentence-transformers puts behind its pooling."""

    def __init__(self, *given: Any, layers: nn.Sequential, **named: Any) -> None:
        super().__init__(*given, **named)
        self.layers = layers

    @override
    def embed_each(self, inputs: Sequence[object]) -> Iterator[np.ndarray | DataError]:
        for found in super().embed_each(inputs):
            if isinstance(found, DataError) or not len(self.layers):
                yield found
            else:
                yield gone_through(self.layers, torch.from_numpy(found)[None])[0].numpy()


def _serves(name: str, family: str, task: str) -> bool:
    try:
        require_modality(name, family, task, head_task(task).reader.modality)
    except ModelError:
        return False
    return True


@dataclass(frozen=True)
class EmbedRequest(InputRequest):
    """The inputs and options of `hftransfer embed`."""

    out: Path = Path("features.parquet")


def embed_inputs(
    model: str,
    request: EmbedRequest,
    precision: Literal["auto", "fp32", "bf16"],
    progress: Progress,
    lines: Iterable[str],
) -> tuple[int, int]:
    """Write the embedding of every input, in their order, and return how many there are and their length.

    Raises:
        HftransferError: the model, or the file, is not as it must be.
        DataError: inputs can't be read; all others are embedded and written first.
    """
    write = writer_for(request.out)
    embedder = load_embedder(model, precision)
    if isinstance(embedder, Predictor):
        embedder.require_one_row()
    named = request.named(embedder.reader, embedder.columns, lines)
    names: list[str] = []
    rows: list[np.ndarray] = []
    faults: list[str] = []
    with progress.stage("embedding", len(named)) as advance:
        for one, found in zip(named, embedder.embed_each([each.value for each in named]), strict=True):
            advance(1)
            if isinstance(found, DataError):
                faults += found.faults
            else:
                names.append(one.name)
                rows.append(np.asarray(found, dtype=np.float32))
    if rows:
        write(names, np.stack(rows))
    if faults:
        if rows:
            progress.line(f"{request.out}: {len(rows)} × {len(rows[0])}, less the inputs that can't be read")
        raise DataError(*faults)
    return len(rows), len(rows[0])


def writer_for(out: Path) -> Callable[[Sequence[str], np.ndarray], None]:
    """Return what writes names and embeddings (N, D) into a file, by the ending of its name.

    Raises:
        RecipeError: the ending is another.
        OutputError: it can be no file.
    """
    path = user_path(out, "--out", OutputError)
    write = _FORMS.get(path.suffix)
    if write is None:
        raise RecipeError(must_be("--out", f"a file that ends in {' or '.join(_FORMS)}", f"'{out}'"))
    if path.is_dir() or not path.parent.is_dir():
        got = "a folder" if path.is_dir() else f"no folder {path.parent}"
        raise OutputError(must_be(f"the file {path}", "a file in an existing folder", got))

    def into_file(names: Sequence[str], rows: np.ndarray) -> None:
        try:
            with new_file(path) as draft:
                write(draft, names, rows)
        except OSError as error:
            raise OutputError(must_be(f"the file {path}", "writable", error.strerror or str(error))) from error

    return into_file


def _write_parquet(file: Path, names: Sequence[str], rows: np.ndarray) -> None:
    import pyarrow
    import pyarrow.parquet

    flat = pyarrow.array(np.ascontiguousarray(rows).reshape(-1))
    vectors = pyarrow.FixedSizeListArray.from_arrays(flat, rows.shape[1])
    pyarrow.parquet.write_table(pyarrow.table({"input": list(names), "embedding": vectors}), file)


def _write_npy(file: Path, names: Sequence[str], rows: np.ndarray) -> None:
    del names
    with file.open("wb") as stream:
        np.save(stream, rows, allow_pickle=False)


def _write_safetensors(file: Path, names: Sequence[str], rows: np.ndarray) -> None:
    from safetensors.numpy import save_file

    save_file({"embeddings": np.ascontiguousarray(rows)}, file, {"inputs": json.dumps(list(names))})


_FORMS = {".parquet": _write_parquet, ".npy": _write_npy, ".safetensors": _write_safetensors}
