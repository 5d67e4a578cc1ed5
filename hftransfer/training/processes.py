"""The processes of a run, each with its share of the work: they agree on what happens next.

They are started by `hftransfer run --processes N`, torchrun or `accelerate launch`. What one of them can't do, or a
signal that reaches one of them, stops all of them at the same place.
"""

from __future__ import annotations

import atexit
import datetime
import os
import pickle
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Generic, TypeVar

from hftransfer.training.interrupts import Interrupted

if TYPE_CHECKING:
    from torch import Tensor, nn

T = TypeVar("T")
_MOMENT_SECONDS = 0.1
# How long a process waits for the others: reading data and writing results may take long in one of them.
_PATIENCE = datetime.timedelta(days=7)


@dataclass(frozen=True)
class _Outcome(Generic[T]):
    value: T | None = None
    error: BaseException | None = None


@dataclass(frozen=True)
class Processes:
    """This process among all of a run: its number, and its number on its own machine."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    @property
    def is_first(self) -> bool:
        """Return whether this is the one process that writes and prints."""
        return self.rank == 0

    @property
    def machine(self) -> int:
        """The number of the first process on this machine."""
        return self.rank - self.local_rank

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Return every count-th item, beginning with the rank's."""
        return items[self.rank :: self.count]

    def share_of_machine(self, items: Sequence[T]) -> Sequence[T]:
        """Return the share where the processes of this machine alone do the work."""
        return items[self.local_rank :: self.local_count]

    def gather(self, value: T) -> list[T]:
        """Return the values of all processes, in order."""
        if self.count == 1:
            return [value]
        from accelerate.utils import gather_object

        found: list[T] = gather_object([value])
        return found

    def agree(self, work: Callable[[], T]) -> list[T]:
        """Return what the work gives in each process, in order.

        Raises:
            Exception: what it raises in the first process in which it raises something, in all of them.
        """
        if self.count == 1:
            return [work()]
        # What fails here is not raised before the others have heard of it: they would wait for this process.
        own = _outcome(work)
        found = self.gather(own)
        if own.error is not None:
            raise own.error
        for outcome in found:
            if outcome.error is not None:
                raise outcome.error
        return [outcome.value for outcome in found]  # type: ignore[misc]

    def together(self, work: Callable[[], T]) -> T:
        """Return what the work gives in this process, once it is done in all of them.

        Raises:
            Exception: as `agree`.
        """
        kept: list[T] = []
        self.agree(lambda: kept.append(work()))
        return kept[0]

    def first(self, work: Callable[[], T]) -> T:
        """Return what the work gives in the first process, for all; the others do not do it.

        Raises:
            Exception: as `agree`.
        """
        return self.agree(lambda: work() if self.is_first else None)[0]  # type: ignore[return-value]

    def in_turn(self, work: Callable[[], T]) -> T:
        """Return what the work gives in this process; one on each machine does it before the others there, which then
        find what it fetched.

        Raises:
            Exception: as `agree`.
        """
        if self.count == 1:
            return work()
        # One on each machine: machines may not see each other's files.
        leads = self.local_rank == 0
        before = self.together(lambda: work() if leads else None)
        after = self.together(lambda: work() if not leads else None)
        return before if leads else after  # type: ignore[return-value]

    def sum_gradients(self, parameters: Sequence[nn.Parameter], numbers: Sequence[float]) -> list[float]:
        """Return the sums of the numbers; the gradients are summed over the processes too.

        A parameter without a gradient in all of them has none afterwards. They are summed once, after a whole step,
        and not by hooks in the backward pass: so each process may divide its share as its memory demands.
        """
        import torch

        learning = [parameter for parameter in parameters if parameter.requires_grad]
        gradients = [parameter.grad for parameter in learning]
        # A process whose share is empty has no gradient where others have one.
        there = [float(gradient is not None) for gradient in gradients]
        # One message for all: numbers, who has which gradient, and the gradients behind each other.
        head = torch.tensor([*numbers, *there], device=learning[0].device if learning else None)
        pairs = zip(learning, gradients, strict=True)
        filled = [torch.zeros_like(p) if gradient is None else gradient for p, gradient in pairs]
        flat = self.sum(torch.cat([head, *(gradient.detach().reshape(-1).float() for gradient in filled)]))
        found = flat[: len(head)].tolist()
        at = len(head)
        for parameter, count in zip(learning, found[len(numbers) :], strict=True):
            part = flat[at : at + parameter.numel()].view_as(parameter)
            # Laid out as the parameter is: fused steps read both in the order of memory (channels-last or not).
            parameter.grad = torch.empty_like(parameter, requires_grad=False).copy_(part) if count else None
            at += parameter.numel()
        return [float(number) for number in found[: len(numbers)]]

    def share_statistics(self, buffers: Iterable[Tensor], examples: int) -> None:
        """Set running statistics to their mean over the processes, each of which normalised so many examples: all go
        on, and are judged, as one model. What counts steps stays."""
        own = [buffer for buffer in buffers if buffer.is_floating_point()] if self.count > 1 else []
        if not own:
            return
        import torch

        flat = torch.cat([buffer.reshape(-1).float() for buffer in own])
        found = self.sum(torch.cat([flat * examples, flat.new_tensor([float(examples)])]))
        if not float(found[-1]):
            return  # nothing was learned
        parts = torch.split(found[:-1] / found[-1], [buffer.numel() for buffer in own])
        for buffer, mean in zip(own, parts, strict=True):
            buffer.copy_(mean.view_as(buffer))

    def sum(self, numbers: Tensor) -> Tensor:
        """Return the sum over the processes, element by element."""
        if self.count > 1:
            import torch

            torch.distributed.all_reduce(numbers)
        return numbers


ALONE = Processes()


_DECIDED_BY_RECIPE = {
    "ACCELERATE_MIXED_PRECISION": "train.precision",
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "train.batch_size and train.micro_batch_size",
    "ACCELERATE_DYNAMO_BACKEND": "train.compile",
    "ACCELERATE_USE_FSDP": "train.distributed",
    "ACCELERATE_USE_DEEPSPEED": "train.distributed",
    "ACCELERATE_USE_MEGATRON_LM": "train.distributed",
}


@cache
def stray_settings() -> dict[str, tuple[str, str]]:
    """Return what `accelerate launch` or its configuration asks for and the recipe decides: by variable the key of the
    recipe and the value. The variables are gone afterwards, so that Accelerate does not follow them."""
    found = {name: (key, os.environ.pop(name)) for name, key in _DECIDED_BY_RECIPE.items() if name in os.environ}
    return {name: entry for name, entry in found.items() if entry[1].lower() not in ("", "no", "1", "0", "false")}


@cache
def processes() -> Processes:
    """Return this process among those that were started together; the first call connects them."""
    stray_settings()
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return ALONE
    import torch
    from accelerate import PartialState

    state = PartialState(cpu=not torch.accelerator.is_available(), timeout=_PATIENCE)
    # Alone each would train a model of its own, and all would write the same folder.
    if state.num_processes != count:
        raise RuntimeError(f"{count} processes were started and {state.num_processes} found each other")
    atexit.register(_part)
    # Where the launcher does not say how many are here, all are taken to be.
    local_count = int(os.environ.get("LOCAL_WORLD_SIZE", str(count)))
    return Processes(state.process_index, count, state.local_process_index, local_count)


def _part() -> None:
    """Give up the connection to the other processes, after its threads have had their turn.

    A thread of gloo that gives back the Python object of a tensor after the last collective waits for the lock of the
    interpreter. Got while the interpreter ends, it ends the process with SIGABRT: 7 of 20 minimal processes where
    nothing destroyed the group, 27 of 40 where something (an FSDP mesh) held it beyond that, none of 60 after a moment.
    """
    import torch.distributed

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        time.sleep(_MOMENT_SECONDS)


def _outcome(work: Callable[[], T]) -> _Outcome[T]:
    try:
        return _Outcome(work())
    except (Exception, Interrupted) as error:
        return _Outcome(error=_portable(error))


def _portable(error: BaseException) -> BaseException:
    """Return the error, or one of the same words if it can't go to other processes."""
    try:
        # Some errors can be pickled, but not read back.
        pickle.loads(pickle.dumps(error))  # noqa: S301 our own bytes
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
