"""The one training loop: what lies above the boundary, stepped on Accelerate.

The descent reads fit -> _Run.epoch -> _Run.step. The order of the data follows from seed and epoch, all that is random
in a step from seed, step and places in the batch, and what else it depends on is in `_Run`: a run that goes on from a
checkpoint ends with the same bits as one that was never interrupted, and several processes do what one would.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import ClassVar, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hftransfer.adapters.base import Activations, Adapter
from hftransfer.base.errors import HftransferError, ModelError, first_line, must_be, some
from hftransfer.base.plain import shown_number
from hftransfer.base.progress import Progress
from hftransfer.metrics.metric import metric_words
from hftransfer.strategies import Rates
from hftransfer.tasks.contract import Judged, Loss
from hftransfer.training.activations import Source, forward, read_batches
from hftransfer.training.batches import Share, count_of_steps, passes_of, shares_of_epoch
from hftransfer.training.checkpoint import Checkpoints, Saved
from hftransfer.training.devices import Compute, has_no_order, repeatable
from hftransfer.training.dropout import Streams, cheap_dropout
from hftransfer.training.frozen import frozen_twin, head_in_float32
from hftransfer.training.interrupts import Interrupted, stop_if_asked
from hftransfer.training.low_rank import frozen_cast, lora_layers, quick_lora
from hftransfer.training.optimizer import lay_out_state, make_optimizer, share_of_rate
from hftransfer.training.settings import TrainSettings
from hftransfer.training.sharding import set_whole, shard, shared_like, whole
from hftransfer.training.tracking import Log, not_tracked

Targets = tuple[tuple[float, Sequence[int]], ...]
"""By how much which items' losses count in a batch: its own, and where images are mixed those of others."""


OnEpoch = Callable[[Mapping[str, float]], object]
"""A function that is called with the row of the history after each epoch; where it returns True training ends."""

Kept = TypeVar("Kept")
_ALL = 1 << 30
_CPU_TOKENS = 384
"""Tokens that go through the network at once on a CPU: enough for its matrix products. LoRA of SmolLM2-135M holds about
4 MB for each."""


class TrainingError(HftransferError):
    """Training can't go on: the loss is no finite number."""

    exit_status: ClassVar[int] = 1


@dataclass(frozen=True)
class Evaluation:
    """The state after an epoch: how the validation split was judged, what of it is shown, and the score, the higher
    the better, by which the best model is chosen."""

    judged: Judged
    metrics: dict[str, float]
    score: tuple[float, ...]
    ends: bool = False
    """Whether somebody who was told of it ends training."""


@dataclass
class History:
    """One row per epoch, which of them was the best, and its score; epoch 0 is what was there before training."""

    rows: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best_score: tuple[float, ...] = ()
    start: dict[str, float] = field(default_factory=dict)
    """The row of epoch 0, where the model was judged before training."""
    mean: dict[str, float] = field(default_factory=dict)
    """The metrics of the mean of the weights of all epochs, where that is the model that is kept."""

    @property
    def keeps_start(self) -> bool:
        """Whether the model before training is kept."""
        return bool(self.rows) and self.best_epoch == 0 and not self.mean

    @property
    def kept(self) -> str:
        """The model that is kept, in words."""
        if self.mean:
            return f"the mean of the weights of epochs 0 to {len(self.rows)}, where later epochs count more"
        return f"epoch {self.best_epoch} of {len(self.rows)}" if self.best_epoch else "what was there before training"

    @property
    def kept_epoch(self) -> int | None:
        """The epoch whose model is kept; None for the mean of all."""
        return None if self.mean else self.best_epoch

    @property
    def table(self) -> list[dict[str, float]]:
        """The rows with that of epoch 0 first, which has neither training loss nor learning rate; NaN where nothing
        was measured."""
        if not self.rows:
            return []
        rows = [self.start, *self.rows] if self.start else self.rows
        return [{name: row.get(name, math.nan) for name in self.rows[-1]} for row in rows]

    def stops(self, patience: int | None) -> bool:
        """Return whether so many epochs passed without a better score."""
        return patience is not None and bool(self.rows) and len(self.rows) - self.best_epoch >= patience


@dataclass
class Position:
    """How far a training is: everything in whole steps."""

    epoch: int = 0
    batch: int = 0
    """Finished batches of this epoch."""
    steps: int = 0
    loss_sum: float = 0.0
    """Of this epoch's finished batches, weighted."""
    seconds: float = 0.0
    """Spent in this epoch before the run was interrupted."""


@dataclass(frozen=True)
class Keeping:
    """Where checkpoints go, what they belong to, and the one to go on from."""

    checkpoints: Checkpoints
    identity: Mapping[str, object]
    resume: Saved | None = None


class Upper(nn.Module):
    """The learning part as one module: activations in, logits out."""

    def __init__(self, adapter: Adapter, boundary: int) -> None:
        super().__init__()
        self.model, self.adapter, self.boundary = adapter.model, adapter, boundary

    def forward(self, activations: Activations) -> Tensor:
        """Return the logits."""
        return self.adapter.above(activations, self.boundary)


PATIENCE = 3
"""Epochs without a better validation score after which training ends, where nobody says."""


@dataclass(frozen=True)
class Plan:
    """The parts of a training."""

    adapter: Adapter
    boundary: int
    train: Callable[[int], Source]
    """The source of an epoch."""
    loss: Loss
    evaluate: Callable[[], Evaluation]
    name_of: Callable[[int], str]
    """What a person knows a training item by."""
    rates: Rates
    settings: TrainSettings
    epochs: int
    compute: Compute
    progress: Progress
    keeping: Keeping | None = None
    log: Log = not_tracked
    on_epoch: OnEpoch | None = None
    from_start: bool = False
    """Whether the model as it is before training may be the best one."""
    keeps_last: bool = False
    """Whether the last epoch's model counts as the best, whatever validation says of it."""
    judges_each: bool = True
    """Whether validation is judged after each epoch, and not after the last alone."""
    last_epoch: int | None = None
    """After so many of the epochs training ends; None: after all, or where it does not get better."""
    mean_serves: Callable[[Judged, Judged], bool] | None = None
    """Whether the mean of the weights of all epochs, epoch 0 among them, is kept instead of the best epoch's: told by
    how the best epoch's model is judged, and that mean. None: never."""

    usual_patience: int | None = PATIENCE
    """The patience where nobody says."""

    @property
    def most_epochs(self) -> int:
        """After so many epochs training ends."""
        return self.epochs if self.last_epoch is None else min(self.last_epoch, self.epochs)

    @property
    def patience(self) -> int | None:
        """After so many epochs without a better score training ends; None: validation has no say."""
        if self.last_epoch is not None:
            return None
        return self.usual_patience if self.settings.patience == "auto" else self.settings.patience


@dataclass(frozen=True)
class Fitted:
    """The measurements epoch by epoch, the best evaluation (None if it was before an interruption), and what writes a
    checkpoint of the finished training."""

    history: History
    best: Evaluation | None
    save: Callable[[], None]
    steps: int = 0


def fit(plan: Plan) -> Fitted:
    """Return what came of a training; the adapter's model is the best one afterwards.

    Raises:
        TrainingError: the loss or its gradient became NaN or infinite; the step is not taken.
        Interrupted: a signal asked to stop; there is a checkpoint, where they are kept.
        OutputError: a checkpoint can't be written.
    """
    run = _Run(plan)
    with nullcontext() if run.shards else frozen_cast(plan.adapter.model, plan.compute):
        return _fitted(plan, run)


def _fitted(plan: Plan, run: _Run) -> Fitted:
    best: Evaluation | None = run.judge_start() if plan.from_start and not run.at.steps else None
    try:
        run.compile(on=plan.settings.compile)
        ends = best is not None and best.ends
        while not ends and run.at.epoch < plan.most_epochs and not run.history.stops(plan.patience):
            found = run.epoch()
            if run.history.best_epoch == run.at.epoch:
                best = found
            ends = run.is_told_to_end(found)
    except Interrupted:
        run.save()
        raise
    finally:
        run.compile(on=False)
    if run.history.stops(plan.patience) and run.at.epoch < plan.epochs:
        plan.progress.line(f"stopped: no better validation score in {plan.patience} epochs")
    set_whole(run.judged, run.best)
    plan.adapter.model.to(plan.compute.device)
    plan.adapter.learn_mode(plan.boundary, on=False)
    if run.mean and run.history.rows:
        best = run.choose_mean(best)
    elif run.history.best_epoch and plan.last_epoch is None and not plan.keeps_last:
        plan.progress.line(f"kept: {run.history.kept}")
    return Fitted(run.history, best, run.save, run.at.steps)


class _Run:
    """The state of one training: weights, optimiser, schedule, random numbers, and how far it is."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.settings, self.compute = plan, plan.settings, plan.compute
        self.boundary, self.processes = plan.boundary, plan.compute.processes
        self.at, self.history = Position(), History()
        self.micro_batch_size = self.settings.micro_batch_size or (
            self.settings.batch_size if self.settings.tokens_per_batch is None else _ALL
        )
        self.accelerator = self.compute.accelerator()
        self.shards = self.settings.distributed == "fsdp" and self.processes.count > 1
        self.repeats = self.compute.device.type == "cuda" and not self.shards
        self.adapter = self._placed()
        self.low_rank = lora_layers(self.adapter.model) if self.compute.device.type == "cpu" else []
        optimizer = make_optimizer(self.adapter, plan.rates, self.settings, self.compute.device)
        first = plan.train(0)
        grouped = plan.loss.classes is not None
        steps = count_of_steps(len(first), first.lengths, self.settings, plan.epochs, grouped=grouped)
        share = share_of_rate(self.settings.schedule, steps, self.settings.warmup)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        self.optimizer = self.accelerator.prepare(optimizer)
        # The same parameters, but for FSDP: there a copy learns in shares, and the plan's own adapter is judged.
        self.learning, self.judged = _learning(self.adapter), _learning(plan.adapter)
        self.average = {name: p.detach().clone() for name, p in self.learning.items()} if self.settings.ema else {}
        self.best: dict[str, Tensor] = {}
        self.mean: dict[str, Tensor] = {}
        self.best_file: Path | None = None
        self.is_whole = True
        self.saved_at = time.monotonic()
        if plan.keeping is not None and plan.keeping.resume is not None:
            self._restore(plan.keeping.resume)

    def _placed(self) -> Adapter:
        """Return the adapter that is trained, on the device: the plan's own, or around a copy of its model whose
        learning part is shared."""
        adapter, device = self.plan.adapter, self.compute.device
        if self.shards:
            adapter = adapter.with_model(copy.deepcopy(adapter.model))
            self.plan.adapter.model.to("cpu")
        adapter.model.to(device)
        self.upper = Upper(adapter, self.boundary)
        if self.shards:
            shard(self.upper, adapter, self.boundary, device)
        return adapter

    def compile(self, *, on: bool) -> None:
        """Have the learning stages compiled when they are first used, or let them be what they were."""
        for stage in self.adapter.stages[self.boundary :]:
            if on:
                stage.compile()
            else:
                # `Module.compile` sets it, and has no way back of its own.
                stage._compiled_call_impl = None

    # --- the descent ---

    def epoch(self) -> Evaluation | None:
        """Return how the validation split is judged after what is left of an epoch; None where it isn't."""
        began, plan, number = time.perf_counter(), self.plan, self.at.epoch + 1
        source = plan.train(self.at.epoch)
        classes = plan.loss.classes
        shares = shares_of_epoch(len(source), source.lengths, classes, self.settings, self.at.epoch, self.processes)
        left = shares[self.at.batch :]
        with plan.progress.stage(f"epoch {number} of {plan.epochs}", len(shares)) as advance:
            # Of an interrupted epoch the first batches are done already.
            advance(self.at.batch)
            self.adapter.learn_mode(self.boundary, on=True)
            lay_out_state(self.optimizer)  # weights may lie channels-last now, and a checkpoint knows no such thing
            if plan.rates.gradual:
                self._unfreeze_down_to(self.at.epoch)
            reads = read_batches(_reader(source), [share for share in left if share.places], self.compute)
            try:
                for share in left:
                    if self.step(source, share, reads):
                        self.save()
                    advance(1)
            finally:
                reads.close()
                self.adapter.learn_mode(self.boundary, on=False)
                self.at.seconds += time.perf_counter() - began
        began = time.perf_counter()
        with self._judged_weights():
            found = plan.evaluate() if plan.judges_each or number == plan.most_epochs else None
            score = found.score if found is not None else ()
            self.is_whole = False
            self._take_into_mean(number)
            # Until the epoch's row is written a checkpoint would have the new best weights without it.
            if plan.keeps_last or not self.history.best_score or score > self.history.best_score:
                self.history.best_epoch, self.history.best_score = number, score
                self.best, self.best_file = _kept(self.judged), None
        self.at.seconds += time.perf_counter() - began
        self._record(found, self.at.loss_sum / plan.loss.weight(range(len(source))))
        return found

    def is_told_to_end(self, found: Evaluation | None) -> bool:
        """Return whether the plan's `on_epoch`, called with the last row in the first process, ends training, or who
        was told of the evaluation."""
        on_epoch = self.plan.on_epoch
        if found is not None and found.ends:
            self.plan.progress.line(f"stopped by on_evaluate after epoch {self.at.epoch}")
            return True
        if on_epoch is None or not self.processes.first(lambda: on_epoch(dict(self.history.rows[-1])) is True):
            return False
        self.plan.progress.line(f"stopped by on_epoch after epoch {self.at.epoch}")
        return True

    def judge_start(self) -> Evaluation:
        """Return how the validation split is judged before training: the first model that others must be better
        than."""
        began = time.perf_counter()
        with self._judged_weights():
            found = self.plan.evaluate()
            self.history.best_score = found.score
            self.best, self.best_file = _kept(self.judged), None
            self._take_into_mean(0)
        self.history.start = {"epoch": 0, **found.metrics, "seconds": time.perf_counter() - began}
        shown = ", ".join(f"{metric_words(name)} {shown_number(value)}" for name, value in found.metrics.items())
        if not self._learns_all:
            self.plan.progress.line(f"before training: validation {shown}")
        return found

    @property
    def _learns_all(self) -> bool:
        """Whether the validation rows are learned from, too: what they come to says nothing then."""
        return self.plan.last_epoch is not None

    @torch.no_grad()
    def _take_into_mean(self, epoch: int) -> None:
        """Let the weights that are judged count in the mean: those of epoch e count e + 1 times, the start once."""
        if self.plan.mean_serves is None or (epoch and not self.mean):
            return  # not asked for, or gone on from a checkpoint without it
        own = _kept(self.judged)
        for name, weight in own.items():
            # What counts steps has no mean: the last value stands.
            if epoch and weight.is_floating_point():
                # e + 1 of 1 + 2 + … + (e + 1)
                weight.copy_(torch.lerp(self.mean[name], weight, 2 / (epoch + 2)))
        self.mean = own

    def choose_mean(self, best: Evaluation | None) -> Evaluation:
        """Return how the model that is kept is judged, of the best epoch's (which the adapter has) and that of the mean
        of all epochs' weights: a few validation rows can't tell the best epoch, and the mean is seldom far from it
        (Izmailov et al., arXiv 1803.05407; with the start, Wortsman et al., arXiv 2109.01903)."""
        plan, serves = self.plan, self.plan.mean_serves
        assert serves is not None
        best = best if best is not None else plan.evaluate()
        set_whole(self.judged, self.mean)
        mean = plan.evaluate()
        if not serves(best.judged, mean.judged):
            set_whole(self.judged, self.best)
            self._tell_kept(best, mean, "that of the mean of all epochs' weights, which is worse")
            return best
        self.history.mean = mean.metrics
        self._tell_kept(mean, best, f"that of epoch {self.history.best_epoch}, the best alone")
        return mean

    def _tell_kept(self, kept: Evaluation, other: Evaluation, why: str) -> None:
        """Say which model is kept, and what another, in brackets, came to on validation."""
        if self._learns_all:
            return
        told = (
            f"{metric_words(name)} {shown_number(kept.metrics[name])} ({shown_number(other.metrics[name])})"
            for name in kept.metrics
        )
        self.plan.progress.line(f"kept: {self.history.kept}; validation {', '.join(told)}, in brackets {why}")

    def _record(self, found: Evaluation | None, train_loss: float) -> None:
        """End the epoch: a row in the history, a line for people, and on to the next."""
        metrics = found.metrics if found is not None else {}
        share = self.schedule.lr_lambdas[0](max(0, self.at.steps - 1))
        rate = float(self.schedule.base_lrs[0]) * share  # of the last step
        seconds, number = self.at.seconds, self.at.epoch + 1
        self.history.rows.append(
            {"epoch": number, "train_loss": train_loss, **metrics, "learning_rate": rate, "seconds": seconds}
        )
        self.plan.log({f"validation/{name}": value for name, value in metrics.items()}, self.at.steps)
        shown = ", ".join(f"{metric_words(name)} {shown_number(value)}" for name, value in metrics.items())
        told = f"; validation {shown}" if shown and not self._learns_all else ""
        self.plan.progress.line(f"epoch {number}: training loss {shown_number(train_loss)}{told} ({seconds:.1f} s)")
        self.at = Position(epoch=number, steps=self.at.steps)
        self.is_whole = True

    def step(self, source: Source, share: Share, reads: Iterator[Activations]) -> bool:
        """Return whether a checkpoint is due; the learning part is one step further."""
        value, due = self._gradient(source, share, reads)
        norm = float(whole(self.accelerator.clip_grad_norm_(self.upper.parameters(), self.settings.max_grad_norm)))
        # Before the optimiser steps: weights that became NaN can't be taken back.
        self._require_finite("loss", value, share.batch)
        if self.accelerator.scaler is None:  # a scaler passes over steps whose gradient overflows
            self._require_finite("gradient's norm", norm, share.batch)
        self.is_whole = False
        # A share of one example is normalised by what was learned before.
        normalised = len(share.places) if share.counts and len(share.places) > 1 else 0
        self.processes.share_statistics(self._statistics, normalised)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        self.at.steps += 1
        self.at.batch += 1
        # The last batch may be smaller: the mean of an epoch is over examples, not over batches.
        self.at.loss_sum += value * self.plan.loss.weight(share.batch)
        if self.average:
            self._move_average()
        self.is_whole = True
        rate = float(self.schedule.get_last_lr()[0])
        self.plan.log({"train/loss": value, "train/learning_rate": rate}, self.at.steps)
        every = self.settings.checkpoint_every_steps
        return due or (every is not None and self.at.steps % every == 0)

    def _gradient(self, source: Source, share: Share, reads: Iterator[Activations]) -> tuple[float, bool]:
        """Return the mean loss of one batch, and whether it is time for a checkpoint; the batch's gradient is summed
        over the processes and the parts of each one's share."""
        minutes = self.settings.checkpoint_every_minutes
        due = minutes is not None and time.monotonic() - self.saved_at >= 60 * minutes
        if self.processes.count == 1:
            return self._accumulate(source, share, next(reads)), due
        if self.shards:
            read = self.processes.together(lambda: _next_unless_stopped(reads))
            # Clocks differ: the first process's alone decides, so that all write a checkpoint at the same step.
            numbers = [self._accumulate(source, share, read), float(due and self.processes.is_first)]
            value, clock = self.processes.sum(torch.tensor(numbers, device=self.compute.device)).tolist()
            return value, clock > 0
        value, failure = 0.0, None
        try:
            if share.places:
                value = self._accumulate(source, share, next(reads))
        except (Exception, Interrupted) as error:
            self.optimizer.zero_grad()
            # The others wait for this gradient: a fault goes along with it, and all processes raise it.
            failure = error
        numbers = [value, float(due and self.processes.is_first), float(failure is not None)]
        value, clock, failed = self.processes.sum_gradients(
            [one for one in self.learning.values() if isinstance(one, nn.Parameter)], numbers
        )
        if failed:
            self.processes.agree(lambda: _raise(failure))
        return value, clock > 0

    def _accumulate(self, source: Source, share: Share, read: Activations) -> float:
        """Return what a share adds to the mean loss of its batch; gradients are summed over parts, made smaller until
        they fit the memory."""
        read, targets = _mixed(share, read)
        while True:
            try:
                with repeatable(on=self.repeats):
                    return sum(self._part(source, share, read, targets, part) for part in self._parts(share))
            except (RuntimeError, MemoryError) as error:
                if self.repeats and has_no_order(error):
                    self._give_up_order(error)
                    continue
                # With FSDP every process computes as many parts as the others: none can make its own smaller.
                if not _out_of_memory(error) or self.micro_batch_size == 1 or self.shards:
                    raise
                # Such a loss compares all examples of a batch: of its parts it would be another loss.
                if self.plan.loss.whole_batches:
                    got = f"{len(share.places)}, which do not fit into memory"
                    raise TrainingError(must_be("train.batch_size", "smaller", got)) from error
            self.optimizer.zero_grad()
            # A share may have fewer examples than the setting: half of what was tried, not of what was set.
            self.micro_batch_size = -(-min(self._part_size(share), len(share.places)) // 2)
            _free_memory()
            unchanged = "the steps unchanged" if not self._statistics else "BatchNorm's means of so many"
            self.plan.progress.line(
                f"out of memory: {self.micro_batch_size} examples at a time from here on, with {unchanged}"
            )

    def _give_up_order(self, error: BaseException) -> None:
        """Compute on in whatever order is quickest, from the batch on that could not be computed in a fixed one."""
        self.repeats = False
        self.optimizer.zero_grad()
        self.plan.progress.line(f"this run can't be reproduced bit for bit: {first_line(error)}")

    def _parts(self, share: Share) -> list[slice]:
        """Return the parts of a share that go through the network at once; with FSDP as many of them in every
        process."""
        count, size = len(share.places), self._part_size(share)
        if not self.shards:
            return [slice(at, at + size) for at in range(0, count, size)]
        most = -(-len(share.batch) // self.processes.count)
        return [slice(at, at + size) for at in range(0, most, size)]

    def _part_size(self, share: Share) -> int:
        """Return how many examples of a share go through the network at once."""
        if self.plan.loss.whole_batches:
            return len(share.batch)
        tokens = self.settings.micro_tokens
        if tokens == "auto":
            tokens = _CPU_TOKENS if self.compute.device.type == "cpu" else None
        if tokens is None or not share.tokens:
            return self.micro_batch_size
        return min(self.micro_batch_size, max(1, tokens // share.tokens))

    def _part(self, source: Source, share: Share, read: Activations, targets: Targets, part: slice) -> float:
        """Return what a part of a share adds to the mean loss of its batch; its gradient is added to the others'."""
        if not self.shards:
            stop_if_asked()
        counts = share.counts and part.start < len(share.places)
        part = part if counts else slice(0, 1)
        streams = self._random(share.places[part])
        with self.accelerator.autocast():
            # What is frozen drops nothing, and is computed as what is kept of it.
            activations = source.activations({name: tensor[part] for name, tensor in read.items()})
            with self._quick(streams):
                logits = self.upper(activations).float()
        # Of mixed images each of the two targets counts by its part of the pixels.
        total = sum(own * self.plan.loss.of(logits, items[part], source.items) for own, items in targets)
        loss = torch.as_tensor(total) * float(counts) / self.plan.loss.weight(share.batch)
        self.accelerator.backward(loss * self.processes.count if self.shards else loss)  # FSDP takes the mean
        return float(loss.detach())

    def _quick(self, streams: Streams) -> AbstractContextManager[object]:
        """Return a context in which dropout and LoRA take the quick ways, which a compiled network has not."""
        quick = ExitStack()
        if not self.settings.compile:
            quick.enter_context(cheap_dropout(self.compute.device, streams))
            quick.enter_context(quick_lora(self.low_rank, streams))
        return quick

    def _random(self, places: Sequence[int]) -> Streams:
        """Return the random numbers of a part; torch's own generators are seeded for it too."""
        # By step and place in the batch: a run that goes on later draws the same numbers as one that never stopped.
        seed, step = self.settings.seed, self.at.steps
        torch.manual_seed(int(np.random.SeedSequence([seed, step, places[0]]).generate_state(1, np.uint64)[0] >> 1))
        return Streams(seed, step, places)

    def _require_finite(self, what: str, value: float, chosen: Sequence[int]) -> None:
        if math.isfinite(value):
            return
        where = f"the training {what} at step {self.at.steps + 1} (epoch {self.at.epoch + 1})"
        items = some((self.plan.name_of(item) for item in chosen), 4)
        got = f"{value} at learning rate {self.schedule.get_last_lr()[0]:.2g} on {items}"
        remedy = "Try a lower strategy.learning_rate, or train.precision=fp32."
        raise TrainingError(must_be(where, "finite", got, remedy))

    def _unfreeze_down_to(self, epoch: int) -> None:
        """Let the head and the e last stages learn at epoch e (Howard & Ruder, arXiv 1801.06146, section 3.3); where no
        head learns, the last stage is the first."""
        least = min(group["depth"] for group in self.optimizer.param_groups)
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                parameter.requires_grad_(group["depth"] <= least + epoch)

    # --- weights ---

    @property
    def _statistics(self) -> list[Tensor]:
        """The running statistics of layers that begin anew."""
        return [learned for learned in self.learning.values() if not isinstance(learned, nn.Parameter)]

    @contextmanager
    def _judged_weights(self) -> Iterator[None]:
        """Meanwhile the plan's adapter has the weights that are judged: the average, where one is kept, else those of
        training, put together."""
        if not self.average and not self.shards:
            yield
            return
        before = _whole_weights(self.judged) if not self.shards else {}
        set_whole(self.judged, _whole_weights(self.average or self.learning))
        self.plan.adapter.model.to(self.compute.device)
        try:
            yield
        finally:
            set_whole(self.judged, before)
            if self.shards:
                self.plan.adapter.model.to("cpu")

    @torch.no_grad()
    def _move_average(self) -> None:
        """Move the exponential moving average of the weights on (Polyak averaging; the first steps count
        more, as in TensorFlow's and timm's)."""
        decay = min(self.settings.ema or 0.0, (1 + self.at.steps) / (10 + self.at.steps))
        moving = {name: average for name, average in self.average.items() if average.is_floating_point()}
        own = [self.learning[name].detach() for name in moving]
        torch._foreach_lerp_(list(moving.values()), own, 1 - decay)
        for name in self.average.keys() - moving.keys():  # what counts steps has no mean
            self.average[name].copy_(self.learning[name])

    # --- checkpoints ---

    def save(self) -> None:
        """Write a checkpoint of the state after the last whole step, where checkpoints are kept.

        None is written where the time was up in the middle of an optimiser's step: the one before it stays.
        """
        keeping = self.plan.keeping
        self.saved_at = time.monotonic()
        # With FSDP every process has to help to put the weights together; one alone writes them.
        if keeping is None or not self.is_whole or (not self.shards and not self.processes.is_first):
            return
        best: Mapping[str, Tensor] | Path = self.best_file or self.best
        parts: dict[str, Mapping[str, Tensor] | Path] = {
            "learning": _whole_weights(self.learning),
            "optimizer": _optimizer_tensors(self.optimizer),
            "average": _whole_weights(self.average),
            "best": best,
            "mean": self.mean,
        }
        if not self.processes.is_first:
            return
        scaler = self.accelerator.scaler
        state = {
            "identity": dict(keeping.identity),
            "at": asdict(self.at),
            "history": asdict(self.history),
            "micro_batch_size": self.micro_batch_size,
            "schedule_steps": self.schedule.last_epoch,
            "scaler": scaler.state_dict() if scaler is not None else None,
        }
        folder = keeping.checkpoints.save(self.at.steps, {name: part for name, part in parts.items() if part}, state)
        # Until there are better weights the next checkpoint links to this file.
        if self.best:
            self.best_file = folder / "best.safetensors"

    def _restore(self, saved: Saved) -> None:
        """Restore all as it was when a checkpoint was written."""
        state = saved.state
        set_whole(self.learning, _on(saved.tensors("learning"), self.compute))
        set_whole(self.average, _on(saved.tensors("average"), self.compute))
        self.best, self.mean = dict(saved.tensors("best")), dict(saved.tensors("mean"))
        self.best_file = saved.folder / "best.safetensors" if self.best else None
        _load_optimizer(self.optimizer, saved.tensors("optimizer"))
        for group, initial in zip(self.optimizer.param_groups, self.schedule.base_lrs, strict=True):
            # A schedule sets rates when it steps: that of the restored step is set by hand.
            group["lr"] = initial * self.schedule.lr_lambdas[0](state["schedule_steps"])
        self.schedule.last_epoch = state["schedule_steps"]
        self.schedule._last_lr = [group["lr"] for group in self.optimizer.param_groups]
        self.at = Position(**state["at"])
        # JSON made a list of the score, and lists don't compare with tuples.
        self.history = History(**{**state["history"], "best_score": tuple(state["history"]["best_score"])})
        self.micro_batch_size = state["micro_batch_size"]
        if self.accelerator.scaler is not None and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.plan.progress.line(f"resuming after step {self.at.steps} (checkpoint {saved.folder.name})")


def _learning(adapter: Adapter) -> dict[str, Tensor]:
    """Return what learns, by name: parameters, and the running statistics of layers that begin anew."""
    own = {name: parameter for name, parameter in adapter.model.named_parameters() if parameter.requires_grad}
    return {**own, **adapter.learning_buffers()}


def _whole_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of all of these weights; where they are shared, every process must ask for them."""
    return {name: whole(weight) for name, weight in weights.items()}


def _kept(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the same in the host's memory."""
    return {name: whole(weight).cpu() for name, weight in weights.items()}


def _next_unless_stopped(reads: Iterator[Activations]) -> Activations:
    stop_if_asked()
    return next(reads)


def _raise(error: BaseException | None) -> None:
    if error is not None:
        raise error


def _on(tensors: Mapping[str, Tensor], compute: Compute) -> dict[str, Tensor]:
    return {name: tensor.to(compute.device) for name, tensor in tensors.items()}


def _optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return an optimiser's state as whole tensors, by the number of the parameter and the name of the entry."""
    entries = optimizer.state_dict()["state"]
    named = {f"{index}.{name}": value for index, own in entries.items() for name, value in own.items()}
    return {name: whole(torch.as_tensor(value)) for name, value in named.items()}


def _load_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for name, tensor in tensors.items():
        index, entry = name.split(".", 1)
        state.setdefault(int(index), {})[entry] = shared_like(tensor, parameters[int(index)])
    # The groups stay those of this recipe: rates and decays are not restored from a file.
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _reader(source: Source) -> Callable[[Share], Activations]:
    return lambda share: source.read(share.wanted, share.tokens)


def _mixed(share: Share, read: Activations) -> tuple[Activations, Targets]:
    """Return what was read of a share and whose loss counts how much; images are mixed with others where that is
    asked."""
    items = share.items
    if share.mixing is None:
        return read, ((1.0, items),)
    row = {item: index for index, item in enumerate(share.wanted)}
    pixels = read["pixel_values"]
    own, others = (pixels[[row[item] for item in of]] for of in (items, share.others))
    mixed, part = share.mixing(own, others)
    return {**read, "pixel_values": mixed}, ((part, items), (1 - part, share.others))


def predict(
    adapter: Adapter, source: Source, compute: Compute, places: Sequence[int] | None = None
) -> list[np.ndarray]:
    """Return the logits of every item, or of those at some places, in order, float32: (C,) each, of tokens (T, C)
    without padding."""
    return outcomes_of(adapter, source, compute, lambda _, logits: logits, places)


@torch.no_grad()
def outcomes_of(
    adapter: Adapter,
    source: Source,
    compute: Compute,
    keep: Callable[[Sequence[int], list[np.ndarray]], Sequence[Kept]],
    places: Sequence[int] | None = None,
) -> list[Kept]:
    """Return what `keep` makes of every item, or of those at some places, in order.

    It is given the positions of a batch's items and their logits, float32: (C,) each, of tokens (T, C) without padding.
    No more logits lie in memory than those of a batch, unless they are kept.
    """
    lengths = source.lengths
    # Texts of like length share a pass: little padding.
    wanted = np.arange(len(source)) if places is None else np.asarray(places, dtype=np.int64)
    order = wanted if lengths is None else wanted[np.argsort(-lengths[wanted], kind="stable")]
    # Without a backward pass nothing is kept of the layers: twice as many examples fit.
    batches = passes_of(order.tolist(), lengths, replace(compute, batch_size=2 * compute.batch_size))

    above = _above(adapter, source, compute, len(wanted))

    def own() -> dict[int, Kept]:
        found: dict[int, Kept] = {}
        mine = compute.processes.share(batches)
        for chosen, read in zip(mine, read_batches(source.read, mine, compute), strict=True):
            logits = above(read)
            rows = list(logits.float().cpu().numpy())
            if lengths is not None and logits.ndim == 3:  # (B, T, C): without padding
                rows = [row[: lengths[item]] for item, row in zip(chosen, rows, strict=True)]
            found.update(zip(chosen, keep(chosen, rows), strict=True))
        return found

    found = {item: row for part in compute.processes.agree(own) for item, row in part.items()}
    return [found[item] for item in wanted.tolist()]


_LEAST_TO_MERGE = 64


def _above(adapter: Adapter, source: Source, compute: Compute, count: int) -> Callable[[Activations], Tensor]:
    """Return what gives the logits of a batch as it was read.

    Of a network with LoRA in bfloat16 on CPU the matrices are added into a copy, where as many items pay for it: peft's
    layers took 2.4 times as long (ViT-Tiny, all linear layers). The head above it stays as it is.
    """
    whole = cast("Adapter", getattr(adapter, "adapter", adapter))
    top = len(adapter.stages)

    def as_it_is(read: Activations) -> Tensor:
        with compute.autocast(), head_in_float32(getattr(whole, "head", None)):
            return adapter.above(source.activations(read), source.boundary)

    def merged(read: Activations) -> Tensor:
        features = forward(twin, top, read, compute)["hidden"].float()  # (B, D)
        return adapter.above({"hidden": features}, top)

    pays = source.boundary == 0 and source.stored is None and count >= _LEAST_TO_MERGE
    is_bf16 = compute.device.type == "cpu" and compute.precision == "bf16"
    if whole.peft is None or not (pays and is_bf16 and whole.split.head_is_direct and not whole.head_port.of_maps):
        return as_it_is
    try:
        twin = frozen_twin(whole.merged(), compute)
    except ModelError:  # a layer that is not to be merged, or not of this precision
        return as_it_is
    return merged


def _out_of_memory(error: BaseException) -> bool:
    from accelerate.utils.memory import should_reduce_batch_size

    return isinstance(error, MemoryError) or should_reduce_batch_size(error)


def _free_memory() -> None:
    """Give what a failed part held back to the device."""
    from accelerate.utils.memory import clear_device_cache

    clear_device_cache(garbage_collection=True)
