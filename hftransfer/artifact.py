"""A run folder: where it may lie, what is written into it, and how a trained model is loaded back from it."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from hftransfer.cache import new_file
from hftransfer.errors import DataError, ModelError, OutputError, must_be, user_path

if TYPE_CHECKING:
    import numpy as np

    from hftransfer.adapters.images import ImageClassifier

_MANIFEST = ".hftransfer.json"


class OutputSettings(BaseModel):
    """Where the results go."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str = Field(
        "runs", min_length=1, description="runs lie in <folder>/<recipe>/<time>; --out names one exactly"
    )


class RunFolder:
    """A folder for one run that knows which files in it are its own.

    It is made, or found free to be replaced, before the work begins, and nothing is written or deleted in it until
    there are results: a run that fails leaves the folder, and an earlier run in it, as they were. The names of all
    files written are kept in a manifest, so that overwriting never deletes a foreign file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names: list[str] = []

    @classmethod
    def create(cls, path: Path, *, overwrite: bool = False) -> RunFolder:
        """A run folder that is new, or empty, or holds an earlier run that may be replaced.

        Raises:
            OutputError: the folder holds files and is not to be overwritten or not ours, or can't be written.
        """
        path = user_path(path, "the output folder", OutputError)
        remedy = "Choose another with --out or output.folder."
        try:
            if path.exists() and not path.is_dir():
                raise OutputError(must_be(f"the output folder {path}", "a folder", "a file", remedy))
            if path.is_dir() and any(path.iterdir()):
                cls._require_replaceable(path, overwrite=overwrite)
            path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path):
                pass
        except OSError as error:
            raise OutputError(must_be(f"the output folder {path}", "writable", error.strerror, remedy)) from error
        return cls(path)

    @classmethod
    def create_dated(cls, parent: Path, name: str) -> RunFolder:
        """A new run folder `<parent>/<name>/<YYYYmmdd-HHMMSS>`."""
        stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        for suffix in ("", *(f"-{number}" for number in range(2, 100))):
            path = user_path(parent, "output.folder", OutputError) / name / (stamp + suffix)
            if not path.exists():
                return cls.create(path)
        raise OutputError(must_be(f"the output folder {parent / name / stamp}", "free", "taken 99 times"))

    @classmethod
    def _require_replaceable(cls, path: Path, *, overwrite: bool) -> None:
        if not (path / _MANIFEST).is_file():
            remedy = "Choose another folder: files that are not a run's are never touched."
            raise OutputError(must_be(f"the output folder {path}", "new, empty or a run's own", "other files", remedy))
        if not overwrite:
            remedy = "Add --overwrite to replace that run, or choose another folder."
            raise OutputError(must_be(f"the output folder {path}", "new or empty", "an earlier run", remedy))
        cls._names_in(path)

    @staticmethod
    def _names_in(path: Path) -> list[str]:
        """The files of the earlier run in a folder, by its manifest."""
        manifest = path / _MANIFEST
        try:
            return [str(name) for name in json.loads(manifest.read_text(encoding="utf-8"))["files"]]
        except (ValueError, KeyError, TypeError) as error:
            raise OutputError(must_be(str(manifest), "the list of a run's files", "something else")) from error

    @contextmanager
    def kept_on_success(self) -> Iterator[None]:
        """Nothing; where the block fails before results were written, a folder made for them goes again."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(OSError):
                self.path.rmdir()  # only an empty folder can go
            raise

    def start(self) -> None:
        """Nothing; deletes the files of an earlier run, and only those: from here on results are written."""
        if (self.path / _MANIFEST).is_file():
            inside = self.path.resolve()
            names = self._names_in(self.path)
            for file in (self.path / name for name in names):
                if file.parent.resolve().is_relative_to(inside) and (file.is_symlink() or file.is_file()):
                    file.unlink()
            folders = {parent for name in names for parent in Path(name).parents if parent.parts}
            for folder in (self.path / name for name in sorted(folders, reverse=True)):
                if folder.resolve().is_relative_to(inside) and folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()
        self._write_manifest()

    def file(self, name: str) -> Path:
        """The path of a file of this run, its folder made and its name noted as ours."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._note([name])
        return path

    def write_json(self, name: str, value: Any) -> None:
        """Nothing; writes a JSON file."""
        with new_file(self.file(name)) as draft:
            draft.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    def write_text(self, name: str, text: str) -> None:
        """Nothing; writes a text file."""
        with new_file(self.file(name)) as draft:
            draft.write_text(text, encoding="utf-8")

    def write_folder(self, name: str, save: Callable[[Path], None]) -> Path:
        """The folder `name` with what `save` writes; nothing of it is there before all of it is written."""
        folder = self.path / name
        draft = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=self.path))
        try:
            save(draft)
            for file in sorted(file for file in draft.rglob("*") if file.is_file()):
                target = self.file(f"{name}/{file.relative_to(draft).as_posix()}")
                file.replace(target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return folder

    def _note(self, names: Iterable[str]) -> None:
        self._names += [name for name in names if name not in self._names]
        self._write_manifest()

    def _write_manifest(self) -> None:
        with new_file(self.path / _MANIFEST) as draft:
            draft.write_text(json.dumps({"files": self._names}, indent=1) + "\n", encoding="utf-8")


def write_predictions(
    folder: RunFolder, ids: Sequence[str], labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]
) -> None:
    """Nothing; writes `predictions.parquet`: id, label, prediction and `probability_<class>` of every test row."""
    import pyarrow
    import pyarrow.parquet

    names = list(class_names)
    columns: dict[str, Any] = {
        "id": list(ids),
        "label": [names[label] for label in labels],
        "prediction": [names[label] for label in probabilities.argmax(axis=1)],
    }
    columns |= {f"probability_{name}": probabilities[:, index] for index, name in enumerate(names)}
    with new_file(folder.file("predictions.parquet")) as draft:
        pyarrow.parquet.write_table(pyarrow.table(columns), draft)


@dataclass(frozen=True)
class Prediction:
    """The most probable label of one input, its probability, and the probabilities of all labels."""

    label: str
    score: float
    scores: dict[str, float]


class Predictor:
    """A trained model ready to predict: what `hftransfer.load` gives."""

    def __init__(self, adapter: ImageClassifier, precision: Literal["auto", "fp32", "bf16"] = "fp32") -> None:
        from hftransfer.training.devices import choose_compute, frozen_copy

        self.compute = choose_compute(precision, None)
        self.adapter = adapter.twin(frozen_copy(adapter.model, self.compute))
        self._head = adapter.head.float().to(self.compute.device)  # the solved head stays in float32

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes in the order of the logits."""
        return self.adapter.class_names

    def predict(self, images: Sequence[Any] | Any) -> list[Prediction]:
        """One prediction per image: paths, bytes, PIL images or uint8 arrays (H, W[, 3]); one alone may be given.

        Raises:
            DataError: images can't be read; all of them are named.
        """
        predictions: list[Prediction] = []
        faults: list[str] = []
        for outcome in self.predict_each(list(images) if isinstance(images, list | tuple) else [images]):
            if isinstance(outcome, Prediction):
                predictions.append(outcome)
            else:
                faults += outcome.faults
        if faults:
            raise DataError(*faults)
        return predictions

    def predict_each(self, images: Sequence[Any]) -> Iterator[Prediction | DataError]:
        """A prediction for each image in turn, or the error that says why it can't be read."""
        for start in range(0, len(images), self.compute.batch_size):
            batch = images[start : start + self.compute.batch_size]
            outcomes = [_decoded(image, start + offset) for offset, image in enumerate(batch)]
            readable = [outcome for outcome in outcomes if not isinstance(outcome, DataError)]
            rows = iter(self.probabilities(readable) if readable else ())
            for outcome in outcomes:
                yield outcome if isinstance(outcome, DataError) else self._prediction(next(rows))

    def _prediction(self, row: np.ndarray) -> Prediction:
        scores = {name: float(value) for name, value in zip(self.class_names, row, strict=True)}
        best = max(scores, key=lambda name: scores[name])
        return Prediction(best, scores[best], scores)

    def probabilities(self, images: Sequence[Any]) -> np.ndarray:
        """Class probabilities (B, C) of RGB images that go through the model in one batch."""
        import torch

        with torch.inference_mode():
            inputs = {
                name: tensor.to(self.compute.device, self.compute.dtype)
                for name, tensor in self.adapter.encode(images).items()
            }
            features = self.adapter.features(inputs).float()
            values: np.ndarray = self._head(features).softmax(dim=-1).cpu().numpy()
        return values


def load(folder: str | os.PathLike[str], *, precision: Literal["auto", "fp32", "bf16"] = "fp32") -> Predictor:
    """The trained model of a run folder (or of any native image-classification checkpoint folder).

    In fp32 its predictions are those of plain transformers; `auto` is faster where the hardware computes bf16, and
    probabilities then differ by some hundredths at most.

    Raises:
        ModelError: there is no whole model there; a missing head is never replaced by a random one.
    """
    from hftransfer.adapters.checkpoint import find_checkpoint
    from hftransfer.adapters.loading import load_adapter

    path = user_path(os.fspath(folder), "the run", ModelError)
    if not path.is_dir():
        raise ModelError(
            must_be("the run", "a run folder or a model folder", f"'{folder}'", "There is no such folder.")
        )
    if (path / "model").is_dir():
        path = path / "model"
    elif (path / _MANIFEST).exists():
        remedy = "The run did not finish; run its recipe again."
        raise ModelError(must_be(f"the run {path}", "one with a trained model", "none", remedy))
    checkpoint = find_checkpoint(str(path))
    assert checkpoint is not None
    return Predictor(load_adapter(checkpoint), precision)


def _decoded(image: Any, position: int) -> Any:
    """An RGB image, or the error that says why there is none."""
    from hftransfer.data.images import decode_image
    from hftransfer.data.rows import as_content

    where = str(image) if isinstance(image, str | os.PathLike) else f"image {position}"
    try:
        return decode_image(as_content(image, where).read(), where)
    except DataError as error:
        return error
    except OSError as error:
        return DataError(must_be(where, "a readable image file", error.strerror or str(error)))
