"""The graph of a functional model of Keras as a row of stages, each from one tensor to the next.

A stage ends where all ways through the network meet: behind a residual sum or a concatenation, with the activation that
follows it. Networks without these are cut where their maps become smaller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from hftransfer.adapters.keras_layers import Arguments, Translated, Weight, translate
from hftransfer.base.errors import ModelError, first_line, must_be

if TYPE_CHECKING:
    import keras

_MEETINGS = ("Add", "Concatenate", "Average", "Maximum")
_FEW = 2


@dataclass(frozen=True)
class Step:
    """One call of an operation: the tensors that it takes and gives, by number."""

    operation: keras.Operation
    takes: tuple[int, ...]
    gives: tuple[int, ...]
    shapes: tuple[tuple[int | None, ...], ...]
    """Of what it takes, as in Keras."""
    shape: tuple[int | None, ...]
    """Of what it gives first."""
    arguments: Arguments
    """Puts tensors into the places that they have in the call."""

    @property
    def kind(self) -> str:
        """The name of the operation's class."""
        return type(self.operation).__name__

    @property
    def learns(self) -> bool:
        """Return whether it has weights that can learn (the state of a dropout's random numbers can't)."""
        return bool(getattr(self.operation, "trainable_variables", ()))


class Stage(nn.Module):
    """Some steps of a graph, from the one tensor that all of them depend on to the one that they are for."""

    def __init__(self, steps: Sequence[Step], modules: Sequence[nn.Module], takes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(modules)
        self.takes, self.result = takes, steps[-1].gives[0]
        self.ways = [(step.takes, step.gives) for step in steps]
        last = {tensor: place for place, (taken, _) in enumerate(self.ways) for tensor in taken}
        # What no later step takes is forgotten: the maps of a whole stage would take much memory.
        self.unused = [[t for t in dict.fromkeys(taken) if last[t] == at] for at, (taken, _) in enumerate(self.ways)]

    def forward(self, hidden: Tensor) -> Tensor:
        """Return what the stage makes of its input, maps as (B, C, H, W)."""
        known = {self.takes: hidden}
        for layer, (taken, gives), unused in zip(self.layers, self.ways, self.unused, strict=True):
            found = layer(*(known[tensor] for tensor in taken))
            known |= zip(gives, found if isinstance(found, tuple) else (found,), strict=True)
            for tensor in unused:
                del known[tensor]
        return known[self.result]


def steps_of(model: keras.Model, name: str) -> tuple[list[Step], int]:
    """Return the calls of a functional model in their order, models inside it taken apart, and the number of its input.

    Raises:
        ModelError: it is no functional model, or takes more than one tensor, or gives more.
    """
    graph = _graph_of(model)
    if graph is None or len(graph.inputs) != 1 or len(graph.outputs) != 1:
        got = type(model).__name__ if graph is None else f"{len(graph.inputs)} inputs and {len(graph.outputs)} outputs"
        remedy = "Save the functional model that it is made of." if graph is None else ""
        allowed = "a functional or Sequential model from one image to one output"
        raise ModelError(must_be(f"model '{name}'", allowed, got, remedy))
    numbers: dict[tuple[int, ...], int] = {}
    walk = _Walk(numbers)
    start = walk.number(())
    result = walk.through(graph, [start], ())[0]
    return _needed(walk.steps, result), start


def flattened(model: keras.Model, name: str) -> keras.Model:
    """Return a functional model of the same layers with no model inside it.

    Raises:
        ModelError: two of its layers have one name.
    """
    import keras

    steps, start = steps_of(model, name)
    known = {start: keras.Input(model.inputs[0].shape[1:])}
    for step in steps:
        args, kwargs = step.arguments([known[tensor] for tensor in step.takes])
        found = step.operation(*args, **kwargs)
        known |= zip(step.gives, found if isinstance(found, list | tuple) else (found,), strict=True)
    try:
        return keras.Model(known[start], known[steps[-1].gives[0]], name=model.name)
    except ValueError as error:
        got = first_line(error)
        raise ModelError(must_be(f"model '{name}'", "one whose layers have different names", got)) from error


def given_to(operation: keras.Operation, model: keras.Model) -> keras.KerasTensor:
    """Return what an operation is given in a model; a layer itself tells of its first call alone, wherever it was."""
    import keras

    graph = _graph_of(model)
    assert graph is not None
    nodes = [node for nodes in graph._nodes_by_depth.values() for node in nodes]
    (node,) = [node for node in nodes if node.operation is operation]
    return keras.tree.flatten(node.arguments.args)[0]


def _graph_of(model: keras.Operation) -> keras.Model | None:
    """Return the graph of a functional or Sequential model; None of one that has none."""
    found = getattr(model, "_functional", None) or model  # a Sequential model keeps its own in it
    return found if hasattr(found, "_nodes_by_depth") and hasattr(found, "inputs") else None


class _Walk:
    """A walk through a graph that numbers its tensors."""

    def __init__(self, numbers: dict[tuple[int, ...], int]) -> None:
        self.numbers = numbers
        self.steps: list[Step] = []

    def number(self, key: tuple[int, ...]) -> int:
        return self.numbers.setdefault(key, len(self.numbers))

    def through(self, graph: keras.Model, given: Sequence[int], way: tuple[int, ...]) -> list[int]:
        """Return the numbers of a graph's outputs, given those of its inputs; `way` tells one call from another."""
        import keras

        known = {id(tensor): number for tensor, number in zip(graph.inputs, given, strict=True)}
        for depth in sorted(graph._nodes_by_depth, reverse=True):
            for node in graph._nodes_by_depth[depth]:
                if node.is_input:
                    continue
                places = [t for t in keras.tree.flatten((node.arguments.args, node.arguments.kwargs)) if _symbolic(t)]
                taken = [known[id(tensor)] for tensor in places]
                inner = _graph_of(node.operation)
                if inner is not None and len(taken) == len(inner.inputs):
                    found = self.through(inner, taken, (*way, id(node)))
                else:
                    found = [self.number((*way, id(tensor))) for tensor in node.outputs]
                    shapes = tuple(tuple(tensor.shape) for tensor in places)
                    arguments = _arguments(node.arguments.args, node.arguments.kwargs)
                    shape = tuple(node.outputs[0].shape)
                    self.steps.append(Step(node.operation, tuple(taken), tuple(found), shapes, shape, arguments))
                known |= {id(tensor): number for tensor, number in zip(node.outputs, found, strict=True)}
        return [known[id(tensor)] for tensor in graph.outputs]


def _symbolic(value: object) -> bool:
    import keras

    return isinstance(value, keras.KerasTensor)


class _Places:
    """The arguments of a call with places for tensors; copies of a module share it."""

    def __init__(self, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
        self.args, self.kwargs = args, kwargs

    def __call__(self, tensors: Sequence[object]) -> tuple[Sequence[object], Mapping[str, object]]:
        import keras

        left = iter(tensors)
        found: tuple[Sequence[object], Mapping[str, object]] = keras.tree.map_structure(
            lambda value: next(left) if _symbolic(value) else value, (self.args, self.kwargs)
        )
        return found

    def __deepcopy__(self, memo: dict[int, object]) -> _Places:
        return self


def _arguments(args: Sequence[object], kwargs: Mapping[str, object]) -> _Places:
    # Whether a mask goes along is Keras' own matter.
    return _Places(args, {name: value for name, value in kwargs.items() if name != "mask" or value is not None})


def _needed(steps: list[Step], result: int) -> list[Step]:
    """Return the steps that a tensor depends on."""
    wanted, found = {result}, []
    for step in reversed(steps):
        if wanted & set(step.gives):
            wanted |= set(step.takes)
            found.append(step)
    return found[::-1]


def stages_of(steps: list[Step], start: int) -> tuple[list[Stage], list[tuple[nn.Module, Weight]]]:
    """Return the stages of a graph, and of each weight the module that it is in."""
    made: dict[int, Translated] = {}
    for step in steps:  # a layer that is called twice is one module
        made.setdefault(id(step.operation), translate(step.operation, step.shapes, step.arguments))
    stages, takes = [], start
    for part in _parts(steps, start):
        stages.append(Stage(part, [made[id(step.operation)].module for step in part], takes))
        takes = part[-1].gives[0]
    weights = [(one.module, weight) for one in made.values() for weight in one.weights]
    return stages, weights


def _parts(steps: list[Step], start: int) -> list[list[Step]]:
    """Return the steps of each stage."""
    cuts = [place for place in _places_where_all_meets(steps, start) if place + 1 < len(steps)]
    behind = [_last_before_weights(steps, cuts, place) for place in _meetings(steps)]
    chosen = sorted({place for place in behind if place is not None})
    # Without sums or concatenations (VGG, MobileNet) nothing meets: maps that become smaller are the next best mark.
    if len(chosen) < _FEW:
        chosen = [place for place in cuts if _shrinks(steps[place + 1])]
    # A stage needs weights behind its end: a cut above the last ones would leave an empty stage.
    chosen = [place for place in chosen if any(step.learns for step in steps[place + 1 :])]
    ends = [*chosen, len(steps) - 1]
    parts = [steps[begin + 1 : end + 1] for begin, end in zip([-1, *ends], ends, strict=False)]
    return _with_weights(parts)


def _last_before_weights(steps: list[Step], cuts: list[int], meeting: int) -> int | None:
    """Return the last cut from a meeting on before the next layer with weights: what has none, an activation mostly,
    still belongs to it."""
    following = next((place for place in range(meeting + 1, len(steps)) if steps[place].learns), len(steps))
    return next((at for at in reversed(cuts) if meeting <= at < following), None)


def _with_weights(parts: list[list[Step]]) -> list[list[Step]]:
    """Return the parts, those without weights put before the next; a last one that only normalises, behind the one
    before it: as a stage of its own it would be little to unfreeze."""
    found: list[list[Step]] = []
    before: list[Step] = []
    for part in parts:
        before = [*before, *part]
        if any(step.learns and not step.kind.endswith("Normalization") for step in before):
            found.append(before)
            before = []
    if before:
        found[-1:] = [[*(found[-1] if found else []), *before]]
    return found


def _meetings(steps: list[Step]) -> list[int]:
    return [place for place, step in enumerate(steps) if step.kind in _MEETINGS and len(step.takes) > 1]


def _shrinks(step: Step) -> bool:
    before, after = step.shapes[0], step.shape
    if len(before) != 4 or len(after) != 4 or before[1] is None or after[1] is None:
        return False
    return after[1] * 1.5 < before[1]


def _places_where_all_meets(steps: list[Step], start: int) -> list[int]:
    """Return the places in a row of steps behind which one tensor alone is still needed: the one just made."""
    last = {tensor: place for place, step in enumerate(steps) for tensor in step.takes}
    found, open_until = [], last[start]
    for place, step in enumerate(steps):
        # Of what came before, nothing may be taken any more behind this step.
        if open_until <= place and len(step.gives) == 1:
            found.append(place)
        open_until = max(open_until, *(last.get(tensor, place) for tensor in step.gives))
    return found
