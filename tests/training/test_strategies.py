"""Every strategy on every family: only what should learn changes, losses fall, and what is saved comes back."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hftransfer as ht
from hftransfer.adapters.base import Activations
from hftransfer.adapters.checkpoint import find_checkpoint
from hftransfer.base.errors import HftransferError, RecipeError
from hftransfer.base.progress import Progress
from hftransfer.predictors.predictor import Predictor, save_model
from hftransfer.strategies import FineTune, LinearProbe, LoRA
from hftransfer.tasks import head_task
from hftransfer.tasks.facts import ModelFacts
from hftransfer.training import temperature
from hftransfer.training import transfer as transfer_module
from hftransfer.training.activations import Source
from tests.builders import IMAGE_FAMILIES, KERAS, TEXT_FAMILIES, TinyModels, encoded, load_model, picture, slowly
from tests.training.builders import adapter_for, hashes_of, transferred

CASES = [
    *((family, "image-classification") for family in (*IMAGE_FAMILIES, *KERAS)),
    *((family, "text-classification") for family in TEXT_FAMILIES),
    *((family, "question-answering") for family in TEXT_FAMILIES),
]
STRATEGIES: dict[str, Any] = {
    "linear-probe": LinearProbe(),
    "fine-tune-1": FineTune(unfreeze=1, learning_rate=1e-3, head_lr=5e-3, head_init="random"),
    "fine-tune-all": FineTune(learning_rate=1e-3, head_lr=5e-3, head_init="random"),
    "lora": LoRA(rank=4, learning_rate=1e-2, head_lr=1e-2, dropout=0.0, head_init="random"),
}


WHOLE = ("resnet", "vit", "timm", "open_clip", "bert", "gpt2")
"""Families that every strategy is tried on in the default suite; the others there have one strategy each, in turn."""


def _cases() -> Iterator[Any]:
    for place, case in enumerate(CASES):
        for turn, name in enumerate(STRATEGIES):
            in_turn = place % len(STRATEGIES) == turn
            is_usual = case[0] == "bert" if case[1] == "question-answering" else in_turn or case[0] in WHOLE
            if (case[0], name) != ("keras", "lora"):
                yield pytest.param(*case, name, marks=() if is_usual else pytest.mark.slow)


@pytest.mark.parametrize(("family", "task", "name"), list(_cases()))
def test_only_what_should_learn_changes_and_the_loss_falls(tiny: TinyModels, family: str, task: str, name: str) -> None:
    strategy = STRATEGIES[name]
    adapter, _ = adapter_for(tiny, family, task, strategy)
    prepared = copy.deepcopy(adapter)
    strategy.prepare(prepared)
    learning = {n for n, p in prepared.model.named_parameters() if p.requires_grad}
    before = hashes_of(prepared)
    done, boundary = transferred(tiny, family, task, strategy, adapter)
    after = hashes_of(done.adapter)
    assert set(before) == set(after)
    changed = {n for n in after if after[n] != before[n]}
    assert changed <= learning, f"frozen ones changed: {sorted(changed - learning)[:5]}"
    head = {n for n, p in done.adapter.model.named_parameters() if p is done.adapter.head.weight}
    assert head <= changed
    if name == "fine-tune-all":
        assert len(learning) == len(list(adapter.model.parameters()))
    if name == "lora":
        assert any("lora_" in n for n in changed)
        assert all("lora_" in n or "modules_to_save" in n for n in learning)
    if done.history.rows:
        losses = [row["train_loss"] for row in done.history.rows]
        assert min(losses[-3:]) < losses[0]
    assert boundary <= len(adapter.stages)


SAVED = [
    *((family, "image-classification", name) for family in IMAGE_FAMILIES for name in ("fine-tune-1", "lora")),
    *((family, "image-classification", name) for family in KERAS for name in ("linear-probe", "fine-tune-1")),
    *((family, "text-classification", name) for family in TEXT_FAMILIES for name in ("linear-probe", "lora")),
    *(("bert", "text-classification", name) for name in ("fine-tune-1", "fine-tune-all")),
    *(("open_clip", "image-classification", "linear-probe"), ("bert", "question-answering", "lora")),
]


def _saved(tiny: TinyModels, family: str, task: str, name: str, folder: Path) -> Predictor:
    strategy = STRATEGIES[name]
    done, _ = transferred(tiny, family, task, strategy, epochs=1)
    base = None
    if name == "lora":
        reference = f"open_clip:local-dir:{tiny(family)}" if family == "open_clip" else str(tiny(family))
        checkpoint = find_checkpoint(reference)
        assert checkpoint is not None
        base = {"name": reference, "revision": None, "weights_sha256": checkpoint.weights_sha256}
    facts = ModelFacts(
        task=task,
        pooling=strategy.pooling_for(head_task(task)),
        class_names=() if task == "question-answering" else ("blue", "red"),
        base=base,
    )
    save_model(done.adapter, facts, folder)
    return Predictor(done.adapter, facts=facts)


@pytest.mark.parametrize(
    ("family", "task", "name"),
    [one if one[0] in WHOLE or place % 2 else slowly(one)[0] for place, one in enumerate(SAVED)],
)
def test_what_is_saved_is_what_was_trained(tiny: TinyModels, tmp_path: Path, family: str, task: str, name: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    trained = _saved(tiny, family, task, name, folder)
    loaded = load_model(folder)
    if task == "question-answering":
        asked: Any = {"question": "what was the film ?", "context": "the film was very lovely ."}
        assert loaded.predict(**asked).score == pytest.approx(trained.predict(**asked).score, abs=1e-5)
        return
    inputs: list[Any] = (
        [encoded(picture("red", 77)), encoded(picture("blue", 78))]
        if task == "image-classification"
        else ["the film was very lovely", "a story was poor", ""]
    )
    for mine, theirs in zip(trained.predict(inputs), loaded.predict(inputs), strict=True):
        assert mine.scores == pytest.approx(theirs.scores, abs=1e-5)
    assert loaded.class_names == ("blue", "red")


@pytest.mark.slow
def test_a_fresh_process_gives_equal_outputs_with_lora_on_a_batch_norm_network(
    tiny: TinyModels, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    trained = _saved(tiny, "resnet", "image-classification", "lora", folder)
    photo = tmp_path / "photo.png"
    picture("red", 5).save(photo)
    code = (
        "import sys, json, hftransfer as ht; print(json.dumps(ht.load(sys.argv[1]).predict([sys.argv[2]])[0].scores))"
    )
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(folder), str(photo)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(found.stdout.splitlines()[-1]) == pytest.approx(trained.predict([photo])[0].scores, abs=1e-5)


def test_lora_lies_on_every_intended_module_of_the_tower_in_use_only(tiny: TinyModels) -> None:
    adapter, _ = adapter_for(tiny, "open_clip", "image-classification", LoRA())
    LoRA().prepare(adapter)
    adapted = {n.split(".lora_A")[0] for n, _ in adapter.model.named_parameters() if ".lora_A" in n}
    wanted = {
        f"clip.visual.transformer.resblocks.{block}.mlp.{layer}" for block in (0, 1) for layer in ("c_fc", "c_proj")
    }
    assert adapted == wanted


@pytest.mark.parametrize("family", [*IMAGE_FAMILIES, *TEXT_FAMILIES])
def test_lora_targets_of_a_family_lie_in_every_stage(tiny: TinyModels, family: str) -> None:
    task = "image-classification" if family in IMAGE_FAMILIES else "text-classification"
    adapter, _ = adapter_for(tiny, family, task, LoRA())
    names = adapter.lora.modules()
    for stage in adapter.stages:
        inside = set(stage.modules())
        takes = [n for n, m in adapter.model.named_modules() if m in inside and n in names]
        assert takes or family in ("timm", "efficientnet"), "a stage without a matrix"


@pytest.mark.parametrize(
    ("family", "strategy", "words"),
    [
        ("vit", LoRA(targets=["q_prj"]), ("strategy.targets", "'q_prj'", "q_proj")),
        ("vit", LoRA(targets=["classifier"]), ("strategy.targets", "'classifier'")),
        ("vit", FineTune(unfreeze=3), ("strategy.unfreeze", "1 to 2", "got 3")),
        ("vit", FineTune(unfreeze=["vit.layer.1"]), ("strategy.unfreeze", "vit.layers.1")),
    ],
)
def test_what_matches_nothing_is_told(tiny: TinyModels, family: str, strategy: Any, words: tuple[str, ...]) -> None:
    adapter, _ = adapter_for(tiny, family, "image-classification", strategy)
    with pytest.raises(HftransferError) as error:
        strategy.prepare(adapter)
    assert [word for word in words if word not in str(error.value)] == []


@pytest.mark.parametrize(("family", "task"), [("vit", "image-classification"), ("bert", "text-classification")])
def test_stored_activations_train_the_same_model_as_fresh_ones(tiny: TinyModels, family: str, task: str) -> None:
    kept, _ = transferred(tiny, family, task, STRATEGIES["fine-tune-1"], cache="on")
    fresh, _ = transferred(tiny, family, task, STRATEGIES["fine-tune-1"], cache="off")
    for (name, mine), theirs in zip(
        kept.adapter.model.named_parameters(), fresh.adapter.model.parameters(), strict=True
    ):
        assert torch.allclose(mine, theirs, atol=2e-4), name


@pytest.mark.parametrize("name", ["fine-tune-all", "lora"])
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tiny: TinyModels, name: str) -> None:
    first, again, other = (
        hashes_of(transferred(tiny, "bert", "text-classification", STRATEGIES[name], seed=seed)[0].adapter)
        for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


def test_layer_decay_gives_each_stage_its_own_rate(tiny: TinyModels) -> None:
    from hftransfer.training.optimizer import parameter_groups

    strategy = FineTune(learning_rate=1e-3, head_lr=1e-2, layer_decay=0.5)
    adapter, _ = adapter_for(tiny, "bert", "text-classification", strategy)
    strategy.prepare(adapter)
    rates = {group["depth"]: group["lr"] for group in parameter_groups(adapter, strategy.rates(), 0.01)}
    assert rates == pytest.approx({0: 1e-2, 1: 1e-3, 2: 5e-4})


def test_gradual_unfreezing_goes_from_the_head_down(tiny: TinyModels) -> None:
    strategy = FineTune(gradual=True, learning_rate=1e-2)
    before, _ = adapter_for(tiny, "bert", "text-classification", strategy)
    done, _ = transferred(tiny, "bert", "text-classification", strategy, epochs=1)
    changed = {
        n
        for (n, p), q in zip(done.adapter.model.named_parameters(), before.model.parameters(), strict=True)
        if not torch.equal(p, q)
    }
    assert changed == {"classifier.weight", "classifier.bias"}


def test_augmented_views_are_stored_and_trained_on(tiny: TinyModels) -> None:
    done, _ = transferred(tiny, "resnet", "image-classification", LinearProbe(), augment="light", views=3)
    assert done.judged["test"].metrics["accuracy"] > 0.5
    done, _ = transferred(tiny, "vit", "image-classification", STRATEGIES["fine-tune-1"], augment="strong")
    assert done.history.rows


def test_class_weights_are_those_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    from hftransfer.tasks.labelled import balanced_weights

    labels = np.array([0, 0, 0, 1, 2, 2])
    wanted = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert balanced_weights(labels, 3) == pytest.approx(wanted)


@pytest.fixture(scope="module")
def few_pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn cats and dogs: 16 to train on, 4 to validate."""
    from hftransfer.demo.pets import write_drawn_pets

    folder = tmp_path_factory.mktemp("pets")
    write_drawn_pets(folder, {"train": 16, "validation": 4})
    return folder


@pytest.mark.parametrize(
    ("family", "name"),
    [
        *((family, name) for family in IMAGE_FAMILIES for name in ("fine-tune-all", "lora")),
        *((family, "fine-tune-all") for family in KERAS),
    ],
)
@pytest.mark.slow
def test_the_loss_on_drawn_pets_falls(tiny: TinyModels, few_pets: Path, family: str, name: str) -> None:
    strategy = STRATEGIES[name]
    model = f"open_clip:local-dir:{tiny(family)}" if family == "open_clip" else str(tiny(family))
    fitted = ht.fit(
        "image-classification",
        model=model,
        train=few_pets / "train",
        validation=few_pets / "validation",
        strategy=strategy,
        progress=Progress(None),
        epochs=8,
        batch_size=8,
        patience=None,
        precision="fp32",
    )
    assert fitted.history[-1]["train_loss"] < fitted.history[0]["train_loss"]


def test_lora_of_the_last_stages_leaves_what_is_below_alone(tiny: TinyModels) -> None:
    adapter, _ = adapter_for(tiny, "bert", "text-classification", LoRA())
    with pytest.raises(RecipeError, match=r"strategy\.last must be a number from 1 to 2"):
        LoRA(last=3).prepare(adapter)
    assert LoRA(last=1).prepare(adapter) == 1
    learning = [name for name, own in adapter.model.named_parameters() if own.requires_grad and "lora" in name]
    assert learning
    assert all(".layer.1." in name for name in learning)


@pytest.mark.parametrize(
    ("family", "task", "head_init", "rate"),
    [
        ("vit", "image-classification", "auto", 3e-5),
        ("vit", "image-classification", "random", 1e-4),
        ("bert", "text-classification", "auto", 1e-4),
    ],
)
def test_images_that_begin_solved_learn_gently_unless_a_rate_is_given(
    tiny: TinyModels, family: str, task: str, head_init: Any, rate: float
) -> None:
    done, _ = transferred(tiny, family, task, FineTune(head_init=head_init), epochs=1, schedule="constant", warmup=0.0)
    assert done.history.rows[0]["learning_rate"] == pytest.approx(rate)
    given = FineTune(head_init=head_init, learning_rate=2e-3)
    done, _ = transferred(tiny, family, task, given, epochs=1, schedule="constant", warmup=0.0)
    assert done.history.rows[0]["learning_rate"] == pytest.approx(2e-3)


@pytest.mark.parametrize(
    ("family", "task", "name"),
    [("vit", "image-classification", "fine-tune-all"), ("bert", "text-classification", "lora")],
)
def test_what_is_judged_after_training_goes_through_the_network_once(
    tiny: TinyModels, monkeypatch: pytest.MonkeyPatch, family: str, task: str, name: str
) -> None:
    counts: list[int] = []
    fold, read = temperature.fold_temperature, Source.read

    def counted(source: Source, chosen: Sequence[int], tokens: int = 0) -> Activations:
        if counts and source.boundary == 0 and len(source) == 8:  # those of validation and test; 16 are trained on
            counts.append(len(chosen))
        return read(source, chosen, tokens)

    def folded(*args: Any, **named: Any) -> float:
        counts.append(0)
        return fold(*args, **named)

    monkeypatch.setattr(Source, "read", counted)
    monkeypatch.setattr(transfer_module, "fold_temperature", folded)
    once, _ = transferred(tiny, family, task, STRATEGIES[name], epochs=1)
    assert sum(counts) == 8  # the test split
    monkeypatch.setattr(transfer_module, "_with_features_kept", lambda job, sources: sources)
    often, _ = transferred(tiny, family, task, STRATEGIES[name], epochs=1)
    assert once.temperature == pytest.approx(often.temperature, abs=1e-6)
    for split in ("validation", "test"):
        ours, theirs = once.judged[split].metrics, often.judged[split].metrics
        assert ours.keys() == theirs.keys()
        assert ours["log_loss"] == pytest.approx(theirs["log_loss"], abs=1e-6)
    assert (once.familiarity is None) == (often.familiarity is None)
