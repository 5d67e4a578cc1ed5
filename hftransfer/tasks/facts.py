"""What a model folder says of its model beyond the native files, in `hftransfer.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from hftransfer.adapters.parts import Parts
from hftransfer.base.errors import must_be, some
from hftransfer.data.settings import COLUMNS_OF_ROWS, NamedColumns
from hftransfer.metrics.familiarity import Familiarity
from hftransfer.tasks import head_tasks

OF_DRAWINGS = (
    "it learned from drawings of cats and dogs made by code (bundled/drawn-pets), for a first run without a download: "
    "on photos it is wrong about as often as right, and sure all the same"
)
_MOST_TOKENS = 1 << 24
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

_Byte = Annotated[int, Field(ge=0, le=255)]


def _black_below_white(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] >= value[1]:
        raise ValueError(must_be("pixels", "the values of black and of white, the smaller one first", list(value)))
    return value


_Pixels = Annotated[tuple[_Finite, _Finite], AfterValidator(_black_below_white)]


def _of_rows(value: NamedColumns) -> NamedColumns:
    for setting, named in value.items():
        if setting not in COLUMNS_OF_ROWS or isinstance(named, str) is (setting == "label_columns"):
            raise ValueError(must_be("columns", f"by settings of columns ({some(COLUMNS_OF_ROWS, 3)})", setting))
    return value


_Columns = Annotated[NamedColumns, AfterValidator(_of_rows)]


class DualFacts(BaseModel):
    """The facts that the folder of a dual encoder tells beyond the native files, where there are any."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    task: Literal["image-text"] = "image-text"
    columns: _Columns = Field(default_factory=dict)
    """As those of `ModelFacts`."""
    pixels: _Pixels | None = None
    """The range of values of the deep greyscale images that it learned from."""


def is_of_dual(said: Mapping[str, object]) -> bool:
    """Return whether what `hftransfer.json` says is of a dual encoder, which has no head of ours."""
    return said.get("task") == DualFacts().task


class ModelFacts(BaseModel):
    """The facts that a model folder's `hftransfer.json` tells beyond the native files."""

    model_config = ConfigDict(frozen=True, extra="ignore", arbitrary_types_allowed=True)

    task: str = "image-classification"
    pooling: Literal["native", "mean", "cls", "last", "embedding", "dense"] = "native"
    class_names: tuple[str, ...] = ()
    max_tokens: int | None = Field(None, ge=1, le=_MOST_TOKENS)
    stride_tokens: int | None = Field(None, ge=0, le=_MOST_TOKENS)
    template: str | None = None
    """Of texts that are written: what a prompt is put into; None for the tokenizer's chat template, or a plain one."""
    loss_on: Literal["completion", "all"] = "completion"
    """Of texts that are written: what was learned, and is judged."""
    max_new_tokens: int = Field(128, ge=1, le=1 << 16)
    """Of texts that are written: after so many tokens each ends."""
    null_threshold: float | None = Field(None, allow_inf_nan=False)
    thresholds: dict[str, _Share] | None = None
    """Of several labels: from which probability on each is given."""
    conformity: tuple[_Share, ...] | None = Field(None, min_length=201, max_length=201)
    """Of one label: the least probability of a set's labels after the likeliest, for coverages of 0, 0.005, … 1."""
    at_least_one: bool = False
    """Of several labels: whether one is given where none reaches its threshold."""
    mask_values: dict[str, int] | None = None
    """Of masks: the value that stands for each class, as in training."""
    mask_colors: dict[str, tuple[_Byte, _Byte, _Byte]] | None = None
    """Of coloured masks: the colour of each class in training."""
    background: str | None = None
    """Of masks: the class of more than half of all pixels, where there is one; nobody asks why it is there."""
    size: tuple[int, int] | None = None
    """Of masks: the height and width that images are brought to."""
    maps: Literal["blocks", "timm", "open_clip", "pyramid", "tokens"] | None = None
    """Of a linear layer on maps: how those of its backbone are found."""
    tile: int | None = Field(None, ge=1, le=1 << 16)
    """Of masks: the edge of the squares that larger images are cut into."""
    half_width: float | None = Field(None, ge=0, allow_inf_nan=False)
    """Of numbers: how far from an estimate its interval reaches."""
    coverage: float | None = Field(None, gt=0, lt=1)
    """Of numbers: how often the interval should hold the true one."""
    pair: Literal["joint", "features"] = "joint"
    """Of pairs of texts: whether both enter the network together, or each by itself, and their features the head."""
    pairs: bool | None = None
    """Of texts: whether they were pairs in training."""
    columns: _Columns = Field(default_factory=dict)
    """The columns with inputs and targets that its recipe named, by setting: other tables are read by them, too."""
    pixels: _Pixels | None = None
    """The range of values of the deep greyscale images that it learned from."""
    data: str | None = None
    """What it learned from, where that comes with the package: `bundled/drawn-pets`, say."""
    own_head: str | None = None
    """Of a head of a person's own: the class of the module, which must be given again."""
    merge: bool = False
    """Of LoRA: whether the merged model is wanted too."""
    problem_type: Literal["single_label_classification", "multi_label_classification", "regression"] | None = None
    """Of an adapter that plain peft wrote: what its head is for, as the base model's configuration says."""
    base: dict[str, str | None] | None = None
    """Of LoRA: the base model's name, revision and weights' SHA-256, and the path of one in a local folder: here the
    whole path, in the file the way to it from the model's folder, which tells nothing else of a person's disk."""

    parts: Parts | None = None
    """The parts of the native model, by name: loaded, it need not be tried out again."""
    familiarity: Familiarity | None = Field(None, exclude=True, repr=False)
    """What the features of training examples look like; in a file of its own, `features.safetensors`."""

    @field_validator("task")
    @classmethod
    def _has_a_head(cls, value: str) -> str:
        names = [task.name for task in head_tasks()]
        if value not in names:
            raise ValueError(must_be("task", " or ".join(names), f"'{value}'"))
        return value
