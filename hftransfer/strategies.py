"""Where the freeze boundary is and what learns above it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple, Protocol, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from hftransfer.base.errors import ModelError, RecipeError, must_be, nearest, settings_in_words, some
from hftransfer.base.plain import JsonObject

if TYPE_CHECKING:
    from torch import nn

    from hftransfer.adapters.base import Adapter

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
PoolingName = Literal["auto", "native", "mean", "cls", "last"]


class Rates(NamedTuple):
    """How fast what learns."""

    learning_rate: float
    """The peak learning rate of the last stage."""
    head_lr: float
    """The head's peak learning rate."""
    layer_decay: float = 1.0
    """The share of the rate above at which each further stage learns."""
    gradual: bool = False
    """Whether one stage more learns at each epoch."""


class Pools(Protocol):
    """The questions that a strategy asks of a task."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def pools_tokens(self) -> bool:
        """Return whether its head may lie on pooled tokens."""

    @property
    def pairs_by_features(self) -> bool:
        """Return whether a linear probe of pairs lies on the features of each text, where nobody says."""

    @property
    def has_maps(self) -> bool:
        """Return whether its head lies on maps of features."""

    @property
    def has_named_head(self) -> bool:
        """Return whether its head may begin with the names of the classes."""


class _Strategy(BaseModel):
    """The settings that all strategies share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pooling: PoolingName = Field(
        "auto",
        description="how a text's tokens become one vector: mean, cls, last, or native (as the model's own class does "
        "it); auto is as sentence-transformers has it of this model, else native, but for a linear probe mean",
    )
    pair: Literal["auto", "joint", "features"] = Field(
        "auto",
        description="of pairs of texts: joint reads both at once (a cross-encoder); features reads each by itself, and "
        "the head has u, v, |u - v| and u · v of their pooled features (a bi-encoder); auto is joint, but features for "
        "a linear probe of numbers",
    )
    head_init: Literal["auto", "solved", "random", "zero-shot"] = Field(
        "auto",
        description="what the head begins as: solved, before the first step, is the linear probe; auto is solved where "
        "the task's head can be, else random; zero-shot, of images and a dual encoder such as CLIP, is made of the "
        "texts that name the classes",
    )

    default_epochs: ClassVar[int] = 5
    head_alone: ClassVar[bool] = False
    """Whether nothing but the head learns."""

    @model_validator(mode="wrap")
    @classmethod
    def _in_words(cls, values: object, validate: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        """Return the strategy; faults of one made in Python are told in the house's form (a recipe tells its own)."""
        try:
            return validate(values)
        except ValidationError as error:
            if info.context is not None:
                raise
            told = settings_in_words(error.errors(), cls.model_fields, lambda name: f"{cls.__name__}({name}=…)")
            raise RecipeError(*told) from None

    @property
    def contrasts(self) -> bool:
        """Return whether what learns are features, by pairs of examples, and the head is solved on them afterwards."""
        return False

    @property
    def freezes_some(self) -> bool:
        """Return whether stages at the bottom stay as they are, so that what they give can be kept."""
        return True

    @property
    def usual_epochs(self) -> int:
        """Return how many passes over the training split are made where nobody says."""
        return 10 if self.contrasts else self.default_epochs

    @property
    def from_zero_shot(self) -> bool:
        """Return whether training begins with what the names of the classes say."""
        return self.head_init == "zero-shot"

    @property
    def begins_solved(self) -> bool:
        """Return whether a head that can be solved is, before the first step."""
        return self.head_init in ("auto", "solved")

    @property
    def _usual_pooling(self) -> Literal["native", "mean"]:
        """How a text is pooled where nobody says: by the mean where its head is solved on features, else as the model's
        own class pools. (Not asked of a model of sentence-transformers, whose way its features were trained for.)"""
        return "mean" if self.head_alone or self.contrasts else "native"

    def pair_for(self, task: Pools, *, pairs: bool) -> Literal["joint", "features"]:
        """Return how the model of a task reads its texts, which are pairs or not.

        Raises:
            RecipeError: single texts, or images, are to be read as pairs.
        """
        if self.pair == "features" and not (task.pools_tokens and pairs):
            raise RecipeError(must_be("strategy.pair", "left out unless the inputs are pairs of texts", "features"))
        if self.pair == "auto":
            return "features" if pairs and task.pairs_by_features and self.head_alone else "joint"
        return self.pair

    def pooling_for(
        self,
        task: Pools,
        own: Literal["mean", "cls", "last"] | None = None,
        pair: Literal["joint", "features"] = "joint",
    ) -> Literal["native", "mean", "cls", "last", "embedding", "dense"]:
        """Return the pooling of a task's model; only text classification pools tokens. Where the recipe leaves it open
        and tokens are pooled, the model's `own` way counts, as sentence-transformers keeps it.

        Raises:
            RecipeError: another task is asked to pool, or to begin with the names of classes.
        """
        if self.pair != "auto" and not task.pools_tokens:
            raise RecipeError(must_be("strategy.pair", f"left out for task {task.name}", self.pair))
        if self.from_zero_shot and not task.has_named_head:
            allowed = f"{'auto, solved' if getattr(task, 'solver', None) else 'auto'} or random for task {task.name}"
            raise RecipeError(must_be("strategy.head_init", allowed, f"'{self.head_init}'"))
        if task.pools_tokens:
            if pair == "features" and self.pooling == "native":
                raise RecipeError(
                    must_be("strategy.pooling", "mean, cls or last with strategy.pair: features", "native")
                )
            usual = own or ("mean" if pair == "features" else self._usual_pooling)
            return usual if self.pooling == "auto" else self.pooling
        if self.pooling not in ("auto", "native"):
            raise RecipeError(must_be("strategy.pooling", f"auto or native for task {task.name}", f"'{self.pooling}'"))
        # A linear layer reads the backbone's maps as they are; a native decoder learns with the stages below it.
        if task.has_maps and self.head_alone:
            return "dense"
        return "embedding" if self.from_zero_shot else "native"


class _Stepped(_Strategy):
    """The settings of strategies that train more than the head."""

    objective: Literal["cross-entropy", "contrastive"] = Field(
        "cross-entropy",
        description="classes by cross-entropy; or contrastive, for a few examples of each: features that lie together "
        "where they are of one class, the head being solved on them afterwards (as in SetFit)",
    )
    interpolate: float | None = Field(
        None,
        gt=0,
        le=1,
        description="share of the learned weights in a mix with those that training began with (WiSE-FT), such as 0.5",
    )

    @property
    def contrasts(self) -> bool:
        """Return whether what learns are features, by pairs of examples, and the head is solved on them afterwards."""
        return self.objective == "contrastive"


class LinearProbe(_Strategy):
    """Freezes the whole pretrained network; only the head learns (one linear layer: solved, not stepped)."""

    kind: Literal["linear-probe"] = "linear-probe"
    l2: Literal["auto"] | Positive = Field(
        "auto", description="L2 strength on standardised features; auto chooses it on the validation split"
    )
    learning_rate: Rate = Field(2e-3, description="peak learning rate of a head that is not one linear layer")

    default_epochs: ClassVar[int] = 30
    head_alone: ClassVar[bool] = True

    interpolate: ClassVar[float | None] = None

    def rates(self, *, gently: bool = False) -> Rates:
        """Return how fast the head learns, which is all that does."""
        del gently
        return Rates(self.learning_rate, self.learning_rate)

    def prepare(self, adapter: Adapter, seed: int = 0) -> int:
        """Return the boundary, at the head: all below it is frozen and in eval mode."""
        del seed  # nothing new is initialised
        boundary = len(adapter.stages)
        adapter.split.freeze_below(boundary)
        return boundary


class FineTune(_Stepped):
    """Trains the head and some of the last stages, or the whole network."""

    kind: Literal["fine-tune"] = "fine-tune"
    unfreeze: Literal["all"] | Annotated[int, Field(ge=1)] | list[str] = Field(
        "all", description="all, how many of the last stages learn, or the names of modules that learn"
    )
    learning_rate: Literal["auto"] | Rate = Field(
        "auto",
        description="peak learning rate of the stages; auto is 1e-4, but 3e-5 for images where training begins with a "
        "solved head",
    )
    head_lr: Rate = Field(1e-3, description="peak learning rate of the head")
    layer_decay: Rate = Field(
        1.0, description="each stage learns at this share of the rate of the stage above it (0.65-0.9 is usual)"
    )
    gradual: bool = Field(False, description="unfreeze one stage more at each epoch, from the head down")

    @property
    def freezes_some(self) -> bool:
        """Return whether stages at the bottom stay as they are, so that what they give can be kept."""
        return self.unfreeze != "all"

    def rates(self, *, gently: bool = False) -> Rates:
        """Return how fast what learns; `gently` where features serve already, and large steps would distort them."""
        usual = 3e-5 if gently else 1e-4
        rate = usual if self.learning_rate == "auto" else self.learning_rate
        return Rates(rate, self.head_lr, self.layer_decay, self.gradual)

    def prepare(self, adapter: Adapter, seed: int = 0) -> int:
        """Return the boundary, below the lowest part that learns.

        Raises:
            RecipeError: there are not so many stages, or no modules of those names.
        """
        del seed  # nothing new is initialised
        stages = len(adapter.stages)
        if self.unfreeze == "all":
            adapter.split.freeze_below(0)
            return 0
        if isinstance(self.unfreeze, list):
            return self._prepare_names(adapter, self.unfreeze)
        # Known when the model is: a recipe alone can't tell how many stages there are.
        if self.unfreeze > stages:
            got = f"{self.unfreeze}"
            allowed = f"all, or a number from 1 to {stages} (the stages of {adapter.name})"
            raise RecipeError(must_be("strategy.unfreeze", allowed, got))
        adapter.split.freeze_below(stages - self.unfreeze)
        return adapter.computed_from(stages - self.unfreeze)

    @staticmethod
    def _prepare_names(adapter: Adapter, names: list[str]) -> int:
        modules: dict[str, nn.Module] = {name: module for name, module in adapter.model.named_modules() if name}
        unknown = [name for name in names if name not in modules]
        if unknown or not names:
            known = [name for name in modules if name.count(".") <= 4]
            got = some(f"'{name}'" for name in unknown) or "none"
            raise RecipeError(
                must_be("strategy.unfreeze", "names of modules", got, nearest((unknown or [""])[0], known))
            )
        idle = [name for name in names if not any(True for _ in modules[name].parameters())]
        if idle:
            raise RecipeError(must_be("strategy.unfreeze", "names of modules with parameters", some(idle)))
        adapter.split.freeze_below(len(adapter.stages))
        for name in names:
            modules[name].requires_grad_(True)
        return adapter.computed_from(adapter.split.lowest_learning())


class Contrastive(FineTune):
    """Trains features by pairs of examples, for a few of each class; the head is solved on them (as in SetFit)."""

    objective: Literal["contrastive"] = "contrastive"


class LoRA(_Stepped):
    """Trains low-rank matrices beside frozen layers, and the head (Hu et al., arXiv 2106.09685)."""

    kind: Literal["lora"] = "lora"
    rank: int = Field(8, ge=1, le=4096, description="rank of the matrices")
    alpha: Positive = Field(16.0, description="their product is scaled by alpha / rank (rsLoRA: alpha / √rank)")
    dropout: float = Field(0.05, ge=0, lt=1, description="dropout before the matrices")
    rslora: bool = Field(False, description="rank-stabilised scaling (Kalajdzievski, arXiv 2312.03732)")
    dora: bool = Field(False, description="magnitude and direction apart (DoRA; Liu et al., arXiv 2402.09353)")
    targets: Literal["auto"] | list[str] = Field(
        "auto", description="names of the layers to adapt; auto takes those of the model's family"
    )
    last: int | None = Field(
        None,
        ge=1,
        description="adapt layers of so many last stages alone: what lies below them is computed once and kept",
    )
    merge: bool = Field(False, description="write the merged native model into the folder merged/ too")
    learning_rate: Rate = Field(5e-4, description="peak learning rate of the matrices")
    head_lr: Rate = Field(1e-3, description="peak learning rate of the head")

    @property
    def freezes_some(self) -> bool:
        """Return whether stages at the bottom stay as they are, so that what they give can be kept."""
        return self.last is not None

    def rates(self, *, gently: bool = False) -> Rates:
        """Return how fast what learns."""
        del gently
        return Rates(self.learning_rate, self.head_lr)

    def prepare(self, adapter: Adapter, seed: int = 0) -> int:
        """Return the boundary, below the lowest stage with an adapted layer; the matrices are in the model afterwards,
        initialised by the seed.

        Raises:
            RecipeError: a target matches no layer.
        """
        names = adapter.lora.modules(None if self.targets == "auto" else self.targets)
        if self.last is not None:
            names = adapter.lora.in_last_stages(names, self.last)
        lowest = adapter.lora.lowest_stage_of(names)
        try:
            adapter.add_lora(
                {
                    "r": self.rank,
                    "lora_alpha": self.alpha,
                    "lora_dropout": self.dropout,
                    "use_rslora": self.rslora,
                    "use_dora": self.dora,
                    "target_modules": names,
                    # peft freezes all else, and a head is new: it learns whole, and lies beside the matrices.
                    "modules_to_save": adapter.head_names(),
                },
                seed,
            )
        except (ValueError, TypeError, NotImplementedError) as error:
            raise ModelError(must_be(f"model '{adapter.name}'", "a model that peft supports", str(error))) from error
        return adapter.computed_from(lowest)


Strategy = Annotated[LinearProbe | FineTune | LoRA, Field(discriminator="kind")]
# Contrastive is a name for people: in a recipe it is fine-tuning with another objective.
STRATEGIES: dict[str, type[LinearProbe] | type[FineTune] | type[LoRA]] = {
    "linear-probe": LinearProbe,
    "fine-tune": FineTune,
    "lora": LoRA,
}
CONTRASTIVE = "contrastive"
_WORDS = {"linear-probe": "a linear probe", "fine-tune": "fine-tuning", "lora": "LoRA"}


def method_in_words(metrics: JsonObject) -> str:
    """Return what a run did, by its metrics."""
    kind: str = metrics["strategy"]
    words = _WORDS.get(kind, kind)
    words = f"{CONTRASTIVE} {words}" if metrics.get("objective") == CONTRASTIVE else words
    return f"{words} (the start is kept)" if start_is_kept(metrics) else words


KEPT_START = "No epoch was better on validation than the start, which was kept."


def start_is_kept(metrics: JsonObject) -> bool:
    """Return whether a run kept what there was before training, by its metrics."""
    return metrics.get("best_epoch") == 0 and not metrics.get("averaged_epochs")


def strategy_of(short: str) -> JsonObject:
    """Return the settings of a strategy written in short: `linear-probe`, `contrastive`, `fine-tune:2`,
    `fine-tune:all`, `lora:8`.

    Raises:
        RecipeError: it is none.
    """
    kind, _, number = short.strip().partition(":")
    known = (*STRATEGIES, CONTRASTIVE)
    if kind not in known:
        allowed = "linear-probe, contrastive, fine-tune[:STAGES] or lora[:RANK]"
        raise RecipeError(must_be("a strategy to compare", allowed, f"'{short}'", nearest_strategy(short, known)))
    if not number:
        return {"kind": "fine-tune", "objective": kind} if kind == CONTRASTIVE else {"kind": kind}
    is_count = number.isdigit() and int(number) > 0
    if kind in ("linear-probe", CONTRASTIVE) or not (is_count or short == "fine-tune:all"):
        allowed = {
            "linear-probe": "linear-probe, without a number",
            CONTRASTIVE: "contrastive, without a number",
            "fine-tune": "fine-tune:all, or fine-tune:N to train the last N stages",
            "lora": "lora:RANK with a rank of 1 or more",
        }[kind]
        raise RecipeError(must_be("a strategy to compare", allowed, f"'{short}'"))
    value: int | str = int(number) if number.isdigit() else number
    return {"kind": kind, ("unfreeze" if kind == "fine-tune" else "rank"): value}


def nearest_strategy(short: str, known: Iterable[str]) -> str:
    """Return which strategy may be meant, with the number that was given: `fine-tune:2` for `finetune:2`."""
    kind, _, number = short.strip().partition(":")
    if kind in known:
        return ""  # the number is wrong
    told = nearest(kind, known)
    # Several may be near.
    return told.replace("'?", f":{number}'?") if number and told.endswith("'?") else told


def in_short(strategy: Strategy) -> str:
    """Return a strategy as `compare` is told it: `linear-probe`, `contrastive`, `fine-tune:2`, `fine-tune:all`,
    `lora:8`; of named stages `fine-tune`."""
    if isinstance(strategy, LoRA):
        return f"{strategy.kind}:{strategy.rank}"
    if isinstance(strategy, FineTune) and not strategy.contrasts:
        return strategy.kind if isinstance(strategy.unfreeze, list) else f"{strategy.kind}:{strategy.unfreeze}"
    return CONTRASTIVE if strategy.contrasts else strategy.kind
