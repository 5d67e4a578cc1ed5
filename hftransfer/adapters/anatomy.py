"""Watch one small example go through a network, and feed or pass over parts of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torch.utils.hooks import RemovableHandle

from hftransfer.adapters.libraries import FAULTS_OF_MODELS
from hftransfer.adapters.own_head import OwnHead

if TYPE_CHECKING:
    from transformers.utils import ModelOutput

Inputs = dict[str, Tensor]
Call = tuple[tuple[object, ...], dict[str, object]]
"""The positional and keyword arguments of a call."""


class Reached(Exception):
    """The boundary is reached: nothing above it need be computed."""


@dataclass
class Trace:
    """The record of one small example on its way through a model."""

    inputs: Inputs
    stage_calls: list[int]
    stage_arguments: list[Call]
    stage_outputs: list[object]
    after_stages: list[nn.Module]
    with_parameters: list[nn.Module]
    features: Tensor
    head_gives_logits: bool

    def on(self, device: torch.device) -> Trace:
        """Return the same with its tensors on a device: where the model is now, whichever it was watched on."""
        if self.features.device == device:
            return self
        with torch.inference_mode(False):  # what learns later on may be given them, too

            def move(value: object) -> object:
                return value.to(device) if isinstance(value, Tensor) else value

            inputs, arguments, outputs = tree_map(move, (self.inputs, self.stage_arguments, self.stage_outputs))
            features = self.features.to(device)
            # The record itself stays: the model may come back to the device it was watched on.
            return replace(self, inputs=inputs, stage_arguments=arguments, stage_outputs=outputs, features=features)


def watch(model: nn.Module, stages: Sequence[nn.Module], inputs: Inputs) -> Trace:
    """Return the modules of a model in the order in which they run, without learning and in eval mode."""
    trace = Trace(inputs, [], [], [], [], [], torch.empty(0), False)
    # A head of a person's own counts as one layer, whatever it is made of.
    own = {module for module in model.modules() if isinstance(module, OwnHead)}
    inside = {part for head in own for part in head.module.modules()}
    place = {stage: index for index, stage in enumerate(stages)}
    last_input: list[Tensor] = []
    last_output: list[object] = []

    def enter(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        if module in place:
            trace.stage_calls.append(place[module])
            trace.stage_arguments.append((args, kwargs))
            # None until the stage returns: what runs meanwhile is inside it, and not behind it.
            trace.stage_outputs.append(None)
        elif len(trace.stage_calls) >= len(stages) and trace.stage_outputs and trace.stage_outputs[-1] is not None:
            trace.after_stages.append(module)
        has_parameters = any(p is not None for p in module._parameters.values())
        if module in own or (has_parameters and module not in inside):
            trace.with_parameters.append(module)
            # Whatever ran last with parameters is taken for the head: its first tensor is the features.
            last_input[:] = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)][:1]

    def leave(module: nn.Module, _: object, output: object) -> None:
        if module in place:
            trace.stage_outputs[-1] = output
        if trace.with_parameters and module is trace.with_parameters[-1]:
            last_output[:] = [output]

    with ExitStack() as stack, torch.no_grad():
        for module in model.modules():
            stack.enter_context(module.register_forward_pre_hook(enter, with_kwargs=True))
            stack.enter_context(module.register_forward_hook(leave))
        outputs = model(**inputs)
    if last_input:
        trace.features = last_input[0]
        # The very tensor: nothing comes between the head and the logits.
        trace.head_gives_logits = getattr(outputs, "logits", None) is last_output[0]
    # A model for spans splits its head's output (B, T, 2) in two, so no output is that very tensor.
    if not trace.head_gives_logits and hasattr(outputs, "start_logits"):
        trace.head_gives_logits = isinstance(last_output[0], Tensor) and last_output[0].shape[-1] == 2
    return trace


def followed(
    model: nn.Module,
    features: Callable[[], Tensor],
    is_first: Callable[[nn.Module], bool],
    is_second: Callable[[nn.Module], bool],
) -> tuple[dict[Any, tuple[int, ...]], dict[nn.Module, nn.Module], Tensor]:
    """Return the shape of what each of the first modules is given, if it runs; of those that run once, the second one
    that runs once and is given their very output; and features."""
    shapes: dict[Any, tuple[int, ...]] = {}
    outputs: dict[int, tuple[nn.Module, Tensor, int]] = {}
    pairs: dict[nn.Module, nn.Module] = {}
    runs: list[nn.Module] = []

    def leave(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        runs.append(module)
        if args:
            shapes[module] = tuple(args[0].shape)
        outputs[id(output)] = module, output, output._version  # kept, so that its id is not given again

    def enter(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        runs.append(module)
        one, output, version = outputs.get(id(args[0]) if args else 0, (module, None, 0))
        if output is not None and output._version == version:  # nothing has changed it in place
            pairs[one] = module

    with ExitStack() as stack:
        for module in model.modules():
            if is_first(module):
                stack.enter_context(module.register_forward_hook(leave))
            elif is_second(module):
                stack.enter_context(module.register_forward_pre_hook(enter))
        found = features()
    once = {one: two for one, two in pairs.items() if runs.count(one) == runs.count(two) == 1}
    return shapes, once, found


def logits_of(outputs: ModelOutput) -> Tensor:
    """Return the logits of a model's outputs: (B, C); of spans (B, T, 2), start and end."""
    if hasattr(outputs, "start_logits"):
        return torch.stack([outputs.start_logits, outputs.end_logits], dim=-1)  # (B, T, 2)
    logits: Tensor = outputs.logits
    return logits


def outermost(modules: Sequence[nn.Module]) -> list[nn.Module]:
    """Return the modules that lie in no other of them, in order, once each."""
    # The first of a module's modules() is the module itself.
    inner = {below for module in modules for below in list(module.modules())[1:]}
    return list(dict.fromkeys(module for module in modules if module not in inner))


def has_tensor(args: tuple[object, ...], kwargs: Mapping[str, object]) -> bool:
    """Return whether a module is called with a tensor by itself."""
    return any(isinstance(value, Tensor) for value in (*args, *kwargs.values()))


def first_tensor(args: tuple[object, ...], kwargs: Mapping[str, object]) -> Tensor:
    """Return the first tensor that a module is called with."""
    return next(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))


@contextmanager
def passed_over(stage: nn.Module, instead: Callable[..., object]) -> Iterator[None]:
    """Let `instead` run in place of a stage within the block."""
    stage.forward = instead
    try:
        yield
    finally:
        # What was set on the object hid its class's own method, which is there again.
        del stage.forward


def fed(module: nn.Module, hidden: Tensor, arguments: Call | None) -> RemovableHandle:
    """Return a hook by which a module takes `hidden` as its first tensor, all else as called or as in `arguments`."""

    def replace(_: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> Call:
        args, kwargs = arguments or (args, kwargs)
        for place, value in enumerate(args):
            if isinstance(value, Tensor):
                return (*args[:place], hidden, *args[place + 1 :]), kwargs
        name = next(name for name, value in kwargs.items() if isinstance(value, Tensor))
        return args, {**kwargs, name: hidden}

    return module.register_forward_pre_hook(replace, with_kwargs=True)


def first_token_layers(stage: nn.Module, logits: Callable[[], Tensor]) -> list[nn.Module]:
    """Return the linear layers of the last stage that need compute the first token alone: nothing else they give is
    read.

    In a ViT or BERT whose head reads the class token, all but keys and values. Found by trial: NaN in a layer's other
    tokens would show in the `logits` of a small example if they were read, or mixed with the first; and the layers,
    given the first token alone, must give the same logits. Residual sums broadcast over the other tokens, unread too.
    """
    with torch.no_grad():
        wanted = logits()
        chosen = [layer for layer in _token_layers(stage) if _first_token_suffices(layer, logits, wanted)]
        if not chosen:
            return []
        with first_token_only(chosen):
            return chosen if alike(logits(), wanted) else []


@contextmanager
def first_token_only(layers: Sequence[nn.Module]) -> Iterator[None]:
    """Let these layers compute the first token alone within the block."""
    with ExitStack() as stack:
        for layer in layers:
            stack.enter_context(layer.register_forward_pre_hook(lambda _, args: (args[0][:, :1], *args[1:])))
        yield


def _token_layers(stage: nn.Module) -> list[nn.Module]:
    """Return the linear layers of a stage, with what peft put around them."""
    kinds = ("Linear", "Conv1D")
    return outermost([m for m in stage.modules() if type(m).__name__ in kinds or hasattr(m, "base_layer")])


def _first_token_suffices(layer: nn.Module, logits: Callable[[], Tensor], wanted: Tensor) -> bool:
    poisoned = False

    def poison(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        nonlocal poisoned
        poisoned = args[0].ndim == 3 and args[0].shape[1] > 1
        return torch.cat([output[:, :1], torch.full_like(output[:, 1:], torch.nan)], dim=1) if poisoned else output

    try:
        with layer.register_forward_hook(poison):
            unread = torch.isfinite(logits()).all()
        if not (poisoned and unread):
            return False
        with first_token_only([layer]):
            return alike(logits(), wanted)
    except FAULTS_OF_MODELS:
        return False  # the queries of an attention, say, whose shape is that of the keys


def alike(logits: Tensor, wanted: Tensor) -> bool:
    """Return whether logits are the same but for rounding."""
    if logits.shape != wanted.shape or not torch.isfinite(wanted).all():
        return False
    # Numbers of 16 bits are rounded after two or three digits.
    close = 1e-4 if wanted.dtype == torch.float32 else 0.05
    return torch.allclose(logits, wanted, rtol=close, atol=close * float(wanted.abs().max()))
