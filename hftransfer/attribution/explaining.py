"""Predictions explained: what of an image, a text or a context a model's answer rests on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast, overload

import torch
from torch import Tensor

from hftransfer.adapters.scoring import require_numbers
from hftransfer.attribution.explanation import (
    AnswerExplanation,
    EntitiesExplanation,
    EntityExplanation,
    Explanations,
    GenerationExplanation,
    ImageExplanation,
    TextExplanation,
)
from hftransfer.attribution.faithfulness import faithfulness
from hftransfer.attribution.maps import class_maps, is_blank, method_for, require_method
from hftransfer.attribution.network import PixelModel, Spot, find_spot
from hftransfer.attribution.words import attribute_answer, attribute_tag, attribute_words
from hftransfer.base.errors import DataError, RecipeError, must_be, nearest
from hftransfer.data.tags import OUTSIDE, parted
from hftransfer.predictors.inputs import OneInput, as_list, as_questions, decoded, is_one
from hftransfer.predictors.predictor import Predictor
from hftransfer.tasks.outcomes import Answer, Entities, Generation
from hftransfer.tasks.pixels import Box, tiles_of
from hftransfer.tasks.text_rows import template_of

if TYPE_CHECKING:
    from PIL import Image

    from hftransfer.adapters.causal import CausalAdapter
    from hftransfer.adapters.texts import TextAdapter
    from hftransfer.data.dialogues import Dialogue
    from hftransfer.predictors.dual import DualPredictor
    from hftransfer.tasks.templates import Template


Explained = ImageExplanation | TextExplanation | EntitiesExplanation | AnswerExplanation | GenerationExplanation
"""What an explanation is: that of an image, of a text, of its entities, of an answer, or of a text that was written."""


# More than eight arguments: what a person types, by the names that `predict` and the command line have.
@overload
def explain(  # type: ignore[overload-overlap]
    model: str | os.PathLike[str] | Predictor | DualPredictor,
    inputs: OneInput | Mapping[str, str] | None = None,
    *,
    label: str | None = None,
    labels: Sequence[str] = (),
    method: str = "auto",
    truth: bool = False,
    region: tuple[float, float, float, float] | None = None,
    question: str | None = None,
    context: str | None = None,
) -> Explained: ...
@overload
def explain(
    model: str | os.PathLike[str] | Predictor | DualPredictor,
    inputs: Iterable[object],
    *,
    label: str | None = None,
    labels: Sequence[str] = (),
    method: str = "auto",
    truth: bool = False,
    region: tuple[float, float, float, float] | None = None,
) -> list[Explained]: ...


def explain(
    model: str | os.PathLike[str] | Predictor | DualPredictor,
    inputs: object = None,
    *,
    label: str | None = None,
    labels: Sequence[str] = (),
    method: str = "auto",
    truth: bool = False,
    region: tuple[float, float, float, float] | None = None,
    question: str | None = None,
    context: str | None = None,
) -> Explained | list[Explained]:
    """Return the explanation of an image, text or question; of several a list.

    `model` is what `hftransfer.load` gives, or a name it takes. Of images the map shows what speaks for the predicted
    label, or for `label`: by Grad-CAM, HiResCAM, LayerCAM, Eigen-CAM and others through the grad-cam library, by
    occlusion, or attention rollout; layers are chosen by looking at the network. A dual encoder is given `labels`,
    prompts such as "a photo of a cat". With `truth` each map is tested by deletion and insertion beside a random one.
    Of a segmenter the map shows what speaks for the largest class that is not the background, or for `label`, in a
    `region`: left, top, right and bottom as shares of the image's sides; where the class is predicted, if left out. Of
    texts, or pairs of them, words are weighed by
    integrated gradients; of words with tags, for each entity that is found; of a prompt, for the text that is written
    after it, or for that part of it which `label` gives. Of questions, given as to `predict`, the spans that came next
    are told.

    >>> ht.explain("runs/pets/20261124-101500", "photo.jpg").save("why.png")

    Raises:
        RecipeError: the label, or the method, is none of this model's.
        DataError: inputs can't be read; all of them are named.
        ModelError: there is no such model, or it can't be explained.
    """
    if isinstance(model, str | os.PathLike):
        from hftransfer.predictors.load import load

        model = load(model)
    if model.explains == "spans":
        given = as_questions(inputs, question, context)
    elif question is not None or context is not None:
        raise RecipeError(must_be("question and context", f"left out for a model of {model.takes}", "given"))
    else:
        given = as_list(inputs, model.reader)
    outcomes = list(explain_each(model, given, label=label, labels=labels, method=method, truth=truth, region=region))
    if faults := [fault for one in outcomes if isinstance(one, DataError) for fault in one.faults]:
        raise DataError(*faults)
    told = [one for one in outcomes if not isinstance(one, DataError)]
    is_question = isinstance(inputs, Mapping) or inputs is None
    alone = is_question if model.explains == "spans" else is_one(inputs, model.reader)
    return told[0] if alone else Explanations(told)


def explain_each(
    model: Predictor | DualPredictor,
    inputs: Sequence[object],
    *,
    label: str | None = None,
    labels: Sequence[str] = (),
    method: str = "auto",
    truth: bool = False,
    region: tuple[float, float, float, float] | None = None,
) -> Iterator[Explained | DataError]:
    """Yield an explanation of each input in turn, or the error that says why it can't be read.

    Raises:
        RecipeError: the label, or the method, is none of this model's.
    """
    way = model.explains
    if way is None:
        raise RecipeError(must_be("the model to explain", "one whose task has explanations", f"one of {model.takes}"))
    if region is not None:
        _require_region(model, region)
    if way == "maps":
        yield from _explained_images(model, inputs, label, labels, method, truth=truth, region=region)
        return
    if labels:
        raise RecipeError(must_be("labels", "left out for a model with classes of its own", some_of(labels)))
    if method != "auto":
        raise RecipeError(must_be(f"the method for {model.takes}", "auto", f"'{method}'"))
    assert isinstance(model, Predictor)
    of_texts = {
        "words": _explained_texts,
        "tags": _explained_entities,
        "spans": _explained_answers,
        "prompts": _explained_prompts,
    }
    yield from of_texts[way](model, inputs, label)


def _explained_images(
    model: Predictor | DualPredictor,
    inputs: Sequence[object],
    label: str | None,
    labels: Sequence[str],
    method: str,
    *,
    truth: bool,
    region: tuple[float, float, float, float] | None = None,
) -> Iterator[Explained | DataError]:
    require_method(method)
    network, names = _asked(model, labels)
    tile = model.tile if isinstance(model, Predictor) and model.task.has_maps else None
    # Most of many images is background, and nobody asks why that is there.
    background = model.facts.background if isinstance(model, Predictor) and region is None else None
    if label is not None and label not in names:
        raise RecipeError(must_be("the label", "one of the model's", f"'{label}'", nearest(label, names)))
    # Found once for all images: it takes a pass forward and one back.
    spot = find_spot(network)
    for place, given in enumerate(inputs):
        image = decoded(given, place, model.pixels)
        if isinstance(image, DataError):
            yield image
            continue
        box, network.region, wanted = None, region, label
        boxes = [one.box for one in tiles_of(0, image.size, tile)]
        if len(boxes) > 1 and region is not None:
            box, network.region = _around(region, boxes, image.size)
        elif len(boxes) > 1:
            box, wanted = _foremost_tile(network, image, boxes, names, label, background)
        pixels = network.encode([image if box is None else image.crop(box)])
        scores = _scores_of(network, pixels)[0]
        target = names.index(wanted) if wanted is not None else _foremost(scores, names, background)
        explained = _explained_image(network, spot, names, pixels, scores, target, method, truth=truth)
        yield replace(explained, box=box)


def _scores_of(network: PixelModel, pixels: Tensor) -> Tensor:
    """Return the scores (B, C) of images.

    Raises:
        ModelError: one is no number.
    """
    with torch.inference_mode():
        scores = network.scores(network(pixels))
    # The largest of NaN would be taken for a prediction.
    require_numbers(scores, network.adapter.name)
    return scores


def _foremost_tile(
    network: PixelModel,
    image: Image.Image,
    boxes: Sequence[Box],
    names: Sequence[str],
    label: str | None,
    background: str | None,
) -> tuple[Box, str]:
    """Return the tile with most of a class, and the class: the label, or what is foremost in the whole image."""
    # Tile by tile: all of them would fill the memory.
    found = torch.cat([_scores_of(network, network.encode([image.crop(box)])) for box in boxes])  # (T, C)
    target = names.index(label) if label is not None else _foremost(found.mean(dim=0), names, background)
    return boxes[int(found[:, target].argmax())], names[target]


def _around(
    region: tuple[float, float, float, float], boxes: Sequence[Box], size: tuple[int, int]
) -> tuple[Box, tuple[float, float, float, float]]:
    """Return the tile in whose middle a region of the image lies most nearly, and the region as shares of the tile's
    sides."""
    width, height = size
    ends = [share * side for share, side in zip(region, (width, height) * 2, strict=True)]
    x, y = (ends[0] + ends[2]) / 2, (ends[1] + ends[3]) / 2
    box = min(boxes, key=lambda one: max(abs((one[0] + one[2]) / 2 - x), abs((one[1] + one[3]) / 2 - y)))
    sides = box[2] - box[0], box[3] - box[1]
    left, top, right, bottom = (
        min(max((end - start) / side, 0.0), 1.0) for end, start, side in zip(ends, box[:2] * 2, sides * 2, strict=True)
    )
    return box, (left, top, right, bottom)


def _foremost(scores: Tensor, names: Sequence[str], background: str | None) -> int:
    """Return the place of the highest score (C,), of a segmenter the largest share; the background's only where there
    is nothing else."""
    others = scores.clone()
    if background in names:
        others[names.index(background)] = 0
    return int(others.argmax() if others.any() else scores.argmax())


def _explained_image(
    network: PixelModel,
    spot: Spot,
    names: Sequence[str],
    pixels: Tensor,
    scores: Tensor,
    target: int,
    method: str,
    *,
    truth: bool,
) -> ImageExplanation:
    score = float(scores[target])
    found = class_maps(network, pixels, [target], method, spot)[0]
    # A blank map names no place that could be taken away.
    tested = faithfulness(network, pixels, found, target) if truth and not is_blank(found) else None
    return ImageExplanation(names[target], score, found, network.seen(pixels)[0], method_for(method, spot), tested)


def _require_region(model: Predictor | DualPredictor, region: tuple[float, float, float, float]) -> None:
    """Return if a part of an image may be asked about.

    Raises:
        RecipeError: the model gives no class to each pixel, or the part is none.
    """
    if not isinstance(model, Predictor) or not model.task.has_maps:
        raise RecipeError(must_be("the region", "left out for a model that makes no masks", list(region)))
    left, top, right, bottom = region
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        allowed = "left, top, right and bottom as shares of the image's sides, such as 0.2,0.4,0.5,0.9"
        raise RecipeError(must_be("the region", allowed, list(region)))


def _asked(model: Predictor | DualPredictor, labels: Sequence[str]) -> tuple[PixelModel, list[str]]:
    """Return the network that is asked, and the names of its logits."""
    if isinstance(model, Predictor):
        if labels:
            raise RecipeError(must_be("labels", "left out for a model with classes of its own", some_of(labels)))
        return PixelModel(model.source), list(model.class_names)
    from hftransfer.adapters.towers import ImageTowerAdapter
    from hftransfer.tasks.prompts import require_labels

    # One label alone is allowed here: the map then shows what raises its cosine.
    names = require_labels(labels) if len(labels) > 1 else list(labels)
    if not names:
        remedy = 'For example "a photo of a cat,a photo of a dog".'
        raise RecipeError(must_be("the labels", "given for a dual encoder", "none", remedy))
    model.dual.require_towers("image")
    texts = torch.from_numpy(model.embed_texts(names))
    if len(names) > 1:
        # What all prompts share ("a photo of a …") speaks for none of them: less their mean, a prompt's similarity is
        # its difference from the mean of the others' but for a factor, and probabilities are as before.
        texts = texts - texts.mean(dim=0)
    return PixelModel(ImageTowerAdapter(model.dual.tower("image"), model.dual), texts, model.dual.scale), names


def some_of(labels: Sequence[str]) -> str:
    """Return the labels in quotes."""
    return ", ".join(f"'{label}'" for label in labels[:5])


def _explained_texts(
    model: Predictor, inputs: Sequence[Any], label: str | None
) -> Iterator[TextExplanation | DataError]:
    names = list(model.class_names)
    if label is not None and label not in names:
        raise RecipeError(must_be("the label", "one of the model's", f"'{label}'", nearest(label, names)))
    for given, prediction in zip(inputs, model.predict_each(inputs), strict=True):
        if isinstance(prediction, DataError):
            yield prediction
            continue
        assert not isinstance(prediction, Answer)
        # Of what is like none of the classes the likeliest of them is explained, as of images.
        likeliest = next(iter(prediction.best_first().scores))
        chosen = label or (prediction.label if prediction.label in names else likeliest)
        found = attribute_words(model.source, given, names.index(chosen), max_tokens=model.facts.max_tokens)
        yield TextExplanation(chosen, prediction.scores[chosen], found)


def _explained_entities(
    model: Predictor, inputs: Sequence[Any], label: str | None
) -> Iterator[EntitiesExplanation | DataError]:
    """Yield what speaks for the tag that begins each entity of a text: all of them, or those of a type."""
    names, most = list(model.class_names), model.facts.max_tokens
    adapter = cast("TextAdapter", model.source)
    tags = {tag: place for place, tag in reversed(list(enumerate(names)))}
    of_type = {parted(tag)[1]: place for tag, place in tags.items() if tag != OUTSIDE}  # B- stands before I-
    if label is not None and label not in of_type:
        raise RecipeError(must_be("the label", "one of the model's types", f"'{label}'", nearest(label, of_type)))
    for given, found in zip(inputs, model.predict_each(inputs), strict=True):
        if isinstance(found, DataError):
            yield found
            continue
        assert isinstance(found, Entities)
        text = given if isinstance(given, str) else " ".join(given)
        chosen = [one for one in found.entities if label in (None, one.label)]
        yield EntitiesExplanation(
            tuple(
                EntityExplanation(one, attribute_tag(adapter, text, of_type[one.label], one.start, max_tokens=most))
                for one in chosen
            )
        )


def _explained_answers(
    model: Predictor, questions: Sequence[Any], label: str | None
) -> Iterator[AnswerExplanation | DataError]:
    if label is not None:
        raise RecipeError(must_be("the label", f"left out for {model.takes}", f"'{label}'"))
    for place, given in enumerate(questions):
        if isinstance(given, DataError):
            yield given
            continue
        try:
            found = model.spans_of(given, place)
        except DataError as error:
            yield error
            continue
        answer = Answer(found.answer, found.score, found.start, found.end)
        yield AnswerExplanation(given["question"], given["context"], answer, found.alternatives)


def _explained_prompts(
    model: Predictor, inputs: Sequence[Any], part: str | None
) -> Iterator[GenerationExplanation | DataError]:
    """Yield what speaks for the text that is written after each prompt, or for a part of it."""
    adapter = cast("CausalAdapter", model.source)
    template = template_of(adapter, model.data_settings())
    for place, (given, found) in enumerate(zip(inputs, model.predict_each(inputs), strict=True)):
        if isinstance(found, DataError):
            yield found
            continue
        assert isinstance(found, Generation)
        try:
            row = model.task.row_of(given, place)
            prompt = template.placed(cast("Dialogue", row.content).prompt, row.id)
            # Of a text without a token the end is explained.
            answer = found.tokens or template.stops[:1]
            first, end = _tokens_of(template, answer, part, row.id)
        except DataError as error:
            yield error
            continue
        attributed = attribute_answer(adapter, prompt, answer[:end], first)
        text = found.text if part is None else part
        yield GenerationExplanation(text, attributed.score, attributed)


def _tokens_of(template: Template, ids: Sequence[int], part: str | None, where: str) -> tuple[int, int]:
    """Return the first token, and the one behind the last, in which a part of a text is that was written.

    Raises:
        DataError: it is not in the text.
    """
    if part is None:
        return 0, len(ids)
    so_far = [str(template.tokenizer.decode(list(ids[:count]))) for count in range(len(ids) + 1)]
    start = so_far[-1].find(part)
    if start < 0 or not part:
        raise DataError(must_be(f"{where}: the part to explain", f"in '{so_far[-1][:200]}'", f"'{part}'"))
    first = max(count for count, text in enumerate(so_far) if len(text) <= start)
    return first, next(count for count, text in enumerate(so_far) if len(text) >= start + len(part))
