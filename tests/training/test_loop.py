"""The training loop: a step is the same however it is computed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hftransfer.adapters.base import Adapter
from hftransfer.base.errors import RecipeError
from hftransfer.strategies import FineTune, LinearProbe, LoRA
from hftransfer.tasks.contract import Judged
from hftransfer.training import loop, transfer
from hftransfer.training.checkpoint import Checkpoints
from hftransfer.training.devices import choose_compute
from hftransfer.training.interrupts import Interrupted
from hftransfer.training.loop import Keeping, TrainingError, _Run
from hftransfer.training.mixing import draw_mixing
from hftransfer.training.optimizer import share_of_rate
from tests.builders import TinyModels, slowly
from tests.training.builders import adapter_for, rows_for, transferred

ALL = FineTune(learning_rate=1e-2, head_lr=5e-2, head_init="random")


@pytest.fixture
def _dropout() -> None:
    """Dropout as it is."""


@pytest.fixture(autouse=True)
def _no_dropout(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "_dropout" in request.fixturenames:
        return
    monkeypatch.setattr(torch.nn.functional, "dropout", lambda values, *_, **__: values)
    monkeypatch.setattr("hftransfer.training.dropout.dropout", lambda values, *_: values)


def _weights(tiny: TinyModels, family: str, task: str, **train: Any) -> dict[str, torch.Tensor]:
    done, _ = transferred(tiny, family, task, ALL, **{"epochs": 2, "optimizer": "sgd", **train})
    return {name: value.detach().clone() for name, value in done.adapter.model.named_parameters()}


@pytest.mark.parametrize(
    ("family", "task"),
    [("vit", "image-classification"), ("gpt2", "text-classification"), ("distilbert", "question-answering")],
)
@pytest.mark.parametrize("options", [{}, {"class_weights": "auto", "label_smoothing": 0.1}])
@pytest.mark.usefixtures("_dropout")
def test_a_batch_in_parts_is_one_big_batch(tiny: TinyModels, family: str, task: str, options: dict[str, Any]) -> None:
    whole = _weights(tiny, family, task, **options)
    parts = _weights(tiny, family, task, micro_batch_size=3, **options)
    for name, value in whole.items():
        assert torch.allclose(value, parts[name], atol=1e-6), name


@pytest.mark.parametrize(
    "error", [RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), MemoryError()]
)
def test_out_of_memory_makes_parts_smaller_and_leaves_steps_as_they_are(
    tiny: TinyModels, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    whole = _weights(tiny, "vit", "image-classification")
    above, sizes = Adapter.above, []

    def scarce(self: Adapter, activations: Any, boundary: int) -> torch.Tensor:
        size = len(next(iter(activations.values())))
        if torch.is_grad_enabled():
            sizes.append(size)
            if size > 2:
                raise error
        return above(self, activations, boundary)

    monkeypatch.setattr(Adapter, "above", scarce)
    parts = _weights(tiny, "vit", "image-classification")
    assert sizes[:3] == [8, 4, 2]
    assert set(sizes[3:]) == {2}
    for name, value in whole.items():
        assert torch.allclose(value, parts[name], atol=1e-6), name


def test_out_of_memory_with_one_example_is_told(tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    def scarce(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(Adapter, "above", scarce)
    with pytest.raises(MemoryError):
        _weights(tiny, "vit", "image-classification")


def test_other_errors_are_not_taken_for_a_lack_of_memory(tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(Adapter, "above", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        _weights(tiny, "vit", "image-classification")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_before_the_step(
    tiny: TinyModels, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    above = Adapter.above
    monkeypatch.setattr(Adapter, "above", lambda *given: above(*given) * value)
    with pytest.raises(
        TrainingError,
        match=r"the training loss at step 1 \(epoch 1\) must be finite; got (nan|inf) at learning rate .* on 1:",
    ):
        _weights(tiny, "vit", "image-classification")


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [
        ("cosine", [0.5, 1.0, 1.0, 0.8535533906, 0.5, 0.1464466094, 0.0]),
        ("linear", [0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]),
        ("constant", [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_the_rate_rises_and_falls_as_asked(schedule: Any, wanted: list[float]) -> None:
    share = share_of_rate(schedule, 6, 0.4)
    assert [share(step) for step in range(7)] == pytest.approx(wanted)


def test_sgd_is_torchs(tiny: TinyModels) -> None:
    """One step from the same start by hand."""
    options: dict[str, Any] = {"epochs": 1, "batch_size": 16, "optimizer": "sgd", "weight_decay": 0.0, "warmup": 0.0}
    strategy = FineTune(learning_rate=0.1, head_lr=0.1, head_init="random")
    done, _ = transferred(tiny, "vit", "image-classification", strategy, max_grad_norm=1e9, **options)
    start, _ = adapter_for(tiny, "vit", "image-classification", ALL)
    rows = rows_for("image-classification", 16, 1)
    logits = start.model(**start.encode([Image.open(io.BytesIO(row.content.read())) for row in rows])).logits
    wanted = torch.tensor([number % 2 for number in range(16)])
    torch.nn.functional.cross_entropy(logits, wanted).backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for (name, mine), theirs in zip(start.model.named_parameters(), done.adapter.model.parameters(), strict=True):
            step = torch.zeros_like(mine) if mine.grad is None else mine.grad * (1 + 0.9)  # Nesterov's first step
            assert torch.allclose(mine - 0.1 * step, theirs, atol=1e-5), name


def test_the_average_of_the_weights_follows_them(tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights kept are a weighted mean of those after each step, recomputed here in plain numbers."""
    name, seen = "classifier.bias", []
    step = _Run.step

    def noted(self: _Run, *given: Any) -> None:
        step(self, *given)
        seen.append(self.learning[name].detach().clone())

    monkeypatch.setattr(_Run, "step", noted)
    done, _ = transferred(tiny, "vit", "image-classification", ALL, epochs=1, batch_size=4, ema=0.5)
    start, _ = adapter_for(tiny, "vit", "image-classification", ALL)
    mean = dict(start.model.named_parameters())[name].detach().clone()
    for count, value in enumerate(seen, start=1):
        decay = min(0.5, (1 + count) / (10 + count))
        mean = decay * mean + (1 - decay) * value
    assert torch.allclose(dict(done.adapter.model.named_parameters())[name], mean, atol=1e-6)
    assert len(seen) == 4


@pytest.mark.parametrize("metric", ["log_loss", "macro_f1"])
def test_the_named_metric_chooses_the_best_epoch(tiny: TinyModels, metric: str) -> None:
    done, _ = transferred(tiny, "vit", "image-classification", ALL, epochs=6, metric=metric)
    column = [row[metric] for row in done.history.rows]
    assert column[done.history.best_epoch - 1] == (min(column) if metric == "log_loss" else max(column))
    assert done.judged["validation"].metrics[metric] == column[done.history.best_epoch - 1]


def test_half_precision_that_the_device_does_not_compute_is_refused() -> None:
    with pytest.raises(
        RecipeError, match=r"train.precision must be auto, fp32 or bf16 on this device \(cpu\); got fp16"
    ):
        choose_compute("fp16", None)


@pytest.mark.parametrize("serves", [True, False])
def test_the_mean_of_the_weights_of_all_epochs_and_the_start_is_kept_where_it_serves(
    tiny: TinyModels, monkeypatch: pytest.MonkeyPatch, serves: bool
) -> None:
    states: list[dict[str, torch.Tensor]] = []
    judged: list[dict[str, float]] = []

    def noted(run: _Run, epoch: int) -> None:
        states.append({name: weight.detach().clone() for name, weight in run.judged.items()})
        take(run, epoch)

    def told(_: Any, labels: Any, best: Judged, mean: Judged) -> bool:
        judged.extend([best.metrics, mean.metrics])
        return serves

    take = _Run._take_into_mean
    monkeypatch.setattr(_Run, "_take_into_mean", noted)
    monkeypatch.setattr(transfer, "mean_serves", told)
    strategy = FineTune(learning_rate=1e-2, head_lr=5e-2, unfreeze=1)
    done, _ = transferred(tiny, "vit", "image-classification", strategy, epochs=3)
    assert len(states) == 4  # the start and three epochs
    own = dict(done.adapter.model.named_parameters())
    for name in states[0]:
        mean = torch.stack([(1 + epoch) * state[name] for epoch, state in enumerate(states)]).sum(dim=0) / 10
        wanted = mean if serves else states[done.history.best_epoch][name]
        assert torch.allclose(own[name], wanted, atol=1e-6), name
    assert bool(done.history.mean) is serves
    assert done.history.kept.startswith("the mean of the weights of epochs 0 to 3") is serves
    best, mean_metrics = judged
    assert done.judged["validation"].metrics == (mean_metrics if serves else best)


@pytest.mark.parametrize(
    ("strategy", "options"),
    [
        (FineTune(unfreeze=1), {"average_epochs": False}),
        (FineTune(unfreeze=1), {"ema": 0.9}),
        (FineTune(unfreeze=1, interpolate=0.5), {}),
    ],
)
def test_no_mean_is_kept_where_something_else_is_asked_for(
    tiny: TinyModels, strategy: FineTune, options: dict[str, Any]
) -> None:
    done, _ = transferred(tiny, "vit", "image-classification", strategy, epochs=2, **options)
    assert done.history.start
    assert not done.history.mean


# --- going on after an interruption ---


def _interrupted_at(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """The `call`-th question whether to stop, counted from 1, is answered with a SIGTERM."""
    calls = iter(range(1, 10**9))

    def stop() -> None:
        if next(calls) == call:
            raise Interrupted(15)

    monkeypatch.setattr("hftransfer.training.loop.stop_if_asked", stop)
    monkeypatch.setattr("hftransfer.training.activations.stop_if_asked", stop)


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "parts": {"micro_batch_size": 3},
    "averaged": {"ema": 0.9, "optimizer": "sgd"},
    "augmented": {"augment": "strong"},
    "mixed": {"mixup": 0.4, "cutmix": 1.0, "micro_batch_size": 3},
    "frozen below": {"strategy": FineTune(unfreeze=1)},
    "gradual": {"strategy": FineTune(gradual=True)},
    "lora": {"strategy": LoRA(dropout=0.2)},
    "contrastive": {"strategy": FineTune(objective="contrastive")},
}


def _run_with(tiny: TinyModels, folder: Path, given: dict[str, Any], **keeping: Any) -> Any:
    options = {"epochs": 3, "batch_size": 4, "checkpoint_every_steps": 3, "keep_checkpoints": 2, **given}
    strategy = options.pop("strategy", ALL)
    checkpoints = Checkpoints(folder, 2)
    return transferred(
        *(tiny, "vit", "image-classification", strategy),
        keeping=Keeping(checkpoints, {}, checkpoints.newest(keeping.get("tell", lambda _: None))),
        **options,
    )[0]


@pytest.mark.usefixtures("_dropout")
@pytest.mark.parametrize("call", [*slowly(1, 9, 17), 26])
@pytest.mark.parametrize("name", [*list(OPTIONS)[::2], *slowly(*list(OPTIONS)[1::2])])
def test_an_interrupted_run_ends_with_the_same_bits(
    tiny: TinyModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, call: int
) -> None:
    whole = _run_with(tiny, tmp_path / "whole", OPTIONS[name])
    with monkeypatch.context() as interrupted:
        _interrupted_at(interrupted, call)
        with pytest.raises(Interrupted):
            _run_with(tiny, tmp_path / "c", OPTIONS[name])
    resumed = _run_with(tiny, tmp_path / "c", OPTIONS[name])
    for (key, mine), theirs in zip(
        whole.adapter.model.named_parameters(), resumed.adapter.model.parameters(), strict=True
    ):
        assert torch.equal(mine, theirs), key
    for mine, theirs in zip(whole.history.rows, resumed.history.rows, strict=True):
        assert {**mine, "seconds": 0} == {**theirs, "seconds": 0}
    assert whole.history.best_epoch == resumed.history.best_epoch
    assert whole.history.mean == resumed.history.mean
    assert whole.judged["test"].metrics == resumed.judged["test"].metrics


@pytest.mark.usefixtures("_dropout")
def test_a_broken_newest_checkpoint_costs_steps_and_no_bits(
    tiny: TinyModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _run_with(tiny, tmp_path / "whole", {})
    with monkeypatch.context() as interrupted:
        _interrupted_at(interrupted, 17)
        with pytest.raises(Interrupted):
            _run_with(tiny, tmp_path / "c", {})
    newest = sorted((tmp_path / "c").iterdir())[-1]
    (newest / "optimizer.safetensors").write_bytes(b"gone")
    told: list[str] = []
    resumed = _run_with(tiny, tmp_path / "c", {}, tell=told.append)
    assert told == [f"checkpoint {newest.name} is skipped: optimizer.safetensors is damaged"]
    for mine, theirs in zip(whole.adapter.model.parameters(), resumed.adapter.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


# --- mixed images ---


def test_mixup_is_the_formula() -> None:
    pixels = torch.rand(5, 3, 4, 6)
    mixing = draw_mixing(5, 0.4, None, np.random.default_rng(1))
    mixed, share = mixing(pixels, pixels[mixing.order])
    assert share == mixing.share
    for item, other in enumerate(mixing.order):
        assert torch.allclose(mixed[item], share * pixels[item] + (1 - share) * pixels[other])
    assert sorted(mixing.order) == list(range(5))


def test_cutmix_takes_a_rectangle_and_its_share() -> None:
    pixels = torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 3, 32, 48).clone()
    for seed in range(20):
        mixing = draw_mixing(4, None, 1.0, np.random.default_rng(seed))
        mixed, share = mixing(pixels, pixels[mixing.order])
        for item, other in enumerate(mixing.order):
            own = mixed[item] == item
            if other != item:
                assert float(own.float().mean()) == pytest.approx(share)
                assert bool((mixed[item][~own] == other).all())


def test_shares_follow_the_beta_distribution() -> None:
    random = np.random.default_rng(0)
    shares = np.array([draw_mixing(2, 0.5, None, random).share for _ in range(4000)])
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    assert shares.var() == pytest.approx(0.125, abs=0.01)  # 1 / (4 · (2α + 1))


def test_the_loss_of_mixed_images_counts_both_labels(tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first step's loss, recomputed from the logits of the mixed images and soft labels."""
    seen: list[Any] = []
    part, above = _Run._part, Adapter.above

    def noted(self: _Run, source: Any, share: Any, read: Any, targets: Any, which: slice) -> float:
        value = part(self, source, share, read, targets, which)
        seen.append((read["pixel_values"], targets, value))
        return value

    monkeypatch.setattr(_Run, "_part", noted)
    transferred(tiny, "vit", "image-classification", ALL, epochs=1, mixup=0.4)
    pixels, ((share, own), (rest, others)), value = seen[0]
    start, _ = adapter_for(tiny, "vit", "image-classification", ALL)
    soft = torch.zeros(len(own), 2)
    for row, (mine, theirs) in enumerate(zip(own, others, strict=True)):
        soft[row, mine % 2] += share
        soft[row, theirs % 2] += rest
    with torch.no_grad():
        wanted = torch.nn.functional.cross_entropy(above(start, {"pixel_values": pixels}, 0), soft)
    assert value == pytest.approx(float(wanted), abs=1e-5)


@pytest.mark.parametrize("option", ["mixup", "cutmix"])
def test_patches_of_images_in_their_own_proportions_are_not_mixed(tiny: TinyModels, option: str) -> None:
    mixing: dict[str, Any] = {option: 0.4}
    with pytest.raises(RecipeError, match=r"left out for .*siglip2.*, whose images keep their proportions"):
        transferred(tiny, "siglip2", "image-classification", ALL, None, None, **mixing)


@pytest.mark.parametrize("option", ["mixup", "cutmix"])
def test_a_probe_of_mixed_images_is_stepped_from_a_solved_start(tiny: TinyModels, option: str) -> None:
    mixing: dict[str, Any] = {option: 0.5}
    done, _ = transferred(tiny, "vit", "image-classification", LinearProbe(), None, None, epochs=2, **mixing)
    start, _ = adapter_for(tiny, "vit", "image-classification", LinearProbe())
    assert [row["epoch"] for row in done.history.rows] == [1, 2]
    frozen = {name: own for name, own in start.model.state_dict().items() if not name.startswith("classifier")}
    assert all(torch.equal(own, done.adapter.model.state_dict()[name]) for name, own in frozen.items())


def test_a_probe_of_augmented_images_is_solved_on_four_views(tiny: TinyModels) -> None:
    changes: list[dict[str, Any]] = [{"augment": "light"}, {"augment": "light", "views": 4}, {}]
    usual, four, plain = (
        transferred(tiny, "vit", "image-classification", LinearProbe(), None, None, **settings)[0].adapter.head.weight
        for settings in changes
    )
    assert torch.equal(usual, four)
    assert not torch.equal(usual, plain)


def test_views_start_and_learn_alike_kept_or_computed_anew(tiny: TinyModels) -> None:
    made = []
    for cache in ("on", "off"):
        settings: dict[str, Any] = {"augment": "strong", "views": 2, "cache": cache, "epochs": 2, "precision": "fp32"}
        done, _ = transferred(tiny, "vit", "image-classification", FineTune(unfreeze=1), None, None, **settings)
        made.append((done.history.start, done.history.rows, done.adapter.head.weight))
    (start, rows, head), (other_start, other_rows, other_head) = made
    for one, other in zip([start, *rows], [other_start, *other_rows], strict=True):
        names = one.keys() - {"seconds"}
        assert [other[name] for name in names] == pytest.approx([one[name] for name in names], abs=1e-4)
    assert torch.allclose(head, other_head, atol=1e-4)


def test_lora_is_judged_merged_as_it_is_apart(tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    made, counted, whole = [], list[int](), Adapter.merged

    def noted(self: Adapter) -> Adapter:
        counted.append(1)
        return whole(self)

    monkeypatch.setattr(Adapter, "merged", noted)
    for least in (1, 1 << 30):
        monkeypatch.setattr(loop, "_LEAST_TO_MERGE", least)
        strategy = LoRA(rank=2, learning_rate=0.02)
        done, _ = transferred(tiny, "vit", "image-classification", strategy, epochs=1, precision="bf16")
        made.append(done.judged["test"].probabilities)
        assert bool(counted) == (least == 1)
        counted.clear()
    together, apart = made
    assert together is not None
    assert apart is not None
    assert np.abs(together - apart).max() < 0.02
