"""The Adapter contract: stages below a head, and a boundary between what is frozen and what learns."""

from __future__ import annotations

import copy
import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from hftransfer.adapters.anatomy import (
    FAULTS_OF_MODELS,
    Inputs,
    Reached,
    Seen,
    alike,
    fed,
    first_tensor,
    first_token_layers,
    first_token_only,
    logits_of,
    outermost,
    passed_over,
    watch,
)
from hftransfer.adapters.families import FAMILIES, GENERAL_LORA, Modality
from hftransfer.adapters.scoring import Scoring, names_of, scoring_of
from hftransfer.errors import ModelError, RecipeError, first_line, must_be, nearest

Activations = dict[str, Tensor]
"""What crosses a boundary: `hidden`, of texts with the tokens beside it; at boundary 0 simply the inputs."""

_STAGE_LISTS = ("layers", "layer", "stages", "blocks", "h", "resblocks")
_HEAD_DEVIATION = 0.02
_BATCH_NORM = nn.modules.batchnorm._BatchNorm


class Adapter(ABC):
    """One native pretrained model with its processor.

    The network is a sequence of `stages` with a `head` on top. A boundary b in 0..len(stages) means that stages
    below b are frozen; b = len(stages) is the boundary at the head, b = 0 the one at the input. What comes before the
    stages (patch or word embeddings) belongs to the first of them, what comes between the last stage and the head (a
    final norm, a pooler) to the last.
    """

    modality: ClassVar[Modality]

    model: Any
    """The `nn.Module` that is trained and saved."""
    processor: Any
    stages: list[nn.Module]
    """From input to output; unfreezing counts from the end."""
    head: nn.Linear
    """The layer that gives the logits: features (B, D) to (B, C), for spans (B, T, D) to (B, T, 2)."""

    def __init__(self, model: Any, processor: Any, name: str = "", family: str = "") -> None:
        self.model = model.eval()
        self.processor = processor
        self.name = name or type(model).__name__
        self.family = family
        self.peft: Any = None
        self.fresh: frozenset[str] = frozenset()
        """The names of parameters that the checkpoint did not give: they are new."""
        self._as_one_stage = False
        self.look()
        self._require_split()

    # --- what each modality and library says for itself ---

    @abstractmethod
    def encode(self, examples: Sequence[Any]) -> Inputs:
        """What the model takes, from raw examples (images or texts)."""

    @abstractmethod
    def processor_settings(self) -> dict[str, Any]:
        """Everything that shapes `encode`, as plain values: part of the key of stored activations."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Nothing; writes the native layout: config, safetensors, processor."""

    @abstractmethod
    def save_processor(self, folder: Path) -> None:
        """Nothing; writes the processor alone."""

    @abstractmethod
    def _trial_inputs(self, count: int) -> Inputs:
        """The inputs of one or two small examples, the second larger if examples have sizes."""

    def twin(self, model: nn.Module) -> Self:
        """The same adapter around another copy of its model (on another device, in another precision)."""
        other = object.__new__(type(self))
        other.__dict__ |= self.__dict__ | {"model": model}
        other.look()
        return other

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes in the order of the logits."""
        return names_of(self.model.config.id2label)

    @property
    def scoring(self) -> Scoring:
        """What becomes of the logits."""
        config = getattr(self.model, "config", None)
        return scoring_of(config, self.outputs) if config is not None else "softmax"

    @property
    def outputs(self) -> int:
        """How many logits the head gives."""
        return len(self.model.config.id2label)

    # --- the anatomy ---

    def look(self) -> None:
        """Nothing; finds head and stages by watching one small example go through the model.

        Raises:
            ModelError: the model takes more than this example, or its head is not one linear layer at the end.
        """
        stages = [] if self._as_one_stage else self._find_stages()
        seen = self._watched(stages)
        in_order = seen.stage_calls == list(range(len(stages)))
        if not stages or not in_order:  # shared or skipped layers: one stage that can only learn as a whole
            stages = [self.model]
            seen = self._watched(stages)
        self.stages = stages
        self._seen = seen
        self.head = self._find_head(seen)
        self._tail = outermost(seen.after_stages)
        base = getattr(self.model, "base_model", None)
        inside = set(base.modules()) if base is not None and base is not self.model else set()
        if self.head in inside or not inside:
            self._head_parts: list[nn.Module] = [self.head]
        else:
            parts = self._tail or outermost([m for m in self.model.modules() if base not in set(m.modules())])
            self._head_parts = [part for part in parts if part not in inside] or [self.head]
        new = [part for part in self._head_parts if any(True for _ in part.parameters())]
        composite = {p for part in new for p in part.parameters() if p.requires_grad} - set(self.head.parameters())
        self._entry = new[0] if composite else self.head
        self._narrow: list[nn.Module] = []
        if self.stages[-1] is not self.model:
            self._narrow = self._layers_of_first_token()

    def _watched(self, stages: list[nn.Module]) -> Seen:
        try:
            return watch(self.model, stages, self._trial(1))
        except FAULTS_OF_MODELS as error:
            what = {"image": "pixels", "text": "tokens"}[self.modality]
            raise self._unfit(f"one that takes {what} alone", first_line(error)) from error

    def _require_split(self) -> None:
        """Nothing; a model of a family that isn't known is split at boundaries and compared with itself as a whole.

        Where the two differ, all of it becomes one stage.

        Raises:
            ModelError: not even its head can be told apart.
        """
        if self._is_known or self._split_holds():
            return
        self._as_one_stage = True
        self.look()
        if not self._split_holds():
            raise self._unfit("one that can be split below its head", type(self.model).__name__)

    @property
    def _is_known(self) -> bool:
        """Whether the model is of a family whose stages are known."""
        family = FAMILIES.get(self.family)
        return family is not None and bool(family.stages)

    def _split_holds(self) -> bool:
        """Whether the parts below and above a boundary together give what the model gives."""
        inputs, top = self._trial(2), len(self.stages)
        with torch.no_grad():
            try:
                whole = logits_of(self.model(**inputs))
                return all(
                    alike(self.above(self.below(inputs, boundary), boundary), whole)
                    for boundary in sorted({0, 1, top // 2, top - 1, top})
                )
            except FAULTS_OF_MODELS:
                return False

    def _unfit(self, allowed: str, got: str) -> ModelError:
        return ModelError(must_be(f"model '{self.name}'", allowed, got))

    def _layers_of_first_token(self) -> list[nn.Module]:
        """The layers of the last stage that need compute the first token alone."""
        last = len(self.stages) - 1
        try:
            with torch.no_grad():
                activations = self.below(self._trial(1), last)
            return first_token_layers(self.stages[-1], lambda: self.above(activations, last))
        except FAULTS_OF_MODELS:
            return []  # of a family that isn't known, and can't be split either

    @property
    def head_is_linear(self) -> bool:
        """Whether the head is one linear layer from pooled features (B, D) to the logits, and can be solved."""
        return self._direct and self._seen.features.ndim == 2 and self.head.bias is not None

    @property
    def _direct(self) -> bool:
        return self._entry is self.head and self._seen.head_gives_logits

    def _find_head(self, seen: Seen) -> nn.Linear:
        last = seen.with_parameters[-1] if seen.with_parameters else None
        if isinstance(last, nn.Linear) and last.out_features == self.outputs:
            return last
        found = ", ".join(name for name, _ in self.model.named_children())
        allowed = "one whose head is a single linear layer from features to classes"
        raise self._unfit(allowed, f"none such in {type(self.model).__name__} ({found})")

    def _find_stages(self) -> list[nn.Module]:
        """The stages of a known family; else the longest list of blocks."""
        base = getattr(self.model, "base_model", self.model)
        family = FAMILIES.get(self.family)
        if family is not None and family.stages:
            with_stages: nn.Module = base.get_submodule(family.stages)
            return list(with_stages.children())
        lists = [
            list(module)
            for name, module in base.named_modules()
            if isinstance(module, nn.ModuleList | nn.Sequential) and name.rsplit(".", 1)[-1] in _STAGE_LISTS
        ]
        return max(lists, key=len, default=[])

    def _trial(self, count: int) -> Inputs:
        """The inputs of one or two small examples on the model's device, pixels in its precision."""
        parameter = next(self.model.parameters())
        return {
            name: tensor.to(parameter.device, parameter.dtype if tensor.is_floating_point() else tensor.dtype)
            for name, tensor in self._trial_inputs(count).items()
        }

    # --- the boundary ---

    def features(self, inputs: Inputs) -> Tensor:
        """What enters the head: (B, D), for spans (B, T, D)."""
        return self.below(inputs, len(self.stages))["hidden"]

    def below(self, inputs: Inputs, boundary: int) -> Activations:
        """The activations at the boundary: what the frozen part makes of the inputs."""
        if boundary == 0:
            return dict(inputs)
        target = self._entry if boundary == len(self.stages) else self.stages[boundary]
        caught: list[Tensor] = []

        def catch(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            caught.append(first_tensor(args, kwargs))
            raise Reached

        narrow = self._narrow if boundary == len(self.stages) else ()
        with first_token_only(narrow), target.register_forward_pre_hook(catch, with_kwargs=True), suppress(Reached):
            self.model(**inputs)
        return {"hidden": caught[0], **self._beside(inputs)}

    def above(self, activations: Activations, boundary: int) -> Tensor:
        """The logits from activations at the boundary: (B, C), for spans (B, T, 2).

        The model's own code runs, its stages below the boundary passed over.
        """
        if boundary == 0:
            with first_token_only(self._narrow):
                return logits_of(self.model(**activations))
        hidden = activations["hidden"]
        if boundary == len(self.stages) and self._direct:
            logits: Tensor = self.head(hidden.to(self.head.weight.dtype))
            return logits
        inputs = self._beside(activations) or self._trial(1)
        self._seen = self._seen.on(hidden.device)
        with ExitStack() as stack:
            for index, stage in enumerate(self.stages[:boundary]):
                stack.enter_context(passed_over(stage, self._skipped(index)))
            target = self._entry if boundary == len(self.stages) else self.stages[boundary]
            stack.enter_context(fed(target, hidden, self._arguments(boundary)))
            stack.enter_context(first_token_only(self._narrow if boundary < len(self.stages) else ()))
            return logits_of(self.model(**inputs))

    def _beside(self, tensors: Mapping[str, Tensor]) -> Inputs:
        """Those of the inputs that are kept beside the hidden state: none of an image's."""
        del tensors
        return {}

    def _skipped(self, index: int) -> Any:
        """What a stage that is passed over gives: as in the small example, so that all shapes fit."""
        given = self._seen.stage_outputs[index]
        return lambda *_, **__: given

    def _arguments(self, boundary: int) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """What a stage is given besides the hidden state, where that doesn't depend on the example."""
        return self._seen.stage_arguments[boundary] if boundary < len(self.stages) else None

    def hidden_shape(self, boundary: int) -> tuple[int, ...]:
        """The shape of one example's hidden state at a boundary, -1 standing for the number of tokens."""
        with torch.no_grad():
            hidden = self.below(self._trial(1), boundary)["hidden"]
        per_token = self.modality == "text" and hidden.ndim == 3
        return (-1, *hidden.shape[2:]) if per_token else tuple(hidden.shape[1:])

    # --- what learns ---

    def learning_parts(self, boundary: int) -> list[nn.Module]:
        """The modules above the boundary."""
        if boundary == 0:
            return [self.model]
        return self._head_parts if boundary == len(self.stages) else [*self.stages[boundary:], *self._tail]

    def freeze_below(self, boundary: int) -> None:
        """Nothing; all parameters below the boundary stop learning, those above it learn, and all is in eval mode."""
        self.model.requires_grad_(False)
        self.model.eval()
        for part in self.learning_parts(boundary):
            part.requires_grad_(True)

    def learn_mode(self, boundary: int, *, on: bool) -> None:
        """Nothing; what is above the boundary goes to train mode and back.

        BatchNorm stays in eval mode everywhere: its statistics remain those of pretraining, which small data sets
        would spoil (Keras' guide to transfer learning says the same), while its scale and shift learn.
        """
        self.model.eval()
        if on:
            for part in self.learning_parts(boundary):
                part.train()
                for module in part.modules():
                    if isinstance(module, _BATCH_NORM):
                        module.eval()

    def depth_of(self) -> dict[nn.Parameter, int]:
        """How many stages above each parameter there are below the head: 0 for the head, 1 for the last stage (with
        what follows it), …, len(stages) for the first (with what precedes it)."""
        depths = dict.fromkeys(self.model.parameters(), len(self.stages))
        for part in self._tail:
            depths |= dict.fromkeys(part.parameters(), 1)
        for index, stage in enumerate(self.stages):
            if stage is not self.model:
                depths |= dict.fromkeys(stage.parameters(), len(self.stages) - index)
        for part in self._head_parts:
            depths |= dict.fromkeys(part.parameters(), 0)
        return depths

    def begin_head(self) -> None:
        """Nothing; a linear head begins anew: small weights, no bias, as BERT's and ViT's own (Devlin et al., arXiv
        1810.04805). What is small says little at first, and bends the features below it little."""
        nn.init.normal_(self.head.weight, std=_HEAD_DEVIATION)
        nn.init.zeros_(self.head.bias)

    def set_head(self, weight: Tensor, bias: Tensor) -> None:
        """Nothing; the head becomes the linear layer with this weight (C, D) and bias (C,)."""
        with torch.no_grad():
            self.head.weight.copy_(weight)
            self.head.bias.copy_(bias)

    def new_parameters(self) -> set[str]:
        """The names of parameters that a checkpoint without our head may lack: the head's, and those of a pooler."""
        new = {p for part in self._head_parts for p in part.parameters()}
        names = {name for name, parameter in self.model.named_parameters() if parameter in new}
        return names | {name for name, _ in self.model.named_parameters() if ".pooler.dense" in f".{name}"}

    # --- LoRA ---

    def lora_modules(self, targets: Sequence[str] | None = None) -> list[str]:
        """The full names of the layers LoRA goes to: those of these names within the stages; by default the family's,
        or of an unknown family those that attention is usually made of, or else all.

        Raises:
            ModelError: there is no layer that LoRA could go to.
            RecipeError: a name matches no such layer.
        """
        stages = {module for stage in self.stages for module in stage.modules()}
        head = {module for part in self._head_parts for module in part.modules()}
        usable = {
            name: module
            for name, module in self.model.named_modules()
            if module in stages and module not in head and _takes_lora(module)
        }
        last_names = sorted({name.rsplit(".", 1)[-1] for name in usable})
        if targets is None:
            family = FAMILIES.get(self.family)
            choices = [*([family.lora] if family else []), *GENERAL_LORA, last_names]
            found = next((choice for choice in choices if set(choice) & set(last_names)), None)
            if found is None:
                raise self._unfit("one with linear or dense convolutional layers, for LoRA", "none in its stages")
            targets = [name for name in found if name in last_names]
        if not targets:
            raise RecipeError(must_be("strategy.targets", "auto or names of layers", "none"))
        chosen: list[str] = []
        for target in targets:
            matched = [name for name in usable if name == target or name.endswith(f".{target}")]
            if not matched:
                allowed = f"names of linear or convolutional layers in the stages of {type(self.model).__name__}"
                remedy = nearest(target, [*last_names, *usable] if "." in target else last_names)
                raise RecipeError(must_be("strategy.targets", allowed, f"'{target}'", remedy))
            chosen += matched
        return sorted(set(chosen))

    def lowest_stage_of(self, modules: Sequence[str]) -> int:
        """The index of the first stage with one of these modules."""
        wanted = {self.model.get_submodule(name) for name in modules}
        return next(index for index, stage in enumerate(self.stages) if wanted & set(stage.modules()))

    def add_lora(self, settings: Mapping[str, Any], seed: int = 0) -> None:
        """Nothing; puts peft's matrices beside the layers these settings of a `LoraConfig` name.

        Only the matrices and the head learn afterwards. The seed initialises the matrices.
        """
        import peft

        with quiet_peft(), seeded(seed):
            self.peft = peft.get_peft_model(self.model, peft.LoraConfig(**settings))
        self.model.eval()
        try:
            self.look()
        except ModelError as error:  # its code asks a layer for what peft's layers don't have
            raise self._unfit("one that runs with peft's layers", first_line(error.__cause__ or error)) from error

    def load_lora(self, folder: Path) -> None:
        """Nothing; puts the matrices and the head that lie in a folder of peft's into the model.

        Raises:
            ModelError: some of them are not there.
        """
        import peft

        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            self.peft = peft.PeftModel.from_pretrained(self.model, str(folder), use_safetensors=True)
        if absent := [first_line(Warning(one.message)) for one in told if "missing adapter keys" in str(one.message)]:
            raise self._unfit("one that all matrices of the adapter are for", absent[0][:300])
        self.model.eval()
        self.look()

    def save_lora(self, folder: Path, base: str) -> None:
        """Nothing; writes peft's layout: matrices and head beside `adapter_config.json`, which names the base model."""
        config = self.peft.peft_config["default"]
        config.base_model_name_or_path = base
        with quiet_peft():
            self.peft.save_pretrained(str(folder), save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)
        self.save_processor(folder)

    def merged(self) -> Adapter:
        """A copy whose matrices are added into the layers they stand beside: a native model again."""
        with quiet_peft():
            whole = copy.deepcopy(self.peft).merge_and_unload()
        return self.twin(whole)

    def lowest_learning(self) -> int:
        """The lowest boundary above which something learns."""
        for index, stage in enumerate(self.stages):
            if any(parameter.requires_grad for parameter in stage.parameters()):
                below = set(self.model.parameters()) - {
                    p for part in self.learning_parts(index) for p in part.parameters()
                }
                return 0 if any(p.requires_grad for p in below) else index
        top = {p for part in self._head_parts for p in part.parameters()}
        others = [p for p in self.model.parameters() if p.requires_grad and p not in top]
        tail = {p for part in self._tail for p in part.parameters()}
        if not others:
            return len(self.stages)
        return len(self.stages) - 1 if all(p in tail for p in others) else 0

    def head_names(self) -> list[str]:
        """The full names of the parts of the head that have parameters, and of what else is new: a pooler that the
        checkpoint lacks."""
        parts = [part for part in self._head_parts if any(True for _ in part.parameters())]
        inside = {module for part in parts for module in part.modules()}
        fresh = {name.rpartition(".")[0] for name in self.fresh}
        modules = self.model.named_modules()
        return [name for name, module in modules if module in parts or (name in fresh and module not in inside)]


def _takes_lora(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d):
        return module.groups == 1
    if isinstance(module, nn.modules.linear.NonDynamicallyQuantizableLinear):
        return False  # part of torch's MultiheadAttention, which reads its weight without calling it
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def parameter_counts(model: nn.Module) -> dict[str, int]:
    """How many parameters a model has, and how many of them learn."""
    total = sum(parameter.numel() for parameter in model.parameters())
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return {"total": total, "trainable": trainable}


@contextmanager
def quiet_peft() -> Iterator[None]:
    """peft without its warnings: of layers whose kind it can't tell, and of what transformers will rename."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """transformers without its loading bars and notes, as it was afterwards."""
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Meanwhile torch's random numbers follow from the seed; afterwards they go on as before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


Pooling = Literal["native", "mean", "cls", "last", "embedding"]
"""What enters the head: `native`, as the model's own class has it; of texts, their tokens' mean, first or last; of
images, the normalised embedding that a dual encoder makes of them."""
