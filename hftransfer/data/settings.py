"""The `data:` part of a recipe."""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator

from hftransfer.base.errors import DataError, RecipeError, must_be, nearest, settings_in_words, some
from hftransfer.base.yaml_values import scalar

OR_SKIP = ", or set data.on_error: skip"
OR_MORE_TOKENS = ", or set a larger data.max_tokens"
OR_LESS_STRIDE = " or a smaller data.stride_tokens"
OR_ENCODING = ", or name its encoding, as in data.encoding: latin-1 (or cp1252)"
OR_UTF_16 = ", or set data.encoding: utf-16-le"
BY_MAX_TOKENS, BY_DEFAULT = ", set by data.max_tokens", ", the default of data.max_tokens"
_OF_RECIPES = (OR_SKIP, OR_MORE_TOKENS, OR_LESS_STRIDE, OR_ENCODING, OR_UTF_16, BY_MAX_TOKENS, BY_DEFAULT)
"""Parts of faults of an example that mean a recipe: `of_no_recipe` cuts them out."""
SKIPS = "`data.on_error: skip` leaves such rows out, at most 5 % of all."
"""What a recipe can do about rows that can't be used."""

COLUMNS_OF_ROWS = (
    *("image_column", "mask_column", "caption_column"),
    *("text_column", "text_pair_column", "tokens_column", "question_column", "context_column"),
    *("prompt_column", "messages_column", "completion_column", "references_column"),
    *("label_column", "label_columns", "tags_column", "spans_column", "answers_column"),
)
"""Settings that name where in a table the inputs and targets of rows are."""
NamedColumns = dict[str, str | tuple[str, ...]]
"""Columns by the settings that name them."""
_ONE_OF = (
    {"label_column", "label_columns"},
    {"tags_column", "spans_column"},
    {"text_column", "tokens_column", "prompt_column", "messages_column"},
    {"messages_column", "completion_column"},
)
"""Settings of which a table is read by one: who names it names none of the others."""

Shots = Annotated[int, Field(ge=1)]
Size = Annotated[int, Field(ge=8, le=4096)]


class DataSettings(BaseModel):
    """Where the examples come from and how they become training, validation and test splits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(
        min_length=1,
        description="Hub id, folder of classes (of image or .txt files), CSV / JSONL / Parquet file or folder of such, "
        "or bundled/<name>",
    )
    config: str | None = Field(None, description="configuration of a Hub data set")
    revision: str | None = Field(None, description="branch, tag or commit of a Hub data set")
    streaming: bool = Field(
        False,
        description="of a Hub data set: fetch images when a pass over frozen layers needs them, and keep none on the "
        "disk",
    )
    train_split: str | None = Field(
        None,
        description="name of the training split (found by its usual names if left out); Hub ids take slices",
    )
    validation_split: str | None = Field(None, description="name of the validation split")
    test_split: str | None = Field(None, description="name of the test split")
    image_column: str | None = Field(None, description="column with image paths or images (found if left out)")
    text_column: str | None = Field(None, description="column with texts (found if left out)")
    text_pair_column: str | None = Field(
        None, description="column with the second of two texts (found if left out where it goes with the first)"
    )
    caption_column: str | None = Field(
        None,
        description="column with captions of images, one or a list in each row (caption, captions, text or title if "
        "left out; caption_0, caption_1, … stand for the first)",
    )
    prompt_column: str | None = Field(
        None, description="column with prompts (prompt, instruction, question, … if left out)"
    )
    completion_column: str | None = Field(
        None, description="column with what is to be written (completion, response, output, answer if left out)"
    )
    references_column: str | None = Field(
        None, description="column with other right completions of a prompt, as a list (references if left out)"
    )
    messages_column: str | None = Field(
        None, description="column with conversations, lists of {role, content} (messages if left out)"
    )
    template: str | None = Field(
        None,
        description="of text-generation: what a prompt is put into, as in '{prompt}\\n'; the tokenizer's own chat "
        "template if left out, and '{prompt}\\n' where it has none",
    )
    loss_on: Literal["completion", "all"] = Field(
        "completion", description="of text-generation: whether prompts are learned too"
    )
    max_new_tokens: int = Field(
        128, ge=1, le=1 << 16, description="of text-generation: the longest text that is written for a prompt"
    )
    written: int = Field(
        64, ge=0, description="of text-generation: for so many validation and test prompts texts are written and judged"
    )
    question_column: str | None = Field(None, description="column with questions (question if left out)")
    context_column: str | None = Field(None, description="column with the texts asked about (context if left out)")
    answers_column: str | None = Field(None, description="column with answers as in SQuAD (answers if left out)")
    tokens_column: str | None = Field(None, description="column with lists of words (tokens or words if left out)")
    tags_column: str | None = Field(
        None, description="column with lists of tags, one for each word (ner_tags, tags, labels, … if left out)"
    )
    spans_column: str | None = Field(
        None,
        description="column with the entities of a text as {start, end, label} (entities or spans if left out)",
    )
    label_column: str | None = Field(None, description="column with labels, or numbers (found if left out)")
    labels: Literal["auto", "one", "multi"] = Field(
        "auto",
        description="whether a row has one label, or any number of them (multi): lists, texts such as a|b or a;b, or "
        "label_columns; auto goes by the cells, and says so",
    )
    label_columns: Annotated[list[str], Field(min_length=2)] | None = Field(
        None, description="columns of 0 and 1, one for each label, of rows with any number of labels"
    )
    at_least_one: bool = Field(
        False, description="of several labels: predict the likeliest where none reaches its threshold"
    )
    coverage: float = Field(
        0.9, gt=0, lt=1, description="of numbers: the share of new examples whose number the interval should hold"
    )
    mask_column: str | None = Field(
        None, description="column with the mask of each image (mask, label, annotation, segmentation if left out)"
    )
    mask_template: str | None = Field(
        None, description="how masks are named after their images, as in '{stem}_mask.png'; the same stem if left out"
    )
    classes: str | list[str] | dict[str, Any] | None = Field(
        None,
        description="of masks: the names of values, as a list, a file (classes.txt, JSON with id2label), or a map such "
        "as {0: road, 255: null}, {road: [1, 2]} or {road: '#804080'}",
    )
    ignore_value: Literal["auto", "none"] | int | list[int] = Field(
        "auto",
        description="of masks: values of pixels that count nowhere; auto is 255 where it has no name and others are "
        "there",
    )
    size: Annotated[int, Field(ge=8, le=4096)] | Annotated[list[Size], Field(min_length=2, max_length=2)] | None = (
        Field(
            None,
            description="of segmentation: what images are brought to, as one edge or [height, width]; the model's own "
            "size if left out",
        )
    )
    tile: int | None = Field(
        None,
        ge=32,
        le=8192,
        description="of segmentation: cut larger images into overlapping squares of so many pixels",
    )
    split_column: str | None = Field(
        None,
        description="column that says which split each row is of (found if left out, where its values are train, "
        "validation, test); none passes it over",
    )
    group_column: str | None = Field(
        None,
        description="column that says what a row comes from (a patient, a site, a video): rows of one group are never "
        "in two splits",
    )
    folds: int | None = Field(
        None,
        ge=2,
        le=20,
        description="cross-validation: every example is tested once, by a model of the others; given splits are taken "
        "together, and test_fraction has no meaning. The model that is kept learned from all",
    )
    encoding: str | None = Field(
        None, description="of tables and .txt files, as in latin-1; UTF-8 (or UTF-16 with its mark) if left out"
    )
    max_tokens: int | None = Field(
        None,
        ge=8,
        le=1 << 20,
        description="longest text in tokens (for questions: of one window), special ones counted, within the "
        "model's limit; 512 (384 for questions, 1,024 for text-generation), if left out",
    )
    stride_tokens: int | None = Field(
        None,
        ge=1,
        description="tokens that neighbouring windows of a context share; a third of a window if left out",
    )
    validation_fraction: float = Field(
        0.15,
        gt=0,
        lt=1,
        description="share of the training examples held out where there is no validation split",
    )
    test_fraction: float = Field(
        0.2, ge=0, lt=1, description="share held out where there is no test split; 0 for no test at all"
    )
    limit: int | None = Field(
        None, ge=1, description="use at most this many examples of each class and split (of questions: of each split)"
    )
    shots: Shots | Annotated[list[Shots], Field(min_length=1)] | None = Field(
        None,
        description="learn from so many images or texts of each class, drawn at random (and choose by as many, four at "
        "most, or a quarter beyond 16); several, as in [1, 4, 16], for a curve",
    )
    shot_draws: int = Field(
        3, ge=1, le=100, description="of a curve: how often the examples are drawn, each time with another seed"
    )
    decode: Literal["exact", "draft"] = Field(
        "exact",
        description="draft: JPEG files are scaled down while they are decoded, to twice what the model takes or more: "
        "large photos are read several times as fast, and differ a little from what other programs see",
    )
    on_error: Literal["stop", "skip"] = Field(
        "stop",
        description="what can't be read (an image, a row without a text or label, a question whose answer is not where "
        "it is said to be) stops the run, or is skipped and listed (at most 5 %)",
    )
    max_pixels: int | None = Field(
        None,
        ge=1,
        description="images of more pixels can't be read (see on_error); 178,956,970 if left out. Those of more than "
        "50 million are read reduced",
    )
    allow_outside_paths: bool = Field(False, description="let image paths and links lead out of the folder of the data")

    _learned: NamedColumns = PrivateAttr(default_factory=dict)

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str | None) -> str | None:
        try:
            known = value is None or codecs.lookup(value)._is_text_encoding
        except (LookupError, ValueError):
            known = False
        if not known:
            raise ValueError(must_be("the encoding", "one that Python knows, such as latin-1 or cp1252", f"'{value}'"))
        return value

    @property
    def named_columns(self) -> NamedColumns:
        """The columns with inputs and targets that are named."""
        named = {setting: getattr(self, setting) for setting in COLUMNS_OF_ROWS}
        return {s: value if isinstance(value, str) else tuple(value) for s, value in named.items() if value is not None}

    def after(self, learned: NamedColumns) -> DataSettings:
        """Return the settings by which a model is given other data: the columns that it learned from are read before
        those of usual names, where they are there and the settings name no other."""
        own = self.model_copy()
        own._learned = dict(learned)
        return own

    def of_columns(self, columns: Sequence[str], source: object) -> tuple[DataSettings, list[str]]:
        """Return the settings by which a table with these columns is read, and notes on the columns that the model
        learned from and that are not there."""
        named = set(self.named_columns)
        kept: dict[str, str | list[str]] = {}
        notes = []
        for setting, own in self._learned.items():
            if any(setting in same and named & same for same in _ONE_OF) or setting in named:
                continue
            wanted = [own] if isinstance(own, str) else own
            if there := [column for column in wanted if column in columns]:
                kept[setting] = own if isinstance(own, str) else there
            if absent := [column for column in wanted if column not in columns]:
                told = some(map(repr, absent), 3)
                notes.append(f"{source} has no {told}, where the model learned from: data.{setting} names another")
        read = self.model_copy(update=kept)
        read._learned = {}
        return read, notes

    @property
    def height_and_width(self) -> tuple[int, int] | None:
        """The height and width, in pixels, that images are brought to; None where nobody says."""
        if self.size is None:
            return None
        return (self.size, self.size) if isinstance(self.size, int) else (self.size[0], self.size[1])

    @property
    def numbers_of_shots(self) -> tuple[int, ...]:
        """The numbers of examples of each class that are asked for: none, one, or those of a curve."""
        if self.shots is None:
            return ()
        return (self.shots,) if isinstance(self.shots, int) else tuple(self.shots)


def settings_of(source: str, values: Mapping[str, object]) -> DataSettings:
    """Return the settings of a source, given one by one and not in a recipe.

    Raises:
        RecipeError: some are not as they must be; all of them are told.
    """
    try:
        return DataSettings(**{**values, "source": source})
    except ValidationError as error:
        told = settings_in_words(error.errors(), DataSettings.model_fields, lambda name: f"data.{name}")
        raise RecipeError(*told) from None


def settings_from_words(source: str, given: Sequence[str]) -> DataSettings:
    """Return the settings of a source, given on the command line as `key=value` with keys of the data section.

    Raises:
        RecipeError: some are not as they must be; all of them are told.
    """
    values: dict[str, object] = {}
    faults = []
    for text in given:
        key, equals, value = text.removeprefix("data.").partition("=")
        if not equals or key not in DataSettings.model_fields or key == "source":
            remedy = nearest(key, DataSettings.model_fields)
            faults.append(must_be("a setting", "key=value with a key of the data section", f"'{text}'", remedy))
        is_list = key in DataSettings.model_fields and value.startswith("[") and value.endswith("]")
        values[key] = [part.strip(" '\"") for part in value[1:-1].split(",")] if is_list else value
        if key in DataSettings.model_fields and value.startswith("{"):
            values[key] = scalar(value)
            if not isinstance(values[key], dict):
                faults.append(must_be(f"data.{key}", "a map, as in {0: road, 255: null}", f"'{value}'"))
    if faults:
        raise RecipeError(*faults)
    return settings_of(source, values)


def of_no_recipe(error: DataError) -> DataError:
    """Return an error of inputs to a trained model, without what only the settings of a recipe can mend."""
    faults = error.faults
    for part in _OF_RECIPES:
        faults = tuple(fault.replace(part, "") for fault in faults)
    return DataError(*faults)
