"""The `train:` part of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from hftransfer.base.errors import must_be
from hftransfer.base.plain import changed

Schedule = Literal["cosine", "linear", "constant"]
LossName = Literal["infonce", "sigmoid"]
Tracker = Literal["tensorboard", "wandb", "trackio", "comet_ml", "mlflow", "clearml", "dvclive", "swanlab"]
"""Experiment trackers, by the names of their packages."""

_OF_STEPS = (
    *("epochs", "batch_size", "micro_batch_size", "tokens_per_batch", "micro_tokens", "optimizer", "momentum"),
    *("weight_decay", "warmup", "schedule", "ema", "average_epochs", "metric", "max_grad_norm", "loss"),
    *("label_smoothing", "patience", "compile", "checkpoint_every_steps"),
)


def _listed(value: object) -> object:
    """Return a list of one where a name alone is given."""
    return [value] if isinstance(value, str) else value


class TrainSettings(BaseModel):
    """How the computation goes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(
        0, ge=0, lt=2**32, description="drives the split of the data, the order of examples and all that is random"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto is bf16 where the hardware computes it faster, fp16 on older GPUs, else fp32"
    )
    inference_batch_size: int | None = Field(
        None,
        ge=1,
        le=65_536,
        description="examples per forward pass of the frozen part; 16 on CPU and 128 on GPU if left out",
    )
    cache: Literal["auto", "on", "off"] = Field(
        "auto",
        description="keep the frozen part's activations in the cache folder for later epochs and runs; auto does so "
        "unless they are too many for the disk, off keeps nothing after the run",
    )
    epochs: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="passes over the training split; if left out 5, or as many as make 40 steps (at most 20) where "
        "training begins with a solved head; 30 for a stepped probe",
    )
    batch_size: int = Field(32, ge=1, le=65_536, description="examples per step")
    micro_batch_size: int | None = Field(
        None,
        ge=1,
        le=65_536,
        description="examples of a step that go through the network at once, the gradients summed; all of them if left "
        "out, and fewer where memory does not suffice",
    )
    tokens_per_batch: int | None = Field(
        None,
        ge=1,
        description="of texts: a step takes examples of like length that fill so many tokens, padding counted, and not "
        "batch_size of them",
    )
    micro_tokens: Literal["auto"] | Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="of texts: so many tokens of a step go through the network at once, padding counted, the gradients "
        "summed; auto is 384 on CPU, and all of them elsewhere",
    )
    packing: bool = Field(
        False,
        description="of text-generation: the texts of a pass lie in one row without padding, each for itself; dropout "
        "then differs with micro_tokens and the number of processes",
    )
    calibrate: bool = Field(
        True,
        description="whether logits of classes are divided by a temperature, in the head itself, "
        "where that surely lowers the log loss of examples left out; labels stay as they are",
    )
    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="what steps")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    weight_decay: float = Field(0.01, ge=0, description="norms and biases have none")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps in which the learning rate rises")
    schedule: Schedule = Field("cosine", description="how the learning rate falls afterwards")
    ema: float | None = Field(
        None, gt=0, lt=1, description="judge and keep an exponential moving average of the weights, such as 0.999"
    )
    average_epochs: bool = Field(
        True,
        description="where training begins with a solved head: keep the mean of the weights of all epochs and of that "
        "start, later epochs counting more, unless validation says surely that the best epoch is better; false always "
        "keeps the best epoch",
    )
    refit: Literal["auto"] | bool = Field(
        "auto",
        description="train once more, on the training and the validation split together, with what validation chose "
        "(epochs, L2 strength): worth its time where examples are few; auto does so with objective: contrastive",
    )
    metric: str | None = Field(
        None, description="the validation metric that chooses the best epoch; accuracy or f1 if left out"
    )
    max_grad_norm: float = Field(1.0, gt=0, description="longer gradients are clipped to this norm")
    loss: str | None = Field(
        None,
        min_length=1,
        description="of image-text: infonce as CLIP was trained (if left out), or sigmoid as SigLIP was; of numbers: "
        "mse (if left out), or huber, which large errors pull less; of pixels: ce+dice (if left out), ce, dice, focal",
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the target spread over all classes")
    class_weights: Literal["none", "auto"] | dict[str, float] = Field(
        "none",
        description="auto weighs classes by the inverse of their frequency in the training split; {cat: 1, dog: 3.5} "
        "says how much each counts, those not named 1",
    )
    patience: Literal["auto"] | Annotated[int, Field(ge=1)] | None = Field(
        "auto",
        description="stop after so many epochs without a better validation score; null never stops early; auto is 3, "
        "but null where training begins with a solved head and fewer than 100 examples validate",
    )
    trackers: Annotated[tuple[Tracker, ...], BeforeValidator(_listed)] = Field(
        (), description="experiment trackers that are told what is measured, such as [tensorboard]"
    )
    compile: bool = Field(
        False, description="compile the learning stages (torch.compile): worth its first minute in long runs"
    )
    checkpoint_every_steps: int | None = Field(None, ge=1, description="write a checkpoint after so many steps")
    checkpoint_every_minutes: float | None = Field(
        10.0, gt=0, description="write a checkpoint after so many minutes; null for none"
    )
    keep_checkpoints: int = Field(2, ge=1, le=1000, description="how many of the newest checkpoints are kept")
    distributed: Literal["ddp", "fsdp"] = Field(
        "ddp",
        description="of several processes: each holds all that learns, or (fsdp) its share of weights, gradients and "
        "optimiser state, where they do not fit one device",
    )
    augment: Literal["none", "light", "strong"] = Field(
        "none", description="random changes of training images: light crops and mirrors, strong adds RandAugment"
    )
    mixup: float | None = Field(
        None, gt=0, description="mix training images and their labels; α of the shares, such as 0.2"
    )
    cutmix: float | None = Field(None, gt=0, description="paste parts of training images into others; α, such as 1.0")
    views: int | None = Field(
        None,
        ge=1,
        le=64,
        description="with augment: keep this many augmented views of each image instead of new ones; 4 if left out for "
        "a solved head",
    )

    @property
    def of_steps(self) -> dict[str, object]:
        """The settings of training in steps that are not the usual ones, by name."""
        return changed(self, _OF_STEPS)

    @property
    def mixes(self) -> bool:
        """Return whether the images of a batch are mixed with each other."""
        return self.mixup is not None or self.cutmix is not None

    @field_validator("class_weights", mode="before")
    @classmethod
    def _sound_weights(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        allowed = "positive numbers by the names of classes, as in {cat: 1, dog: 3.5}"
        for name, weight in value.items():
            is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
            if not is_number or not 0 < weight < float("inf"):
                raise ValueError(must_be("the weights", allowed, f"{name}: {weight}"))
        if not value:
            raise ValueError(must_be("the weights", allowed, "none"))
        # YAML reads names such as 0 as numbers.
        return {str(name): weight for name, weight in value.items()}
