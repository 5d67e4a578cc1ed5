"""The Adapter contract: one pretrained model with its processor, split at a boundary between frozen and learning."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from hftransfer.adapters.anatomy import Inputs, Trace
from hftransfer.adapters.families import FAMILIES, Modality
from hftransfer.adapters.heads import Head, save_head
from hftransfer.adapters.libraries import FAULTS_OF_MODELS, quiet_peft, quiet_transformers
from hftransfer.adapters.lora import LoraLayers, save_matrices
from hftransfer.adapters.own_head import OwnHead
from hftransfer.adapters.parts import Parts
from hftransfer.adapters.scoring import ExactLinear, Scoring, names_of, scoring_of
from hftransfer.adapters.split import Activations, SplitModel
from hftransfer.base.errors import ModelError, first_line, must_be

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import BaseImageProcessor, PreTrainedModel, PreTrainedTokenizerBase

    from hftransfer.adapters.heads import HeadLayer

__all__ = ["Activations", "Adapter", "Pooling", "parameter_counts"]

_STAGE_LISTS = ("layers", "layer", "stages", "blocks", "h", "resblocks")


class Adapter(ABC):
    """One native pretrained model with its processor, and its split into stages and a head (see `SplitModel`)."""

    modality: ClassVar[Modality]
    carried: ClassVar[tuple[str, ...]] = ()
    """The inputs that cross each boundary beside the hidden state."""
    notes: tuple[str, ...] = ()
    """What a person should know of how the model was loaded."""
    takes_own_head: ClassVar[bool] = True
    """Whether a head of a person's own can be saved beside its network."""
    joins_stages: ClassVar[bool] = False
    """Whether the head reads several stages, so that no one map crosses a boundary between them."""
    keeps_in_16_bits: ClassVar[bool] = False
    """Whether features are stored in bfloat16: maps have many, and are no solution to the last digit."""

    model: PreTrainedModel
    """The network that is trained and saved; a network of ours has the same attributes."""
    processor: BaseImageProcessor | PreTrainedTokenizerBase
    known: Parts | None = None
    """What is known of the model's parts before they are asked for: then nothing is tried out."""

    def __init__(
        self,
        model: PreTrainedModel,
        processor: BaseImageProcessor | PreTrainedTokenizerBase,
        head: Head,
        name: str = "",
        family: str = "",
    ) -> None:
        self.model = model.eval()
        self.head_port = head
        self.processor = processor
        self.name = name or type(model).__name__
        self.family = family
        self.peft: PeftModel | None = None
        self.fresh: frozenset[str] = frozenset()
        """The names of parameters that the checkpoint did not give: they are new."""
        self._as_one_stage = False

    # --- what each modality and library says for itself ---

    @abstractmethod
    def encode(self, examples: Sequence[Any]) -> Inputs:
        """Return what the model takes, from raw examples (images or texts)."""

    @abstractmethod
    def processor_settings(self) -> dict[str, object]:
        """Return everything that shapes `encode`, as plain values: part of the key of stored activations."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the native layout: config, safetensors, processor."""

    @abstractmethod
    def save_processor(self, folder: Path) -> None:
        """Write the processor alone."""

    @abstractmethod
    def _sample_inputs(self, count: int) -> Inputs:
        """Return the inputs of one or two small examples, the second larger if examples have sizes."""

    def with_model(self, model: nn.Module) -> Self:
        """Return the same adapter around another copy of its model (on another device, in another precision)."""
        # Not by __init__, which would compare the split with the whole model again.
        other = object.__new__(type(self))
        other.__dict__ |= self.__dict__ | {"model": model}
        # Its parts are those of this model: one pass shows whether it runs, none is needed to find them.
        other._find_split(self.split.parts())
        other.split.require_pass()
        return other

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes in the order of the logits."""
        return names_of(self.model.config.id2label)

    @property
    def problem_type(self) -> str | None:
        """The purpose of the head by the name that the model's configuration gives it, if it gives one."""
        found = getattr(getattr(self.model, "config", None), "problem_type", None)
        return found if isinstance(found, str) else None

    @property
    def scoring(self) -> Scoring:
        """The function that makes scores of the logits."""
        config = getattr(self.model, "config", None)
        return scoring_of(config, self.outputs) if config is not None else "softmax"

    @property
    def outputs(self) -> int:
        """How many logits the head gives."""
        return self.head_port.outputs(self.model.config)

    # --- the split ---

    @cached_property
    def split(self) -> SplitModel:
        """The model told apart into stages and a head; it is looked at when this is first asked for.

        Raises:
            ModelError: it can't be told apart.
        """
        self._find_split(self.known)
        if not self.split.is_known:
            self._require_split()
        return self.split

    def require_parts(self) -> None:
        """Return if the model can be told apart into stages and a head.

        Raises:
            ModelError: it can't.
        """
        _ = self.split

    def _find_split(self, known: Parts | None = None) -> None:
        """Find stages and head by watching one small example go through the model.

        Raises:
            ModelError: the model takes more than this example, or its head is not one linear layer at the end.
        """
        stages = [] if self._as_one_stage else self._find_stages()
        self.split = SplitModel(
            self.model, stages, self.head_port, self.outputs, self.sample_inputs, self.carried, self.name, known
        )
        if self.scoring == "none" and type(self.split.head) is nn.Linear:
            self.split.head.__class__ = ExactLinear

    def _require_split(self) -> None:
        """Compare a model of a family that isn't known, split at boundaries, with itself as a whole.

        Where the two differ, all of it becomes one stage.

        Raises:
            ModelError: not even its head can be told apart.
        """
        if self._is_known or self.split.holds():
            return
        self._as_one_stage = True
        self._find_split()
        if not self.split.holds():
            kind = getattr(self.model, "timm_model", self.model)
            got = f"{type(kind).__name__}, which makes its logits in another way than by one linear layer"
            raise self.split.unfit("one that can be split below its head", got)

    @property
    def _is_known(self) -> bool:
        family = FAMILIES.get(self.family)
        return family is not None and bool(family.stages)

    def _find_stages(self) -> list[nn.Module]:
        """Return the stages of a known family; else the longest list of blocks."""
        return stages_of(getattr(self.model, "base_model", self.model), self.family)

    def sample_inputs(self, count: int) -> Inputs:
        """Return the inputs of one or two small examples on the model's device, pixels in its precision."""
        parameter = next(self.model.parameters())
        return {
            name: tensor.to(parameter.device, parameter.dtype if tensor.is_floating_point() else tensor.dtype)
            for name, tensor in self._sample_inputs(count).items()
        }

    @property
    def stages(self) -> list[nn.Module]:
        """The stages from input to output; unfreezing counts from the end."""
        return self.split.stages

    @property
    def head(self) -> HeadLayer:
        """The layer that gives the logits: features (B, D) to (B, C), of tokens (B, T, D) to (B, T, C)."""
        return self.split.head

    @property
    def trace(self) -> Trace:
        """The record of one small example on its way through the model."""
        return self.split.trace

    def below(self, inputs: Inputs, boundary: int) -> Activations:
        """Return the activations at the boundary: what the frozen part makes of the inputs."""
        return self.split.below(inputs, boundary)

    def above(self, activations: Activations, boundary: int) -> Tensor:
        """Return the logits (B, C), of tokens (B, T, C), from activations at the boundary."""
        return self.split.above(activations, boundary)

    def features(self, inputs: Inputs) -> Tensor:
        """Return what enters the head: (B, D), of tokens (B, T, D)."""
        return self.below(inputs, len(self.stages))["hidden"]

    def logits_and_features(self, activations: Activations, boundary: int) -> tuple[Tensor, Tensor]:
        """Return the logits, and what enters the head, from activations at the boundary."""
        with self.split.entering_head() as features:
            logits = self.split.above(activations, boundary)
        return logits, features[0]

    def hidden_shape(self, boundary: int) -> tuple[int, ...]:
        """Return the shape of one example's hidden state at a boundary, -1 standing for the number of tokens."""
        with torch.no_grad():
            hidden = self.below(self.sample_inputs(1), boundary)["hidden"]
        # Texts differ in length, so the number of tokens is no part of the shape.
        per_token = self.modality == "text" and hidden.ndim == 3
        return (-1, *hidden.shape[2:]) if per_token else tuple(hidden.shape[1:])

    def computed_from(self, boundary: int) -> int:
        """Return the boundary from which on training computes anew, what lies below another one being frozen."""
        return 0 if self.joins_stages and boundary < len(self.stages) else boundary

    def learning_buffers(self) -> dict[str, Tensor]:
        """Return the running statistics that training changes, by name."""
        return {}

    def learn_mode(self, boundary: int, *, on: bool) -> None:
        """Switch the modules above the boundary to train mode, BatchNorm aside, or all to eval mode."""
        self.split.learn_mode(boundary, on=on)

    def depth_of(self) -> dict[nn.Parameter, int]:
        """Return each parameter's distance from the head in stages: 0 for the head, len(stages) for the first."""
        return self.split.depth_of()

    # --- the head ---

    @property
    def head_is_linear(self) -> bool:
        """Return whether the head is one linear layer from pooled features (B, D) to the logits, and can be solved."""
        return self.split.head_is_direct and self.head_port.is_solvable(self.head, self.split.features_shape)

    @property
    def last_layer_is_solvable(self) -> bool:
        """Return whether the last layer makes the logits of what enters it, (B, D) or of tokens (B, T, D), with a bias;
        other layers of the head may lie below it."""
        is_fit = self.head_port.of_tokens or self.head_port.is_solvable(self.head, self.split.features_shape)
        return self.split.head_gives_logits and is_fit and self.head.bias is not None

    @property
    def head_is_direct(self) -> bool:
        """Return whether the head's outputs are the logits, of whatever shape the features are."""
        return self.split.head_is_direct and self.head.bias is not None

    def begin_head(self) -> None:
        """Give the head new random weights."""
        self.head_port.begin(self.head)

    def set_head(self, weight: Tensor, bias: Tensor) -> None:
        """Set the head to the linear map with this weight (C, D) and bias (C,)."""
        self.head_port.set(self.head, weight, bias)

    def put_head(self, module: nn.Module) -> None:
        """Put a copy of a person's own module in the place of the last layer.

        Raises:
            ModelError: it does not make logits of what enters the head, or the model's format has no room for it.
        """
        if not self.takes_own_head:
            remedy = "Put it at the end of the network itself."
            allowed = "one of transformers, timm or open_clip, with a head of your own"
            raise ModelError(must_be(f"model '{self.name}'", allowed, self.family, remedy))
        own = OwnHead(module, self.outputs)
        own.require_fit(self.trace.features)
        # No weight of the layer that it replaces is waited for.
        self.fresh = frozenset(name for name in self.fresh if not name.startswith(f"{self.head_name}."))
        owner, _, name = self.head_name.rpartition(".")
        setattr(self.model.get_submodule(owner), name, own)
        self._find_split()
        note = f"the head is an object of yours ({own.kind}): only its weights are saved, so it must be given again"
        self.notes = (*self.notes, note)

    @property
    def own_head(self) -> OwnHead | None:
        """The head of a person's own, where it has one."""
        return self.head if isinstance(self.head, OwnHead) else None

    @property
    def head_name(self) -> str:
        """The full name of the head in the model."""
        found: str = next(name for name, module in self.model.named_modules() if module is self.head)
        return found

    def write_network(self, folder: Path) -> None:
        """Write config and safetensors of the network; a head of a person's own lies in `head.safetensors`."""
        with quiet_transformers():
            state = self.tensors()
            if self.own_head is not None:
                before = f"{self.head_name}."
                state = {name: tensor for name, tensor in state.items() if not name.startswith(before)}
            self.model.save_pretrained(folder, state_dict=state)
        if self.own_head is not None:
            save_head(self.own_head, folder)

    def tensors(self) -> dict[str, Tensor]:
        """Return the network's tensors by name, as they are written."""
        found: dict[str, Tensor] = self.model.state_dict()
        return found

    def head_names(self) -> list[str]:
        """Return the full names of what is new: the parts of the head, and a pooler that the checkpoint lacks."""
        return self.split.new_modules(self.fresh)

    # --- LoRA ---

    @property
    def lora(self) -> LoraLayers:
        """The layers that LoRA can go to."""
        return LoraLayers(self.split, self.family)

    def add_lora(self, settings: Mapping[str, object], seed: int = 0) -> None:
        """Put peft's matrices beside the layers that these settings of a `LoraConfig` name, initialised by the seed.

        Only the matrices and the head learn afterwards.
        """
        self.peft = self.lora.add(settings, seed)
        self.model.eval()
        try:
            self._find_split()
        except ModelError as error:  # its code asks a layer for what peft's layers don't have
            cause = first_line(error.__cause__ or error)
            where, remedy = f"strategy.kind for model '{self.name}'", "Use fine-tune instead."
            raise ModelError(must_be(where, "a strategy that its code supports", f"lora ({cause})", remedy)) from error

    def load_lora(self, folder: Path) -> None:
        """Put the matrices and the head that lie in a folder of peft's into the model.

        Raises:
            ModelError: some of them are not there.
        """
        self.peft = self.lora.load(folder)
        self.model.eval()
        self._find_split()

    def save_lora(self, folder: Path, base: str) -> None:
        """Write peft's layout: matrices and head beside `adapter_config.json`, which names the base model."""
        save_matrices(self.peft, folder, base)
        self.save_processor(folder)

    def merged(self) -> Adapter:
        """Return a copy whose matrices are added into the layers they stand beside: a native model again.

        Raises:
            ModelError: peft can't add them.
        """
        assert self.peft is not None
        try:
            with quiet_peft():
                # Merging changes weights in place: the model itself goes on learning.
                whole = copy.deepcopy(self.peft).merge_and_unload()
        except FAULTS_OF_MODELS as error:  # DLA has a part with a name that peft gives its own layers
            allowed = "one whose matrices peft merges"
            raise ModelError(must_be(f"model '{self.name}'", allowed, f"an error ({first_line(error)})")) from error
        return self.with_model(whole)


def parameter_counts(model: nn.Module) -> dict[str, int]:
    """Return how many parameters a model has, and how many of them learn."""
    total = sum(parameter.numel() for parameter in model.parameters())
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return {"total": total, "trainable": trainable}


Pooling = Literal["native", "mean", "cls", "last", "embedding", "dense"]
"""The features that enter the head: `native`, as the model's own class has it; of texts, their tokens' mean, first or
last; of images, the normalised embedding that a dual encoder makes of them, or (dense) a backbone's maps."""


def stages_of(network: nn.Module, of_family: str) -> list[nn.Module]:
    """Return the stages of a network without its head, as its family has them; else the longest list of blocks."""
    family = FAMILIES.get(of_family)
    if family is not None and family.stages:
        # Some backbones of transformers hold the base model as a part: the shortest way is the model's own.
        ways = [name for name, _ in network.named_modules() if f".{name}".endswith(f".{family.stages}")]
        return list(network.get_submodule(min(ways, key=len, default=family.stages)).children())
    lists = [
        list(module)
        for name, module in network.named_modules()
        if isinstance(module, nn.ModuleList | nn.Sequential) and name.rsplit(".", 1)[-1] in _STAGE_LISTS
    ]
    return max(lists, key=len, default=[])
