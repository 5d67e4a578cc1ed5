"""A model told apart into stages and a head, and run below or above a boundary between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from hftransfer.adapters.anatomy import (
    Call,
    Inputs,
    Reached,
    Trace,
    alike,
    fed,
    first_tensor,
    first_token_layers,
    first_token_only,
    has_tensor,
    logits_of,
    outermost,
    passed_over,
    watch,
)
from hftransfer.adapters.heads import Head
from hftransfer.adapters.libraries import FAULTS_OF_MODELS
from hftransfer.adapters.parts import Parts, libraries
from hftransfer.base.errors import ModelError, first_line, must_be

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from hftransfer.adapters.heads import HeadLayer

Activations = dict[str, Tensor]
"""The tensors that cross a boundary: `hidden`, and the inputs carried beside it; at boundary 0 simply the inputs."""

_BATCH_NORM = nn.modules.batchnorm._BatchNorm


class SplitModel:
    """A model as a sequence of `stages` with a `head` on top, found by watching one small example go through it.

    A boundary b in 0..len(stages) means that stages below b are frozen; b = len(stages) is the boundary at the head,
    b = 0 the one at the input. What comes before the stages (patch or word embeddings) belongs to the first of them,
    what comes between the last stage and the head (a final norm, a pooler) to the last. Inputs named in `carried`
    cross each boundary beside the hidden state. Where `known` parts fit the model, nothing is tried out.

    Raises:
        ModelError: the model takes more than this example, or its head can't be found.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        stages: list[nn.Module],
        port: Head,
        outputs: int,
        sample_inputs: Callable[[int], Inputs],
        carried: tuple[str, ...],
        name: str,
        known: Parts | None = None,
    ) -> None:
        self.model, self.port, self.name = model, port, name
        self.sample_inputs, self.carried = sample_inputs, carried
        self.narrow: list[nn.Module] = []
        """The layers of the last stage that need compute the first token alone."""
        self.features_shape: tuple[int, ...] = ()
        """The shape of what enters the head, of one example: (1, D), of tokens (1, T, D)."""
        self.pads = True
        """Whether texts of several lengths go through it together, padded; if not, those of one length do."""
        self._trace: Trace | None = None
        self._has_run = False
        """Whether a pass went well: what goes wrong in the first one is the model's fault."""
        self.is_known = known is not None and self._takes_over(known, stages, outputs)
        if self.is_known:
            sample_inputs(1)  # files that make no inputs are told of when the model is loaded
        else:
            self._find(stages, outputs)
        # Dropout and activations of a head learn nothing: the first part with parameters is where the head begins.
        with_parameters = [part for part in self.head_parts if any(True for _ in part.parameters())]
        learning = {p for part in with_parameters for p in part.parameters() if p.requires_grad}
        self.entry = with_parameters[0] if learning - set(self.head.parameters()) else self.head
        if not self.is_known and self.stages[-1] is not model:
            self.narrow = self._layers_of_first_token()

    def _takes_over(self, known: Parts, stages: list[nn.Module], outputs: int) -> bool:
        """Return whether known parts are those of this model, and take them over if so."""
        modules = dict(self.model.named_modules())
        names = {*known.stages, known.head, *known.head_parts, *known.tail, *known.narrow}
        if known.libraries != libraries() or not names <= modules.keys():
            return False
        found = [modules[name] for name in known.stages]
        if (found != stages and found != [self.model]) or not self.port.fits(modules[known.head], outputs):
            return False
        self.stages, self.head = found, cast("HeadLayer", modules[known.head])
        self.head_parts, self.tail, self.narrow = (
            [modules[name] for name in part] for part in (known.head_parts, known.tail, known.narrow)
        )
        self.features_shape, self.head_gives_logits = known.features, known.head_gives_logits
        self.pads = known.pads
        return True

    def parts(self) -> Parts:
        """Return the parts of the model by name."""
        names = {module: name for name, module in self.model.named_modules()}
        stages, parts, tail, narrow = (
            tuple(names[module] for module in modules)
            for modules in (self.stages, self.head_parts, self.tail, self.narrow)
        )
        shape, direct = self.features_shape, self.head_gives_logits
        return Parts(stages, names[self.head], parts, tail, narrow, shape, direct, self.pads, libraries())

    def require_pass(self) -> None:
        """Return if a small example goes through the model.

        Raises:
            ModelError: it does not.
        """
        _ = self.trace

    @property
    def trace(self) -> Trace:
        """The record of one small example on its way through the model."""
        if self._trace is None:
            with torch.inference_mode(False):  # what learns later on may be given its tensors
                self._trace = self._watched(self.stages)
        return self._trace

    def _find(self, stages: list[nn.Module], outputs: int) -> None:
        """Find stages, head and what lies between by watching one small example."""
        trace = self._watched(stages)
        # Shared or skipped layers run in another order: such a model is one stage, and learns as a whole. So is one
        # whose stages are given no tensor by itself.
        takes_none = any(not has_tensor(*call) for call in trace.stage_arguments)  # CrossViT's take a list of them
        if not stages or takes_none or trace.stage_calls != list(range(len(stages))):
            stages = [self.model]
            trace = self._watched(stages)
        self.stages, self._trace = stages, trace
        self.features_shape = tuple(trace.features.shape)
        self.head_gives_logits = trace.head_gives_logits
        self.head = self._find_head(outputs)
        self.tail = outermost(self.trace.after_stages)
        self.head_parts = self._find_head_parts()
        if not self.port.is_new:  # its weight may be the word embedding's, which lies below all stages
            self.tail = [part for part in self.tail if part is not self.head]

    def _watched(self, stages: Sequence[nn.Module]) -> Trace:
        with self._first_pass():
            return watch(self.model, stages, self.sample_inputs(1))

    @contextmanager
    def _first_pass(self) -> Iterator[None]:
        """Raise what goes wrong in the model's first pass as an error of the model."""
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except FAULTS_OF_MODELS as error:
            kind = "tokens" if self.carried else "pixels"
            raise self.unfit(f"one that takes {kind} alone", first_line(error)) from error
        self._has_run = True

    def _find_head(self, outputs: int) -> HeadLayer:
        ran = self.trace.with_parameters
        # What ran last and has weights gives the logits, if anything does.
        if ran and self.port.fits(ran[-1], outputs):
            return cast("HeadLayer", ran[-1])
        children = ", ".join(name for name, _ in self.model.named_children())
        allowed = "one whose head is a single linear layer from features to classes"
        raise self.unfit(allowed, f"none such in {type(self.model).__name__} ({children})")

    def _find_head_parts(self) -> list[nn.Module]:
        """Return the modules above the base model, the head among them; the head alone where it lies inside."""
        if self.port.decoder is not None:
            return [self.model.get_submodule(self.port.decoder)]
        if self.port.of_maps:
            return [self.head]
        base = getattr(self.model, "base_model", None)
        inside = set(base.modules()) if base is not None and base is not self.model else set()
        if self.head in inside or not inside:
            return [self.head]
        parts = self.tail or outermost([m for m in self.model.modules() if base not in set(m.modules())])
        return [part for part in parts if part not in inside] or [self.head]

    def _layers_of_first_token(self) -> list[nn.Module]:
        last = len(self.stages) - 1
        try:
            with torch.no_grad():
                activations = self.below(self.sample_inputs(1), last)
            return first_token_layers(self.stages[-1], lambda: self.above(activations, last))
        except FAULTS_OF_MODELS:
            return []  # a family that isn't known, and can't be split either

    def unfit(self, allowed: str, got: str, remedy: str = "") -> ModelError:
        """Return the error that this model is not an allowed one."""
        return ModelError(must_be(f"model '{self.name}'", allowed, got, remedy))

    def holds(self) -> bool:
        """Return whether the parts below and above a boundary together give what the model gives."""
        # Two examples: a network that knows one alone would not show it by one.
        inputs, top = self.sample_inputs(2), len(self.stages)
        with torch.no_grad():
            try:
                whole = logits_of(self.model(**inputs))
                return all(
                    alike(self.above(self.below(inputs, boundary), boundary), whole)
                    for boundary in sorted({0, 1, top // 2, top - 1, top})
                )
            except FAULTS_OF_MODELS:
                return False

    @property
    def head_is_direct(self) -> bool:
        """Return whether the head alone makes the logits of what crosses the boundary below it."""
        return self.entry is self.head and self.head_gives_logits

    # --- the boundary ---

    def below(self, inputs: Inputs, boundary: int) -> Activations:
        """Return the activations at the boundary: what the frozen part makes of the inputs."""
        if boundary == 0:
            return dict(inputs)
        target = self.entry if boundary == len(self.stages) else self.stages[boundary]
        caught: list[Tensor] = []

        def catch(_: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
            caught.append(first_tensor(args, kwargs))
            # Nothing above the boundary need run.
            raise Reached

        # Below the head the last stage runs here; of lower boundaries `above` runs it.
        narrow = self.narrow if boundary == len(self.stages) else ()
        told = nullcontext() if self._has_run else self._first_pass()
        hook = target.register_forward_pre_hook(catch, with_kwargs=True)
        with told, first_token_only(narrow), hook, suppress(Reached):
            self.model(**inputs)
        return {"hidden": caught[0], **self._carry(inputs)}

    def above(self, activations: Activations, boundary: int) -> Tensor:
        """Return the logits (B, C), of tokens (B, T, C), from activations at the boundary."""
        if boundary == 0:
            with first_token_only(self.narrow):
                return logits_of(self.model(**activations))
        hidden = activations["hidden"]
        if boundary == len(self.stages) and self.head_is_direct:
            logits: Tensor = self.head(hidden.to(self.head.weight.dtype))  # (B, C), (B, T, C)
            return logits
        # The model's own code runs, its stages below the boundary passed over: masks and positions stay its own.
        # Images: the recorded run's input stands in, as all that depends on it is passed over.
        self._trace = self.trace.on(hidden.device)
        inputs = self._carry(activations) or self._trace.inputs
        with ExitStack() as stack:
            for index, stage in enumerate(self.stages[:boundary]):
                if stage is not self.model:  # a model that is one stage holds the head as well
                    stack.enter_context(passed_over(stage, self._stand_in(index)))
            target = self.entry if boundary == len(self.stages) else self.stages[boundary]
            stack.enter_context(fed(target, hidden, self._arguments(boundary)))
            stack.enter_context(first_token_only(self.narrow if boundary < len(self.stages) else ()))
            return logits_of(self.model(**inputs))

    @contextmanager
    def entering_head(self, *, ends: bool = False) -> Iterator[list[Tensor]]:
        """Give a list that takes what enters the head, (B, D) or (B, T, D), in each pass made meanwhile, which `ends`
        there with `Reached`."""
        if ends or not self.head_is_direct:
            self.require_pass()  # now, so that the small example is not taken for a pass
        caught: list[Tensor] = []

        def catch(_: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
            caught.append(first_tensor(args, kwargs))
            if ends:
                raise Reached

        with self.head.register_forward_pre_hook(catch, with_kwargs=True):
            yield caught

    def _carry(self, tensors: Mapping[str, Tensor]) -> Inputs:
        return {name: tensors[name] for name in self.carried if name in tensors}

    def _stand_in(self, index: int) -> Callable[..., object]:
        """Return what runs instead of a stage that is passed over."""
        recorded = self.trace.stage_outputs[index]
        if not self.carried:  # the output for the small example, so that all shapes fit
            return lambda *_, **__: recorded

        # Texts differ in length: the stage hands on its input, in the form in which it gives its own output.
        def hand_on(*args: object, **kwargs: object) -> object:
            hidden = args[0] if args else kwargs["hidden_states"]  # (B, T, D)
            if type(recorded) is tuple:
                return (hidden, *recorded[1:])
            return [hidden, *recorded[1:]] if type(recorded) is list else hidden

        return hand_on

    def _arguments(self, boundary: int) -> Call | None:
        """Return the other arguments of the stage above a boundary, if they do not depend on the example."""
        return None if self.carried or boundary == len(self.stages) else self.trace.stage_arguments[boundary]

    # --- what learns ---

    @property
    def new_parts(self) -> list[nn.Module]:
        """The parts of a head that begins anew; none of one that the checkpoint gave, which learns with the input."""
        return self.head_parts if self.port.is_new else []

    def learning_parts(self, boundary: int) -> list[nn.Module]:
        """Return the modules above the boundary."""
        if boundary == 0:
            return [self.model]
        return self.new_parts if boundary == len(self.stages) else [*self.stages[boundary:], *self.tail]

    def freeze_below(self, boundary: int) -> None:
        """Let the parameters above the boundary alone learn; all modules are in eval mode."""
        self.model.requires_grad_(False)
        self.model.eval()
        for part in self.learning_parts(boundary):
            part.requires_grad_(True)

    def learn_mode(self, boundary: int, *, on: bool) -> None:
        """Switch the modules above the boundary to train mode, or all to eval mode.

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
        """Return each parameter's distance from the head in stages: 0 for the head, 1 for the last stage (with what
        follows it), …, len(stages) for the first (with what precedes it)."""
        depths = dict.fromkeys(self.model.parameters(), len(self.stages))
        for part in self.tail:
            depths |= dict.fromkeys(part.parameters(), 1)
        for index, stage in enumerate(self.stages):
            if stage is not self.model:
                depths |= dict.fromkeys(stage.parameters(), len(self.stages) - index)
        for part in self.new_parts:
            depths |= dict.fromkeys(part.parameters(), 0)
        return depths

    def lowest_learning(self) -> int:
        """Return the lowest boundary above which something learns."""
        learning = {parameter for parameter in self.model.parameters() if parameter.requires_grad}
        for index, stage in enumerate(self.stages):
            if learning & set(stage.parameters()):
                return index if learning <= _parameters(self.learning_parts(index)) else 0
        others = learning - _parameters(self.new_parts)
        if not others:
            return len(self.stages)
        return len(self.stages) - 1 if others <= _parameters(self.tail) else 0

    def new_parameters(self) -> set[str]:
        """Return the names of parameters that a checkpoint without our head may lack: the head's and a pooler's."""
        new = _parameters(self.new_parts)
        names = {name for name, parameter in self.model.named_parameters() if parameter in new}
        return names | {name for name, _ in self.model.named_parameters() if ".pooler.dense" in f".{name}"}

    def new_modules(self, fresh: frozenset[str]) -> list[str]:
        """Return the full names of the head's parts that have parameters, and of what else has `fresh` ones."""
        parts = [part for part in self.new_parts if any(True for _ in part.parameters())]
        inside = {module for part in parts for module in part.modules()}
        owners = {name.rpartition(".")[0] for name in fresh}
        modules = self.model.named_modules()
        return [name for name, module in modules if module in parts or (name in owners and module not in inside)]


def _parameters(modules: Sequence[nn.Module]) -> set[nn.Parameter]:
    return {parameter for module in modules for parameter in module.parameters()}
