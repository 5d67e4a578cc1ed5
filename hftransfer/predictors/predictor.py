"""A trained model: what its folder says beyond the native files, how it predicts, and how it is loaded back."""

from __future__ import annotations

import copy
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, cast, overload

from safetensors.numpy import save_file

from hftransfer.base.cache import new_folder
from hftransfer.base.errors import (
    DataError,
    ModelError,
    OutputError,
    RecipeError,
    first_line,
    must_be,
    some,
    user_path,
)
from hftransfer.base.html import Fragment
from hftransfer.base.plain import JsonObject
from hftransfer.base.run_folder import MANIFEST
from hftransfer.base.runs import at_newest
from hftransfer.data.reading import InputColumns
from hftransfer.demo.drawings import DRAWINGS
from hftransfer.predictors.gallery import Gallery
from hftransfer.predictors.inputs import (
    OneInput,
    as_list,
    as_questions,
    as_text,
    decoded,
    is_one,
    require_no_images,
)
from hftransfer.predictors.pickling import require_picklable
from hftransfer.report.headline import headline_of, score_table
from hftransfer.tasks import head_task, head_tasks
from hftransfer.tasks.facts import OF_DRAWINGS, ModelFacts
from hftransfer.tasks.outcomes import NONE_OF_THESE, Answer, Generation, Manner, Prediction

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from hftransfer.adapters.anatomy import Inputs
    from hftransfer.adapters.base import Adapter
    from hftransfer.adapters.checkpoint import Checkpoint
    from hftransfer.adapters.scoring import Scoring
    from hftransfer.adapters.texts import TextAdapter
    from hftransfer.data.reading import Reader
    from hftransfer.data.rows import GivenRows, Row
    from hftransfer.data.settings import DataSettings
    from hftransfer.data.splits import Split
    from hftransfer.metrics.familiarity import Familiarity
    from hftransfer.tasks.contract import Examples, Explains
    from hftransfer.tasks.head_task import HeadTask
    from hftransfer.tasks.label_map import LabelMap
    from hftransfer.tasks.spans import QuestionPrediction
    from hftransfer.training.devices import Compute


FEATURES = "features.safetensors"
"""What the features of training examples look like."""
Scored = TypeVar("Scored")
"""What is computed of one input."""
Said = TypeVar("Said")
"""What a model says of one input."""


def save_model(adapter: Adapter, facts: ModelFacts, folder: Path, place: Path | None = None) -> None:
    """Write the model in its native layout (LoRA: peft's), with `hftransfer.json` beside it; `place` is where the
    folder will lie in the end."""
    if facts.base is not None:
        adapter.save_lora(folder, str(facts.base["name"]))
        if facts.base.get("path"):
            # Relative: run and base model may be moved together.
            way = os.path.relpath(str(facts.base["path"]), (place or folder).resolve())
            facts = facts.model_copy(update={"base": {**facts.base, "path": Path(way).as_posix()}})
    else:
        adapter.save(folder)
        # A decoder that learned whole is loaded as a native segmenter, of which the last layer alone is the head.
        parts = adapter.split.parts() if adapter.head_port.decoder is None else None
        facts = facts.model_copy(update={"parts": parts})
    if facts.familiarity is not None:
        save_file(facts.familiarity.parts(), folder / FEATURES)
    text = facts.model_dump_json(indent=1)
    (folder / "hftransfer.json").write_text(text + "\n", encoding="utf-8")


_FEW = 16
"""Inputs that the model as it was loaded serves: to arrange EfficientNet-Lite0 for quick passes takes half a second."""


class Predictor:
    """A trained model ready to predict: what `hftransfer.load` and `hftransfer.fit` give."""

    def __init__(
        self,
        adapter: Adapter,
        precision: Literal["auto", "fp32", "bf16"] = "fp32",
        facts: ModelFacts | None = None,
        metrics: JsonObject | None = None,
        history: Sequence[dict[str, float]] = (),
        write_card: Callable[[Path], None] = lambda _: None,
    ) -> None:
        from hftransfer.training.devices import choose_compute

        self._precision = precision
        self.compute = choose_compute(precision, None)
        self.facts = facts or ModelFacts()
        self.metrics = metrics or {}
        self.history = list(history)
        self._write_card = write_card
        self.tile = self.facts.tile
        """The edge of the squares that larger images are cut into, of segmentation."""
        # A tokenizer is told how long texts may be, and hooks catch what goes through the network: threads take turns.
        self._one_at_a_time = threading.Lock()
        self._unknown: float | None = None
        self._least: float | None = None
        self.source = adapter
        self._seen_so_far = 0
        # The solved head stays in float32; a copy, since moving it to a GPU would part the source's own from its model.
        self._head = copy.deepcopy(adapter.head).float().to(self.compute.device) if adapter.head_is_linear else None

    @cached_property
    def adapter(self) -> Adapter:
        """The adapter around a copy of its model that is arranged for quick passes."""
        from hftransfer.training.frozen import frozen_twin

        return frozen_twin(self.source, self.compute)

    def _adapter_for(self, count: int) -> Adapter:
        """Return the adapter that so many inputs more go through: on a CPU in float32 the model as it was loaded serves
        the first few, before another arrangement of it would have paid."""
        self._seen_so_far += count
        is_plain = self.compute.precision == "fp32" and self.compute.device.type == "cpu"
        return self.source if is_plain and self._seen_so_far <= _FEW else self.adapter

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes in the order of the logits."""
        return self.source.class_names

    @property
    def scoring(self) -> Scoring:
        """Return what scores are: `softmax` (of one label among all), `sigmoid` (each label by itself), `none`
        (numbers)."""
        return self.source.scoring

    @property
    def scores_labels(self) -> bool:
        """Return whether it gives a score of each of several labels to every input."""
        task = self.task
        return self.scoring != "none" and task.has_labels and not task.from_windows and not task.has_maps

    @property
    def note(self) -> str | None:
        """Return what a person should know before they believe it; None where there is nothing."""
        return OF_DRAWINGS if self.facts.data == DRAWINGS else None

    @property
    def task(self) -> HeadTask[Any]:
        """Return what it was trained for."""
        kind = self.source.problem_type
        own = head_task(self.facts.task)
        # Several numbers an input are told, and not judged.
        return own if kind == "regression" and self.source.outputs > 1 else own.for_problem(kind)

    @property
    def _tuned(self) -> JsonObject:
        """Return what was found on the validation split, for later judgements."""
        return {name: getattr(self.facts, name) for name in self.task.tuned}

    @property
    def reader(self) -> Reader:
        """Return what reads its inputs."""
        return self.task.reader

    @property
    def columns(self) -> InputColumns:
        """Return what it knows of the columns of tables: those it learned from, and whether texts are pairs."""
        return InputColumns(pairs=bool(self.facts.pairs), learned=self.facts.columns)

    @property
    def explains(self) -> Explains | None:
        """Return what its explanations are; None where it has none."""
        return self.task.explains

    @property
    def pixels(self) -> tuple[float, float] | None:
        """The range of values of the deep greyscale images that it learned from."""
        return self.facts.pixels

    @property
    def takes(self) -> str:
        """Return what it predicts from: images, texts or questions."""
        return self.reader.inputs

    @overload
    def predict(self, inputs: Mapping[str, str]) -> Answer: ...  # type: ignore[overload-overlap]
    @overload
    def predict(self, inputs: Sequence[Mapping[str, str]]) -> list[Answer]: ...
    @overload
    def predict(  # type: ignore[overload-overlap]
        self, inputs: None = None, *, question: str, context: str
    ) -> Answer: ...
    @overload
    def predict(
        self, inputs: None = None, *, question: Sequence[str], context: str | Sequence[str]
    ) -> list[Answer]: ...
    @overload
    def predict(  # type: ignore[overload-overlap]
        self, inputs: str, *, max_new_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> Generation: ...
    @overload
    def predict(
        self, inputs: Iterable[str], *, max_new_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Generation]: ...
    @overload
    def predict(self, inputs: OneInput) -> Prediction: ...  # type: ignore[overload-overlap]
    @overload
    def predict(self, inputs: Iterable[OneInput]) -> list[Prediction]: ...

    def predict(
        self,
        inputs: object = None,
        *,
        question: str | Sequence[str] | None = None,
        context: str | Sequence[str] | None = None,
        max_new_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> Any:
        """Return a `Prediction` of an image or text, an `Answer` to a question, a `Generation` for a prompt: of one
        input one, of a list a list. The model may be called instead: `model(inputs)`.

        Of prompts, texts or lists of messages, at most `max_new_tokens` are written; with a `temperature` above 0
        tokens are drawn, by the seed.

        Images are paths, bytes, open files, PIL images or uint8 arrays (H, W[, 3]); texts are strings or pairs of
        strings (as tuples). Questions are dicts with `question` and `context`, or lists of both by these names.

        >>> ht.load("runs/reviews/20261124-101500").predict("what a film")
        >>> ht.load("runs/squad/20261124-101500").predict(question="Who?", context="The actor was Ann Lee.")

        Raises:
            DataError: inputs can't be read, or texts are the names of image files; all of them are named.
            ModelError: what the model computes is no number.
        """
        if len(self.reader.fields) > 1:
            given = as_questions(inputs, question, context)
            answers = all_or_faults(self._answer_each(given, Manner()))
            alone = isinstance(question, str) or isinstance(inputs, Mapping)
            return answers[0] if alone else Gallery(answers, given, self.reader)
        if inputs is None or question is not None or context is not None:
            got = "none" if inputs is None else "a question or a context"
            raise DataError(must_be("the inputs", self.reader.inputs, got))
        given = as_list(inputs, self.reader)
        if self.reader.fields:
            require_no_images(given)
        told = all_or_faults(self.predict_each(given, Manner(max_new_tokens, temperature, seed)))
        if is_one(inputs, self.reader):
            return told[0]
        return Gallery(told, given, self.reader, self.scoring, self.pixels)

    __call__ = predict

    def __repr__(self) -> str:
        parts = [f"{self.facts.task}: {some(self.class_names, 4)}" if self.class_names else self.facts.task]
        headline = headline_of(self.metrics)
        parts += [str(headline)] if headline is not None else []
        return f"Predictor({'; '.join(parts)})"

    def _repr_html_(self) -> str:
        notes = [f"Not for photos: {self.note}."] if self.note else []
        line = f"model({self.takes}) predicts; model.save(folder) writes it; ht.explain(model, {self.takes}) tells why."
        return Fragment(repr(self), [line], score_table(self.metrics), notes=notes).html()

    def __reduce__(self) -> tuple[Callable[..., Predictor], tuple[object, ...]]:
        """Pickle the files that `save` writes: weights lie in safetensors there, and nothing else is run by loading.

        Raises:
            ModelError: the network, transform or head that it was made with can't be pickled.
        """
        given, own = getattr(self.source, "given", None), self.source.own_head
        if given is not None:
            require_picklable("the network", given.network, "module=network, processor=transform")
            require_picklable("the processor", given.transform, "module=network, processor=transform")
        if own is not None:
            require_picklable("the head", own.module, "head=module")
        with tempfile.TemporaryDirectory(prefix="hftransfer-") as folder:
            saved = self.save(Path(folder) / "model")
            files = {
                file.relative_to(saved).as_posix(): file.read_bytes() for file in saved.rglob("*") if file.is_file()
            }
        base = (self.facts.base or {}).get("path")
        module = (given.network, given.transform) if given is not None else None
        head = copy.deepcopy(own.module).cpu() if own is not None else None
        chosen = {"history": self.history, "tile": self.tile, "_unknown": self._unknown, "_least": self._least}
        return _unpickled, (files, self._precision, base, self.metrics, chosen, module, head)

    def predict_each(self, inputs: Sequence[object], manner: Manner | None = None) -> Iterator[Any]:
        """Yield a prediction for each image or text, an answer to each question, or what is written for each prompt, in
        turn, or the error that says why it can't be read.

        Raises:
            RecipeError: texts can't be written in this manner, or the model writes none.
        """
        manner = manner or Manner()
        manner.require_sound()
        if not self.task.head.writes and manner != Manner():
            allowed = "left out: the model writes no texts"
            raise RecipeError(must_be("max_new_tokens, temperature and seed", allowed, "given"))
        yield from self._answer_each(inputs, manner) if self.task.from_windows else self._predict_each(inputs)

    def embed_each(self, inputs: Sequence[object]) -> Iterator[np.ndarray | DataError]:
        """Yield what enters the head (D,) for each image or text in turn, or the error that says why it can't be read.

        Raises:
            ModelError: more than one row of features an input enters the head.
        """
        self.require_one_row()

        def features_of(encoded: Inputs) -> np.ndarray:
            caught: list[np.ndarray] = []
            self._probabilities(encoded, caught)
            return caught[0]

        yield from in_batches(inputs, self.compute, self._read, self._encoded, features_of, lambda row: row)

    def scores_of_features(self, features: np.ndarray, inputs: Sequence[object]) -> np.ndarray:
        """Return the scores (N, C) of inputs whose features (N, D) are known: by the linear head alone, where there is
        one, else of the inputs anew.

        Raises:
            DataError: an input can't be read any more.
        """
        import numpy as np
        import torch

        from hftransfer.adapters.scoring import require_numbers, scores_of

        if self._head is None:
            told = all_or_faults(self.predict_each(inputs))
            return np.array([[one.scores[name] for name in self.class_names] for one in told])
        with torch.inference_mode():
            logits = self._head(torch.from_numpy(features).to(self.compute.device))
            values: np.ndarray = scores_of(logits, self.scoring).cpu().numpy()
        require_numbers(values, self.source.name)
        return values

    def require_one_row(self) -> None:
        """Return if one row of features an input enters the head: an embedding.

        Raises:
            ModelError: there are more.
        """
        if len(self.source.split.features_shape) != 2 or self.task.from_windows or self.task.head.writes:
            got = f"one for {self.task.name}, whose head takes many"
            raise ModelError(must_be("the model that embeds", "a model with one vector of features per input", got))

    def _read(self, value: object, place: int) -> Any:
        """Return an input as it is encoded, or the error that says why it can't be read."""
        if self.reader.fields:
            return as_text(value, place, pairs=self.facts.pairs)
        return decoded(value, place, pixels=self.facts.pixels)

    def _predict_each(self, inputs: Sequence[object]) -> Iterator[Prediction | DataError]:
        task, names, tuned = self.task, self.class_names, self._tuned

        def say(seen: tuple[np.ndarray, float | None]) -> Prediction:
            scores, unlike = seen
            found = task.present(scores, names, **tuned)
            if self._least is not None:
                found = found.with_set(self._least)
            return found if unlike is None else found.seen_as(unlike, self._unknown)

        outcomes = in_batches(inputs, self.compute, self._read, self._encoded, self._seen, say)
        # Probabilities of one choice stay in the order of the classes; where several may be true the best come first.
        if self.scoring == "softmax" or len(self.class_names) < 2:
            yield from outcomes
            return
        yield from (one if isinstance(one, DataError) else one.best_first() for one in outcomes)

    def evaluate(
        self, rows: GivenRows, split: str | None = None, *, label_map: LabelMap | None = None, **data: object
    ) -> JsonObject:
        """Return the metrics of labelled rows: as `ht.run` takes them from Python, or a path.

        Of data with named splits the one that is asked for is scored, else the test split, or where there is none,
        validation or training. Class ids follow the saved model's labels, so that rows lacking a class are scored
        right. `label_map` says which class each label of the rows means, where they are called otherwise: a mapping,
        as in `{"neg": "LABEL_0"}`, or `"position"`, by the order of both (`"text-order"` or `"natural-order"` where
        these differ). `data` holds settings of a recipe's `data:` section, such as `text_column="review"`.

        Raises:
            DataError: the rows can't be read, or have a label the model doesn't know.
            ModelError: the model does not choose one label of several.
            RecipeError: the label map does not fit.
        """
        from hftransfer.data.settings import settings_of
        from hftransfer.data.sources import rows_from_python

        settings = self.task.read_settings(settings_of("memory", data)).after(self.columns.learned)
        found = rows_from_python(rows, settings, self.reader)
        return self.evaluate_rows(rows_of_split(found, split), settings.decode, label_map, told=found.labels_told)

    def evaluate_rows(
        self,
        rows: list[Row],
        decode: Literal["exact", "draft"] = "exact",
        label_map: LabelMap | None = None,
        written: int | None = None,
        told: Sequence[str] | None = None,
    ) -> JsonObject:
        """Return the metrics of labelled rows; class ids follow the model's labels. For so many prompts as are to be
        `written` texts are judged, 64 if nobody says. Of several labels those that rows tell of are judged, all if
        `told` does not say which.

        Raises:
            DataError: there are no rows, or one has a label the model doesn't know.
            ModelError: the model does not choose one label of several, or what it computes is no number.
            RecipeError: the label map does not fit.
        """
        from hftransfer.data.depth import PixelRange
        from hftransfer.data.splits import labelled_split
        from hftransfer.tasks.label_map import mapped_labels, relabelled

        task = self.task
        if task.has_classes:
            _require_one_label(self.scoring, self.source.name)
        if task.has_labels:
            rows = relabelled(rows, self.class_names, label_map)
        elif label_map is not None:
            raise RecipeError(must_be("the label map", f"left out for {task.reader.inputs}", "given"))
        _require_pairs(rows, self.facts.pairs)
        pixels = PixelRange(*self.facts.pixels) if self.facts.pixels is not None else None
        names = self.class_names if task.head.names_classes else ()
        rows = task.to_be_judged(rows, names, **self._tuned)
        split = labelled_split(rows, names, task.reader, task.targets, pixels)
        settings = self.data_settings(decode)
        if written is not None:
            settings = settings.model_copy(update={"written": written})
        examples, outcomes = self._outcomes(split, settings, whole=False)
        with self._one_at_a_time:
            seen = task.looked(self.adapter, examples, settings, self.compute.autocast, lambda _: None)
        if told is not None and task.has_labels:
            seen = {**seen, "told": mapped_labels(told, self.class_names, label_map)}
        # As in predict: a model trained without unanswerable questions never answers nothing.
        return task.judge(outcomes, examples, names, **self._tuned, **seen).metrics

    def notes_on_judging(self, rows: Sequence[Row]) -> list[str]:
        """Return what people should know of how the targets of labelled rows are matched with the model's outputs."""
        names = self.class_names if self.task.head.names_classes else ()
        return self.task.notes_on_judging(rows, names, **self._tuned)

    def data_settings(self, decode: Literal["exact", "draft"] = "exact") -> DataSettings:
        """Return how rows become items, as in training."""
        from hftransfer.data.settings import DataSettings

        names = ("max_tokens", "stride_tokens", "template", "loss_on", "max_new_tokens")
        own = {name: getattr(self.facts, name) for name in names}
        return DataSettings(source="memory", decode=decode, tile=self.tile, **own)

    def examples(self, adapter: Adapter, split: Split, settings: DataSettings) -> Examples:
        """Return the examples of a split, as the model reads them.

        Raises:
            DataError: an input is too long; no setting of a recipe is advised, as there is none.
        """
        from hftransfer.data.settings import of_no_recipe

        try:
            return self.task.examples(adapter, split, settings)
        except DataError as error:
            raise of_no_recipe(error) from error

    def _outcomes(self, split: Split, settings: DataSettings, *, whole: bool) -> tuple[Examples, list[Any]]:
        """Return the examples of a split, and what the task keeps of each one's logits.

        Raises:
            DataError: an input is too long.
            ModelError: what the model computes is not a number.
        """
        from hftransfer.adapters.scoring import require_numbers
        from hftransfer.training.activations import Source
        from hftransfer.training.loop import outcomes_of

        with self._one_at_a_time:
            adapter = self._adapter_for(len(split))
            examples = self.examples(adapter, split, settings)

            def keep(places: Sequence[int], logits: list[np.ndarray]) -> list[Any]:
                for values in logits:
                    require_numbers(values, self.source.name)
                return self.task.decode(logits, places, examples, whole=whole)

            source = Source(examples.items, adapter, 0, self.compute)
            return examples, outcomes_of(adapter, source, self.compute, keep)

    def use_threshold(self, threshold: float) -> None:
        """Give every label from this probability on, in place of the thresholds that validation chose.

        Raises:
            RecipeError: the model does not give several labels, or the threshold is no probability.
        """
        if "thresholds" not in self.task.tuned:
            raise RecipeError(must_be("the threshold", "left out: only models of several labels have one", threshold))
        if not 0 <= threshold <= 1:
            raise RecipeError(must_be("the threshold", "a probability, from 0 to 1", threshold))
        self.facts = self.facts.model_copy(update={"thresholds": dict.fromkeys(self.class_names, threshold)})

    def use_unknown(self, share: float | None) -> Self:
        """Answer `none of these` where an input is more unusual than this share of the training examples; None names
        a class whatever the input is, as at first. Return the predictor.

        Raises:
            RecipeError: it is no share, or the model does not know what its training examples looked like.
        """
        if share is not None and not 0 < share <= 1:
            raise RecipeError(must_be("unknown", "a share of the training examples, above 0 and at most 1", share))
        if share is not None and self.facts.familiarity is None:
            remedy = "Only models of one label, trained with this version or later, know that."
            raise RecipeError(
                must_be(
                    "unknown", "left out: the model does not know what its training examples look like", share, remedy
                )
            )
        if share is not None and NONE_OF_THESE in self.class_names:
            raise RecipeError(must_be("unknown", f"left out: '{NONE_OF_THESE}' is a class of the model", share))
        self._unknown = share
        return self

    def use_coverage(self, coverage: float | None) -> Self:
        """Give each prediction its `label_set`: the labels that hold the true one as often as `coverage` says, for
        inputs like those of the validation split (split-conformal sets). The likeliest is always among them: a model
        that is right more often gives that alone. None gives no sets, as at first. Return the predictor.

        Raises:
            RecipeError: it is no share, or the model was not told by a validation split of 20 examples or more.
        """
        if coverage is not None and not 0 < coverage < 1:
            raise RecipeError(must_be("coverage", "a share between 0 and 1, such as 0.9", coverage))
        if coverage is not None and self.facts.conformity is None:
            remedy = "Only models of one label, trained with this version and at least 20 validation examples, can."
            raise RecipeError(must_be("coverage", "left out: the model can't predict sets of labels", coverage, remedy))
        from hftransfer.metrics.calibration import needed_for

        self._least = needed_for(self.facts.conformity or (), coverage) if coverage is not None else None
        return self

    def use_tiles(self, edge: int | None) -> Self:
        """Cut larger images into overlapping squares of this edge, in pixels; None sees each as a whole. Return the
        predictor.

        Raises:
            RecipeError: the model makes no masks, or the edge is no length.
        """
        if not self.task.has_maps:
            raise RecipeError(must_be("the tile", "left out for a model that makes no masks", edge))
        if edge is not None and edge < _LEAST_TILE_PX:
            raise RecipeError(must_be("the tile", f"{_LEAST_TILE_PX} pixels or more", edge))
        self.tile = edge
        return self

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Return the folder, with the model in its native layout: `ht.load` reads it, and plain transformers (LoRA:
        peft).

        With `LoRA(merge=True)` the merged native model lies in its folder `merged`.

        Raises:
            OutputError: the folder holds other files.
        """
        path = user_path(os.fspath(folder), "the output folder", OutputError)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise OutputError(must_be(f"the output folder {path}", "new or empty", "a folder with files"))
        with new_folder(path) as draft:
            save_model(self.source, self.facts, draft)
            self._write_card(draft)
            if self.facts.merge and self.source.peft is not None:
                (draft / "merged").mkdir()
                save_model(self.source.merged(), self.facts.model_copy(update={"base": None}), draft / "merged")
        return path

    def push_to_hub(
        self, repo_id: str, *, private: bool = True, revision: str | None = None, license: str | None = None
    ) -> str:
        """Return the address of the model on the Hub, where it lies under this id from now on: as `hftransfer push`
        does it.

        Raises:
            ModelError: the id or the licence is none.
            PushError: the Hub refuses, or somebody else changed the repository meanwhile.
        """
        from hftransfer.base.progress import Progress
        from hftransfer.hub.publish import push

        with tempfile.TemporaryDirectory(prefix="hftransfer-") as folder:
            saved = self.save(Path(folder) / "model")
            silent = Progress(None)
            return push(saved, repo_id, private=private, revision=revision, license=license, progress=silent).url

    def probabilities(self, examples: Sequence[object]) -> np.ndarray:
        """Scores (B, C) of RGB images or texts that go through the model in one batch: class probabilities, or what
        `scoring` says."""
        return self._probabilities(self._encoded(examples))

    def _encoded(self, examples: Sequence[Any]) -> Inputs:
        if self.reader.fields:
            adapter = cast("TextAdapter", self.source)
            with self._one_at_a_time:
                tokens, _ = adapter.tokenize_all(examples, self.facts.max_tokens)
            return adapter.pad(tokens, _rounded(tokens, adapter.max_tokens))
        return self.source.encode(examples)

    def _seen(self, inputs: Inputs) -> list[tuple[np.ndarray, float | None]]:
        """Return the scores (C,) of each input, and how unlike the training examples it is."""
        features: list[np.ndarray] = []
        scores = self._probabilities(inputs, features)
        if self.facts.familiarity is None:
            return [(row, None) for row in scores]
        if features[0].shape[1:] != self.facts.familiarity.mean.shape:
            allowed, got = f"of {features[0].shape[1]} features, as the model", str(len(self.facts.familiarity.mean))
            raise ModelError(must_be(f"{FEATURES} of the model '{self.source.name}'", allowed, got))
        return list(zip(scores, self.facts.familiarity.unlike(features[0]).tolist(), strict=True))

    def _probabilities(self, inputs: Inputs, features: list[np.ndarray] | None = None) -> np.ndarray:
        """Return the scores (B, C); what enters the head (B, D) is put into a list, where one is given."""
        import torch

        from hftransfer.adapters.scoring import require_numbers

        with self._one_at_a_time:
            adapter = self._adapter_for(len(next(iter(inputs.values()))))
            with torch.inference_mode():
                values = self._scores(adapter, inputs, features)
        require_numbers(values, self.source.name)
        return values

    def _scores(self, adapter: Adapter, inputs: Inputs, features: list[np.ndarray] | None) -> np.ndarray:
        from hftransfer.adapters.scoring import scores_of
        from hftransfer.training.activations import forward

        top = len(adapter.stages)
        activations = forward(adapter, top, inputs, self.compute)
        if self._head is not None:
            entered = activations["hidden"]
            logits = self._head(entered.float())
        else:
            logits, entered = adapter.logits_and_features(activations, top)
        if features is not None:
            features.append(entered.float().cpu().numpy())
        values: np.ndarray = scores_of(logits, self.scoring).cpu().numpy()
        return values

    def spans_of(self, question: object, place: int = 0) -> QuestionPrediction:
        """Return the answer to a question, a dict with `question` and `context`, and the spans that came next:
        `alternatives`, the best first. Errors name the question by its place.

        Raises:
            DataError: the question or the context is no text.
        """
        from hftransfer.tasks.question_answering import QuestionAnswering

        task = self.task
        assert isinstance(task, QuestionAnswering)
        examples, outcomes = self._outcomes_of_rows([task.row_of(question, place)])
        return task.predictions(outcomes, examples, self.facts.null_threshold)[0]

    def _answer_each(self, inputs: Sequence[object], manner: Manner) -> Iterator[Any]:
        """Return what is said of each input in turn, or the error that says what is wrong with it."""
        size = self.task.answered_at_once
        for start in range(0, len(inputs), size):
            part = inputs[start : start + size]
            read = {start + at: self._row_or_fault(given, start + at) for at, given in enumerate(part)}
            rows = {place: row for place, row in read.items() if not isinstance(row, DataError)}
            answers = iter(self._answers(rows, manner))
            for one in read.values():
                yield one if isinstance(one, DataError) else next(answers)

    def _answers(self, rows: Mapping[int, Row], manner: Manner) -> list[Any]:
        """Return what is said of rows, by their places among all; of one that can't be gone on with, the error: such as
        are too long are seen before anything is computed, so that halves are parted until they are alone."""
        if not rows:
            return []
        own, places = list(rows.values()), list(rows)
        try:
            if self.task.head.writes:
                settings, autocast = self.data_settings(), self.compute.autocast
                with self._one_at_a_time:
                    return list(self.task.write(self.adapter, own, settings, manner, autocast, places))
            examples, outcomes = self._outcomes_of_rows(own)
            return list(self.task.said(outcomes, examples, self.class_names, **self._tuned))
        except DataError as error:
            if len(rows) == 1:
                return [error]
        halves = places[: len(places) // 2], places[len(places) // 2 :]
        return [one for half in halves for one in self._answers({place: rows[place] for place in half}, manner)]

    def _row_or_fault(self, given: object, place: int) -> Row | DataError:
        if isinstance(given, DataError):
            return given
        try:
            return self.task.row_of(given, place)
        except DataError as error:
            return error

    def _outcomes_of_rows(self, rows: list[Row]) -> tuple[Examples, list[Any]]:
        """Return the examples of rows without targets, and what the task keeps of each one's logits."""
        from hftransfer.data.splits import Split

        # Nothing of these rows is kept, so that they need no digests.
        split = Split(rows, [row.target for row in rows], [b""] * len(rows))
        return self._outcomes(split, self.data_settings(), whole=True)


_LEAST_TILE_PX = 32


def _unpickled(
    files: Mapping[str, bytes],
    precision: Literal["auto", "fp32", "bf16"],
    base: str | None,
    metrics: JsonObject,
    chosen: Mapping[str, object],
    module: tuple[object, object] | None = None,
    head: nn.Module | None = None,
) -> Predictor:
    """Return the model of the files that a pickle holds, and of the network of torch or the head beside them, where it
    has one; `chosen` are attributes that no file holds, by name."""
    with tempfile.TemporaryDirectory(prefix="hftransfer-") as folder:
        for name, content in files.items():
            file = Path(folder) / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        place = Place(Path(folder), metrics, head=head)
        found = load_predictor(place if module is None else with_module(place, *module), precision, base)
    vars(found).update(chosen)
    return found


def in_batches(
    inputs: Sequence[object],
    compute: Compute,
    read: Callable[[Any, int], Any],
    encode: Callable[[list[Any]], Inputs],
    score: Callable[[Inputs], Iterable[Scored]],
    say: Callable[[Scored], Said],
) -> Iterator[Said | DataError]:
    """Yield a prediction for each input in turn, or the error that says why it can't be read; `score` gives what is
    computed of each of a batch that can, in order, and `say` the prediction of that.

    Batches are read and encoded in threads."""
    from hftransfer.training.activations import read_batches

    def ready(places: range) -> tuple[list[DataError | None], Inputs | None]:
        given = [(inputs[place], place) for place in places]  # what could not even be found has its error for a value
        outcomes = [value if isinstance(value, DataError) else read(value, place) for value, place in given]
        readable = [outcome for outcome in outcomes if not isinstance(outcome, DataError)]
        # What could be read is in `encoded` from here on: images of a few batches would fill the memory.
        told = [outcome if isinstance(outcome, DataError) else None for outcome in outcomes]
        return told, encode(readable) if readable else None

    size = compute.batch_size
    batches = [range(start, min(start + size, len(inputs))) for start in range(0, len(inputs), size)]
    for outcomes, encoded in read_batches(ready, batches, compute):
        rows = iter(score(encoded) if encoded is not None else ())
        for outcome in outcomes:
            yield outcome if outcome is not None else say(next(rows))


def require_several(model: object) -> Predictor:
    """Return a model that may be given a threshold.

    Raises:
        RecipeError: it is a dual encoder.
    """
    if not isinstance(model, Predictor):
        raise RecipeError(must_be("--threshold", "left out for a dual encoder", "given"))
    return model


def all_or_faults(outcomes: Iterable[Said | DataError]) -> list[Said]:
    """Return all predictions.

    Raises:
        DataError: there are inputs that can't be read; all of them are named.
    """
    predictions: list[Said] = []
    faults: list[str] = []
    for outcome in outcomes:
        if isinstance(outcome, DataError):
            faults += outcome.faults
        else:
            predictions.append(outcome)
    if faults:
        raise DataError(*faults)
    return predictions


def _rounded(batch: Sequence[Mapping[str, Sequence[int]]], most: int) -> int:
    """Return the length that a batch is padded to: the next multiple of 16, as far as the model takes so many tokens.

    oneDNN keeps what it compiles for each shape, about 0.3 MB a layer's product in bfloat16: over 150 batches of many
    shapes MiniLM came to hold 360 MB with each in its own length, 75 MB with these.
    """
    longest = max(len(tokens["input_ids"]) for tokens in batch)
    return max(longest, min(-(-longest // _STEP_TOKENS) * _STEP_TOKENS, most))


_STEP_TOKENS = 16


def _require_pairs(rows: Sequence[Row], pairs: bool | None) -> None:
    """Return if rows hold as many texts as the model was trained on.

    Raises:
        DataError: they hold one where it takes a pair, or a pair where it takes one.
    """
    other = [row.id for row in rows if row.content.texts and (len(row.content.texts) > 1) != pairs]
    if other and pairs is not None:
        allowed = "pairs of texts, as in training" if pairs else "single texts, as in training"
        got = f"{'one text' if pairs else 'two texts'} in {some(other, 3)}"
        raise DataError(must_be("the rows", allowed, got))


def _require_one_label(scoring: Scoring, name: str) -> None:
    """Return if a model chooses one label of several, as data with one label a row are judged.

    Raises:
        ModelError: it does something else.
    """
    if scoring != "softmax":
        got = {"sigmoid": "one that judges each label by itself", "none": "a regression"}[scoring]
        remedy = "hftransfer predict gives its scores."
        raise ModelError(
            must_be(f"the model '{name}' to be judged", "one that chooses one label of several", got, remedy)
        )


def rows_of_split(found: Mapping[str, list[Row]], split: str | None) -> list[Row]:
    """Return the rows of a part, as `part_of`."""
    return part_of(found, split)[1]


def part_of(found: Mapping[str, list[Row]], split: str | None) -> tuple[str, list[Row]]:
    """Return the name and the rows of the split that is asked for, else of the first there is of test, validation and
    training.

    Raises:
        DataError: there is no such split.
    """
    if split is not None and split not in found:
        allowed = f"a split of the data ({some(found)})"
        raise DataError(must_be("the split to evaluate", allowed, f"'{split}'"))
    # What was held out of training comes first; data without splits lie in `all`.
    order = [split] if split is not None else ["test", "validation", "train", "all"]
    return next(((name, found[name]) for name in order if name in found), ("", []))


@dataclass(frozen=True)
class Place:
    """Where a trained model lies, and what its run measured; of one that is named by its library the checkpoint; and
    the module of a head of a person's own."""

    folder: Path
    metrics: JsonObject
    checkpoint: Checkpoint | None = None
    head: nn.Module | None = None


def find_place(reference: str | os.PathLike[str], revision: str | None = None) -> Place:
    """Return the place of a run folder, a folder of runs (the newest with a model), a model folder, a bundled model or
    a Hub id (fetched: safetensors and settings alone).

    Raises:
        ModelError: there is no such model, or a run did not finish.
    """
    from hftransfer.adapters.checkpoint import fetch_model, find_checkpoint, is_hub_id, object_in

    if not isinstance(reference, str | os.PathLike) or not isinstance(os.fspath(reference), str):
        got = f"an object of {type(reference).__name__}"
        raise ModelError(must_be("the model", "a folder, a Hub id or a run", got))
    name = at_newest(reference)
    if name.startswith(("bundled/", "open_clip:", "keras:")):
        checkpoint = find_checkpoint(name, revision)
        assert checkpoint is not None
        return Place(checkpoint.folder, {}, checkpoint)
    path = user_path(name, "the model", ModelError)
    if not path.is_dir():
        if path.exists() or not is_hub_id(name):
            allowed = "a run folder, a model folder or a Hub id"
            raise ModelError(must_be("the model", allowed, f"'{name}'", "There is no such folder."))
        return Place(fetch_model(name, revision), {})
    if (path / "model").is_dir():
        return Place(path / "model", object_in(path / "metrics.json"))
    if (path / MANIFEST).exists():
        remedy = "The run did not finish; run its recipe again."
        if (path / "classes.csv").is_file():
            remedy = "It only evaluated one: name the model itself."
        raise ModelError(must_be(f"the run {path}", "one with a trained model", "none", remedy))
    return Place(path, {})


def with_module(place: Place, module: object, processor: object) -> Place:
    """Return the same place with the network of torch whose weights lie there, given again as an object.

    Raises:
        ModelError: it is no such network, or what makes its pixels is missing.
    """
    from hftransfer.adapters.checkpoint import find_checkpoint
    from hftransfer.adapters.given import given_module

    checkpoint = find_checkpoint(str(place.folder))
    assert checkpoint is not None
    return replace(place, checkpoint=replace(checkpoint, module=given_module(module, processor)))


def load_predictor(
    place: Place,
    precision: Literal["auto", "fp32", "bf16"] = "fp32",
    base: str | os.PathLike[str] | None = None,
) -> Predictor:
    """Return the trained model at a place; of LoRA, `base` names where the base model is, if it was moved.

    Raises:
        ModelError: there is no whole model there; a missing head is never replaced by a random one.
    """
    path, metrics = place.folder, place.metrics
    facts = _facts_of(place, base)
    _require_head(place, facts)
    adapter = _load_native(place, facts) if facts.base is None else None
    if adapter is None:
        adapter, facts = _load_lora(place, facts, base)

    def copy_card(draft: Path) -> None:
        if (path / "README.md").is_file():
            shutil.copyfile(path / "README.md", draft / "README.md")

    return Predictor(adapter, precision, facts, metrics, write_card=copy_card)


def _require_head(place: Place, facts: ModelFacts) -> None:
    """Return if the module of a head of a person's own is given where there is one, and nowhere else.

    Raises:
        ModelError: it is not so.
    """
    if facts.own_head is not None and place.head is None:
        remedy = f"In Python: ht.load({str(place.folder)!r}, head=module) puts its weights back."
        raise ModelError(must_be(f"the head of '{place.folder}'", f"given again, a {facts.own_head}", "none", remedy))
    if facts.own_head is None and place.head is not None:
        allowed = f"left out: '{place.folder}' was trained without one"
        raise ModelError(must_be("head", allowed, type(place.head).__name__))


def _facts_of(place: Place, moved_to: str | os.PathLike[str] | None) -> ModelFacts:
    """Return what `hftransfer.json` says; without it, the task that the configuration's architecture is for, or of
    plain peft's layout the base model alone."""
    from hftransfer.adapters.checkpoint import find_checkpoint, sidecar
    from hftransfer.adapters.matrices import ADAPTER_CONFIG, Matrices

    path = place.folder
    try:
        said = sidecar(path)
        if said:
            facts = ModelFacts.model_validate(said)
            return facts.model_copy(update={"familiarity": _familiarity_in(path, len(facts.class_names))})
    except ValueError as error:
        raise ModelError(must_be(f"{path}/hftransfer.json", "a valid file of hftransfer", first_line(error))) from error
    if (path / ADAPTER_CONFIG).is_file() and not (path / "model.safetensors").is_file():
        return ModelFacts(base=Matrices(path).base if moved_to is None else {"name": os.fspath(moved_to)})
    checkpoint = place.checkpoint or find_checkpoint(str(path))
    assert checkpoint is not None
    architectures = checkpoint.architectures
    # transformers names classes by their heads: BertForSequenceClassification.
    for task in head_tasks():
        if any(name.endswith(task.head.ending) for name in architectures):
            return ModelFacts(task=task.name)
    if not architectures:
        return ModelFacts()
    remedy = "Train one on top of it first: hftransfer run, or ht.fit."
    raise ModelError(
        must_be(f"the model {checkpoint.name}", "a model with a head for a task", some(architectures), remedy)
    )


def _familiarity_in(folder: Path, classes: int) -> Familiarity | None:
    """Return what the features of training examples look like, where a model's folder tells it.

    Raises:
        ModelError: the file is damaged, or of another model.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    from hftransfer.metrics.familiarity import Familiarity

    file = folder / FEATURES
    if not file.is_file():
        return None
    try:
        return Familiarity.of_parts(load_file(file), classes)
    except (SafetensorError, ValueError, OSError) as error:
        remedy = "Without this file the model still predicts, but can't tell which inputs are unusual."
        raise ModelError(must_be(str(file), "a valid file of hftransfer", first_line(error), remedy)) from error


_OPEN_CLIP_FOLDER = "open_clip:local-dir:"


def _load_native(place: Place, facts: ModelFacts) -> Adapter:
    from hftransfer.adapters.checkpoint import find_checkpoint
    from hftransfer.adapters.heads import load_head
    from hftransfer.adapters.loading import load_adapter

    checkpoint = place.checkpoint or find_checkpoint(str(place.folder))
    assert checkpoint is not None
    load = partial(
        load_adapter,
        checkpoint,
        head=head_task(facts.task).head,
        pooling=facts.pooling,
        pair=facts.pair,
        size=facts.size,
    )
    if place.head is None:
        return load(known=facts.parts)
    # The folder holds a backbone, on which a head is new until its weights are put back.
    adapter = load(facts.class_names, problem_type=checkpoint.config.get("problem_type"))
    adapter.put_head(place.head)
    load_head(adapter.head, checkpoint)
    return adapter


def _load_lora(at: Place, facts: ModelFacts, moved_to: str | os.PathLike[str] | None) -> tuple[Adapter, ModelFacts]:
    """Return the base model with the matrices and the head that lie in the folder, and the facts; where plain peft
    wrote the folder they are completed by what the base model says.

    Raises:
        ModelError: the base model is gone or another one now, or the folder lacks its weights.
    """
    from hftransfer.adapters.checkpoint import find_checkpoint, sidecar
    from hftransfer.adapters.libraries import damage_as_model_error
    from hftransfer.adapters.loading import load_adapter
    from hftransfer.adapters.matrices import Matrices

    path, matrices, base = at.folder, Matrices(at.folder), facts.base or {}
    matrices.require_plain()
    name = str(base.get("name"))
    place = os.fspath(moved_to or (path / str(base["path"]) if base.get("path") else name))
    folder = user_path(place.removeprefix(_OPEN_CLIP_FOLDER), "base", ModelError)
    if folder.is_dir() or place != name:
        before = _OPEN_CLIP_FOLDER if name.startswith(_OPEN_CLIP_FOLDER) else ""
        name = before + str(folder.resolve()) if folder.is_dir() else place
    try:
        checkpoint = find_checkpoint(name, base.get("revision") if moved_to is None else None)
    except ModelError as error:
        remedy = "Say where it is now: ht.load(…, base=…), or `hftransfer predict … --base`."
        allowed = f"at '{name}', as in training"
        raise ModelError(
            must_be(f"the base model of the adapter {path}", allowed, "none there", remedy), *error.faults
        ) from error
    assert checkpoint is not None
    names: tuple[str, ...] | None = facts.class_names
    if not sidecar(path):
        names = matrices.class_names_on(checkpoint)
        of_folder = {"name": folder.resolve().name, "path": str(folder.resolve())} if folder.is_dir() else {}
        base = {**base, **of_folder, "weights_sha256": checkpoint.weights_sha256}
        head = matrices.head_on(checkpoint, [task.head for task in head_tasks()])
        task_name = next(task.name for task in head_tasks() if task.head is head)
        said = {"task": task_name, "problem_type": matrices.problem_type_on(checkpoint)}
        facts = ModelFacts.model_validate({**said, "class_names": names or (), "base": base})
        names = names if head_task(facts.task).head.names_classes else ()
    # On other weights the matrices would give numbers without meaning, and no error.
    elif checkpoint.weights_sha256 != base.get("weights_sha256"):
        got = "different weights from those the adapter was trained on"
        raise ModelError(must_be(f"base model '{checkpoint.name}'", "as in training", got))
    head = head_task(facts.task).head
    adapter = load_adapter(checkpoint, names, head=head, pooling=facts.pooling, pair=facts.pair, size=facts.size)
    if facts.max_tokens is None and head_task(facts.task).pools_tokens:  # trained before a base's own length counted
        cast("TextAdapter", adapter).folder_tokens = None
    if at.head is not None:
        adapter.put_head(at.head)
        assert adapter.own_head is not None
        adapter.own_head.require_same(matrices.shapes_below(adapter.head_name), str(path))
    matrices.require_weights(adapter.fresh)
    with damage_as_model_error(str(path)):
        adapter.load_lora(path)
    if facts.problem_type is not None:
        adapter.model.config.problem_type = facts.problem_type
    if folder.is_dir() and base.get("path"):
        # Where it lies, and no longer how it is reached from this folder: the model may be saved in another.
        facts = facts.model_copy(update={"base": {**base, "path": str(folder.resolve())}})
    return adapter, facts
