"""The one training loop: what lies above the boundary, stepped on Accelerate.

The descent reads fit -> _Run.epoch -> _Run.step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from hftransfer.adapters.base import Activations, Adapter
from hftransfer.errors import HftransferError, must_be
from hftransfer.progress import Progress
from hftransfer.tasks.base import Judged, Loss
from hftransfer.training.activations import Source, read_ahead
from hftransfer.training.devices import Compute
from hftransfer.training.dropout import cheap_dropout
from hftransfer.training.settings import Schedule, TrainSettings


class TrainingError(HftransferError):
    """Training can't go on: the loss is no finite number."""


class Rates(Protocol):
    """The part of a strategy that says how fast what learns."""

    @property
    def learning_rate(self) -> float:
        """The peak learning rate of the last stage."""

    @property
    def head_lr(self) -> float:
        """The head's peak learning rate."""

    @property
    def layer_decay(self) -> float:
        """The share of the rate above at which each further stage learns."""

    @property
    def gradual(self) -> bool:
        """Whether one stage more learns at each epoch."""


@dataclass(frozen=True)
class Evaluation:
    """What is known after an epoch: how the validation split was judged, what of it is shown, and the score, the
    higher the better, by which the best model is chosen."""

    judged: Judged
    metrics: dict[str, float]
    score: tuple[float, ...]


@dataclass
class History:
    """One row per epoch, and which of them was the best."""

    rows: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0


class Upper(nn.Module):
    """The learning part as one module: activations in, logits out."""

    def __init__(self, adapter: Adapter, boundary: int) -> None:
        super().__init__()
        self.model, self.adapter, self.boundary = adapter.model, adapter, boundary

    def forward(self, activations: Activations) -> Tensor:
        """The logits."""
        return self.adapter.above(activations, self.boundary)


def fit(
    adapter: Adapter,
    boundary: int,
    train: Callable[[int], Source],
    loss: Loss,
    evaluate: Callable[[], Evaluation],
    rates: Rates,
    settings: TrainSettings,
    epochs: int,
    compute: Compute,
    progress: Progress,
) -> tuple[History, Evaluation]:
    """What was measured epoch by epoch, and the best evaluation; the adapter's model is the best one afterwards.

    `train` gives the source of an epoch.

    Raises:
        TrainingError: the loss or its gradient became NaN or infinite; the step is not taken.
    """
    run = _Run(adapter, boundary, train, loss, rates, settings, epochs, compute, progress)
    history = History()
    best: Evaluation | None = None
    kept: dict[str, Tensor] = {}
    for epoch in range(epochs):
        began = time.perf_counter()
        with progress.stage(f"epoch {epoch + 1} of {epochs}", run.steps_per_epoch) as advance:
            train_loss = run.epoch(epoch, advance)
        with run.averaged():
            found = evaluate()
            better = best is None or found.score > best.score
            kept = run.learning_weights() if better else kept
        seconds = time.perf_counter() - began
        rate = float(run.schedule.get_last_lr()[0])
        history.rows.append(
            {"epoch": epoch + 1, "train_loss": train_loss, **found.metrics, "learning_rate": rate, "seconds": seconds}
        )
        shown = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in found.metrics.items())
        progress.line(f"epoch {epoch + 1}: training loss {train_loss:.4f}; validation {shown} ({seconds:.1f} s)")
        if better:
            best, history.best_epoch = found, epoch + 1
        elif settings.patience is not None and epoch + 1 - history.best_epoch >= settings.patience:
            progress.line(f"stopped: no better validation score in {settings.patience} epochs")
            break
    run.set_learning_weights(kept)
    adapter.learn_mode(boundary, on=False)
    assert best is not None
    return history, best


class _Run:
    """The state of one training: optimiser, schedule, random numbers."""

    def __init__(
        self,
        adapter: Adapter,
        boundary: int,
        train: Callable[[int], Source],
        loss: Loss,
        rates: Rates,
        settings: TrainSettings,
        epochs: int,
        compute: Compute,
        progress: Progress,
    ) -> None:
        from accelerate import Accelerator

        self.adapter, self.boundary, self.loss, self.settings, self.compute = adapter, boundary, loss, settings, compute
        self.train, self.gradual, self.progress = train, bool(rates.gradual), progress
        self.micro_batch_size = settings.micro_batch_size or settings.batch_size
        self.steps_per_epoch = math.ceil(len(train(0)) / settings.batch_size)
        self.accelerator = Accelerator(
            cpu=compute.device.type == "cpu",
            mixed_precision="no" if compute.precision == "fp32" else compute.precision,
        )
        adapter.model.to(compute.device)
        optimizer = _optimizer(_parameter_groups(adapter, rates, settings.weight_decay), settings, compute)
        total = self.steps_per_epoch * epochs
        share = share_of_rate(settings.schedule, total, settings.warmup)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        self.upper, self.optimizer = self.accelerator.prepare(Upper(adapter, boundary), optimizer)
        self.learning = {name: p for name, p in adapter.model.named_parameters() if p.requires_grad}
        self.average = [p.detach().clone() for p in self.learning.values()] if settings.ema else []
        self.steps = 0
        torch.manual_seed(settings.seed)

    def learning_weights(self) -> dict[str, Tensor]:
        """Copies of what learns, by name."""
        return {name: parameter.detach().clone() for name, parameter in self.learning.items()}

    @torch.no_grad()
    def set_learning_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Nothing; what learns is as in these copies."""
        for name, value in weights.items():
            self.learning[name].copy_(value)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Meanwhile what learns has its averaged weights, where an average is kept."""
        if not self.average:
            yield
            return
        current = self.learning_weights()
        self.set_learning_weights(dict(zip(self.learning, self.average, strict=True)))
        yield
        self.set_learning_weights(current)

    @torch.no_grad()
    def _average(self) -> None:
        """Nothing; the exponential moving average of the weights moves on (Polyak averaging; the first steps count
        more, as in TensorFlow's and timm's)."""
        decay = min(self.settings.ema or 0.0, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.average, [p.detach() for p in self.learning.values()], 1 - decay)

    def epoch(self, epoch: int, advance: Callable[[int], None]) -> float:
        """The mean training loss of one pass over the data."""
        source = self.train(epoch)
        self.adapter.learn_mode(self.boundary, on=True)
        if self.gradual:
            self._unfreeze_down_to(epoch)
        batches = shuffled_batches(len(source), source.lengths, self.settings.batch_size, self.settings.seed, epoch)
        total = 0.0
        for chosen, read in zip(batches, read_ahead(source.read, batches, self.compute), strict=True):
            total += self.step(source, read, chosen) * self.loss.weight(chosen)
            advance(1)
        self.adapter.learn_mode(self.boundary, on=False)
        return total / self.loss.weight(range(len(source)))

    def step(self, source: Source, read: Activations, chosen: Sequence[int]) -> float:
        """The mean loss of one batch; the learning part is one step further afterwards."""
        value = self._accumulate(source, read, chosen)
        norm = float(self.accelerator.clip_grad_norm_(self.upper.parameters(), self.settings.max_grad_norm))
        self._require_finite("loss", value)
        if self.accelerator.scaler is None:  # a scaler passes over steps whose gradient overflows
            self._require_finite("gradient's norm", norm)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        self.steps += 1
        if self.average:
            self._average()
        return value

    def _accumulate(self, source: Source, read: Activations, chosen: Sequence[int]) -> float:
        """The mean loss of one batch; its gradients are summed over parts, made smaller until they fit the memory."""
        while True:
            size = min(self.micro_batch_size, len(chosen))
            try:
                return sum(self._part(source, read, chosen, start, size) for start in range(0, len(chosen), size))
            except (RuntimeError, MemoryError) as error:
                if not _out_of_memory(error) or size == 1:
                    raise
            self.optimizer.zero_grad()
            self.micro_batch_size = -(-size // 2)
            _free_memory()
            self.progress.line(f"out of memory: {self.micro_batch_size} examples at once from here on, steps unchanged")

    def _part(self, source: Source, read: Activations, chosen: Sequence[int], start: int, size: int) -> float:
        """The share of `size` items from `start` on in the batch's mean loss; its gradient is added to the others'."""
        part = slice(start, start + size)
        with self.accelerator.autocast(), cheap_dropout(self.compute.device):
            logits = self.upper(source.activations({name: tensor[part] for name, tensor in read.items()}))
        loss = self.loss.total(logits.float(), chosen[part]) / self.loss.weight(chosen)
        self.accelerator.backward(loss)
        return float(loss.detach())

    def _require_finite(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            rate = self.schedule.get_last_lr()[0]
            remedy = "Try a lower strategy.learning_rate, or train.precision=fp32."
            raise TrainingError(
                must_be(f"the training {what}", "finite", f"{value} at learning rate {rate:.2g}", remedy)
            )

    def _unfreeze_down_to(self, epoch: int) -> None:
        """Nothing; at epoch e the head and the e last stages learn (Howard & Ruder, arXiv 1801.06146, section 3.3)."""
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                parameter.requires_grad_(group["depth"] <= epoch)


@torch.no_grad()
def predict(adapter: Adapter, boundary: int, source: Source, compute: Compute) -> list[np.ndarray]:
    """The logits of every item in order, float32: (C,) each, of spans (T, 2) without padding."""
    lengths = source.lengths
    order = np.arange(len(source)) if lengths is None else np.argsort(-lengths, kind="stable")
    size = 2 * compute.batch_size
    batches = [order[start : start + size].tolist() for start in range(0, len(order), size)]
    found: dict[int, np.ndarray] = {}
    for chosen, read in zip(batches, read_ahead(source.read, batches, compute), strict=True):
        with compute.autocast():
            logits = adapter.above(source.activations(read), boundary)
        for item, row in zip(chosen, logits.float().cpu().numpy(), strict=True):
            found[item] = row[: lengths[item]] if lengths is not None and row.ndim == 2 else row
    return [found[item] for item in range(len(source))]


def shuffled_batches(count: int, lengths: np.ndarray | None, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """All items in batches, shuffled by seed and epoch; texts of like length share a batch.

    Of texts, 50 batches at a time are sorted by length, so that padding is small and the order still random.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(count)
    if lengths is not None:
        pool = 50 * batch_size
        parts = [order[start : start + pool] for start in range(0, count, pool)]
        order = np.concatenate([part[np.argsort(lengths[part], kind="stable")] for part in parts])
    batches = [order[start : start + batch_size].tolist() for start in range(0, count, batch_size)]
    return [batches[index] for index in random.permutation(len(batches))] if lengths is not None else batches


def _out_of_memory(error: BaseException) -> bool:
    from accelerate.utils.memory import should_reduce_batch_size

    return isinstance(error, MemoryError) or should_reduce_batch_size(error)


def _free_memory() -> None:
    """Nothing; what a failed part held is given back to the device."""
    from accelerate.utils.memory import clear_device_cache

    clear_device_cache(garbage_collection=True)


def _parameter_groups(adapter: Adapter, rates: Rates, weight_decay: float) -> list[dict[str, Any]]:
    """What learns, in groups by depth below the head: each with its learning rate, norms and biases without decay."""
    depths = adapter.depth_of()
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for parameter in adapter.model.parameters():
        if parameter.requires_grad:
            groups.setdefault((depths[parameter], parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "depth": depth,
            "lr": rates.head_lr if depth == 0 else rates.learning_rate * float(rates.layer_decay) ** (depth - 1),
            "weight_decay": weight_decay if decays else 0.0,
        }
        for (depth, decays), parameters in sorted(groups.items(), key=lambda entry: entry[0], reverse=True)
    ]


def _optimizer(groups: list[dict[str, Any]], settings: TrainSettings, compute: Compute) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter, arXiv 1711.05101) or SGD with Nesterov's momentum, fused where torch has it so."""
    fused = compute.device.type in ("cpu", "cuda")
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=settings.momentum, nesterov=settings.momentum > 0, fused=fused)
    return torch.optim.AdamW(groups, fused=fused)


def share_of_rate(schedule: Schedule, total: int, warmup: float) -> Callable[[int], float]:
    """The share of the peak learning rate at a step: a straight rise, then half a cosine or a line down to nothing,
    or no change."""
    rising = round(warmup * total)

    def share(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        done = (step - rising) / max(1, total - rising)
        return {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "constant": 1.0}[schedule]

    return share
