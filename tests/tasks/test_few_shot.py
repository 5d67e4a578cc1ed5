"""From zero-shot to few-shot: heads that begin with the names of the classes, mixed weights, and k-shot curves."""

from __future__ import annotations

import csv
import io
import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from scipy.optimize import minimize

import hftransfer as ht
from hftransfer.adapters.checkpoint import Checkpoint, find_checkpoint
from hftransfer.adapters.dual import load_dual
from hftransfer.adapters.heads import IMAGE_CLASSES
from hftransfer.adapters.loading import load_adapter
from hftransfer.base.errors import DataError, HftransferError, ModelError, RecipeError
from hftransfer.base.progress import Progress
from hftransfer.data.settings import DataSettings
from hftransfer.data.sources import find_rows
from hftransfer.data.splits import build_splits, few_shots
from hftransfer.jobs.curve import cells_of, summarised
from hftransfer.jobs.run import check, run
from hftransfer.predictors.dual import class_texts
from hftransfer.recipe import load_recipe
from hftransfer.strategies import FineTune, LoRA
from hftransfer.training.devices import Compute
from hftransfer.training.embeddings import embed_prompts, ensemble, logits
from hftransfer.training.interrupts import Interrupted
from hftransfer.training.solver import GRID_NEAR, SOLVERS, InMemory, KnownHead, Problem, solve_head
from tests.builders import DUAL_FAMILIES, NO_PICTURES, TinyModels, faults_of, missing_words, picture, slowly

SILENT = Progress(None)
FP32 = Compute(torch.device("cpu"), "fp32", 4)
KINDS = [*DUAL_FAMILIES, "open_clip"]
WORDS = {"blue": "film", "red": "story"}


def _name(tiny: TinyModels, family: str) -> str:
    folder = tiny(family)
    return f"open_clip:local-dir:{folder}" if family == "open_clip" else str(folder)


def _checkpoint(tiny: TinyModels, family: str) -> Checkpoint:
    found = find_checkpoint(_name(tiny, family))
    assert found is not None
    return found


def _recipe(tiny: TinyModels, source: Path, family: str = "clip-dual", **more: Any) -> dict[str, Any]:
    strategy = {"kind": "linear-probe", "head_init": "zero-shot", **more.pop("strategy", {})}
    document = {
        "task": "image-classification",
        "model": _name(tiny, family),
        "data": {"source": str(source), **more.pop("data", {})},
        "strategy": strategy,
        "class_names": WORDS,
        "prompts": "the {} was great .",
        "train": {"precision": "fp32", "epochs": 2, "batch_size": 8, **more.pop("train", {})},
        "output": NO_PICTURES,
    }
    return {**document, **more}


def _images() -> list[Image.Image]:
    return [picture(color, seed, (40, 48)) for seed in range(3) for color in ("red", "blue")]


# --- the solved head -------------------------------------------------------------------------------------------------


def _problem() -> tuple[np.ndarray, np.ndarray, KnownHead]:
    random = np.random.default_rng(0)
    features = random.normal(size=(30, 6)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    labels = (features[:, 0] + 0.3 * random.normal(size=30) > 0).astype(np.int64)
    given = KnownHead(9.0 * random.normal(size=(2, 6)), np.array([0.5, -0.5]))
    return features, labels, given


def test_a_head_near_another_is_the_one_that_a_plain_minimiser_finds() -> None:
    features, labels, given = _problem()
    strength = 0.03
    head = solve_head(InMemory(features), labels, InMemory(features), labels, 2, l2=strength, near=given)
    scale = np.linalg.norm(given.weight, axis=1).mean()

    def objective(flat: np.ndarray) -> float:
        weight = flat.reshape(2, 6)
        scores = features.astype(np.float64) @ weight.T + given.bias
        losses = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(30), labels]
        return float(losses.mean() + strength / 2 * np.sum((weight - given.weight) ** 2) / scale**2)

    found = minimize(objective, given.weight.ravel(), method="BFGS", options={"gtol": 1e-7})
    assert np.abs(head.weight.ravel() - found.x).max() < 1e-2
    assert objective(head.weight.ravel()) <= found.fun + 1e-6
    assert head.bias.tolist() == given.bias.tolist()


def test_a_strong_penalty_leaves_the_head_as_it_was() -> None:
    features, labels, given = _problem()
    head = solve_head(InMemory(features), labels, InMemory(features), labels, 2, l2=1e6, near=given)
    assert np.abs(head.weight - given.weight).max() < 1e-3


def test_few_examples_choose_among_strong_penalties_alone() -> None:
    features, labels, given = _problem()
    chosen = [int(np.flatnonzero(labels == label)[0]) for label in (0, 1)]
    few = InMemory(features[chosen])
    head = solve_head(few, labels[chosen], few, labels[chosen], 2, near=given)
    assert head.l2 >= 0.03 / 2


@pytest.mark.parametrize(("copies", "strength"), [(1, 0.3 / 15), (2, 0.3 / 30)])
def test_examples_of_a_class_choose_the_strength_where_validation_is_small(copies: int, strength: float) -> None:
    features, labels, given = _problem()
    rows, own = InMemory(np.tile(features, (copies, 1))), np.tile(labels, copies)
    few = SOLVERS["softmax"](Problem(rows, own, InMemory(features), labels, classes=2, near=given))
    assert few.l2 == pytest.approx(strength)
    many = InMemory(np.tile(features, (4, 1))), np.tile(labels, 4)
    assert SOLVERS["softmax"](Problem(rows, own, *many, classes=2, near=given)).l2 in GRID_NEAR


# --- the classifier on an embedding ----------------------------------------------------------------------------------


@pytest.mark.parametrize("family", KINDS)
def test_with_the_texts_as_head_its_logits_are_those_of_zero_shot(tiny: TinyModels, family: str) -> None:
    checkpoint = _checkpoint(tiny, family)
    adapter: Any = load_adapter(checkpoint, ["blue", "red"], pooling="embedding", head=IMAGE_CLASSES)
    texts = class_texts(adapter.dual, ["film", "story"], ("the {} was great .",), "sha", FP32, SILENT)
    adapter.set_head(*(torch.from_numpy(part) for part in texts.head))
    dual = load_dual(checkpoint)
    classes = ensemble(embed_prompts(dual, ["film", "story"], ("the {} was great .",), "sha", FP32))
    with torch.inference_mode():
        expected = logits(dual.embed_images(dual.encode_images(_images())).numpy(), classes, dual)
        inputs = adapter.encode(_images())
        for boundary in range(len(adapter.stages) + 1):
            found = adapter.above(adapter.below(inputs, boundary), boundary)
            assert np.abs(found.numpy() - expected).max() < 1e-3
    assert len(adapter.stages) >= 2
    assert adapter.head_is_linear
    assert texts.held_out_templates == ht_prompts("openai-7")


def ht_prompts(name: str) -> tuple[str, ...]:
    from hftransfer.tasks.prompts import PROMPT_SETS

    return PROMPT_SETS[name]


def test_the_text_tower_learns_nothing(tiny: TinyModels) -> None:
    checkpoint = _checkpoint(tiny, "clip-dual")
    adapter: Any = load_adapter(checkpoint, ["blue", "red"], pooling="embedding", head=IMAGE_CLASSES)
    FineTune().prepare(adapter)
    assert all(p.requires_grad for p in adapter.model.parameters())
    assert not any(p.requires_grad for p in adapter.dual.model.text_model.parameters())


# --- runs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [KINDS[0], *slowly(*KINDS[1:])])
@pytest.mark.parametrize(
    "strategy",
    [{}, {"kind": "fine-tune", "unfreeze": 1, "interpolate": 0.5}, {"kind": "lora", "rank": 2, "interpolate": 0.25}],
    ids=["probe", "fine-tune", "lora"],
)
def test_a_run_from_zero_shot_is_saved_and_loaded(
    tiny: TinyModels,
    folder_data: Path,
    tmp_path: Path,
    without_figures: None,
    family: str,
    strategy: dict[str, Any],
) -> None:
    result = run(_recipe(tiny, folder_data, family, strategy=strategy), out=tmp_path / "run", progress=SILENT)
    told = result.metrics["zero_shot"]
    assert told["split"] == "test"
    assert told["after"]["accuracy"] == result.metrics["test"]["accuracy"]
    assert ("learned" in told) is bool(strategy)
    if not strategy:
        assert told["after"]["held_out_prompts_accuracy"] == told["before"]["held_out_prompts_accuracy"]
    predictor = ht.load(result.folder)
    test = sorted((folder_data / "test").glob("*/*.png"))
    found = predictor.predict(test)
    table = _table(result.folder / "predictions.parquet")
    by_id = dict(zip(table["id"], table["probability_blue"], strict=True))
    for path, prediction in zip(test, found, strict=True):
        own = next(value for name, value in by_id.items() if name.endswith(f"{path.parent.name}/{path.name}"))
        assert prediction.scores["blue"] == pytest.approx(own, abs=1e-4)


def _table(file: Path) -> dict[str, list[Any]]:
    import pyarrow.parquet

    found: dict[str, list[Any]] = pyarrow.parquet.read_table(file).to_pydict()
    return found


def test_before_training_it_is_the_zero_shot_task(tiny: TinyModels, folder_data: Path, tmp_path: Path) -> None:
    document = _recipe(tiny, folder_data)
    few = run(document, out=tmp_path / "few", progress=SILENT)
    zero = {name: document[name] for name in ("model", "data", "class_names", "prompts")}
    none = run({**zero, "task": "zero-shot-image-classification"}, out=tmp_path / "zero", progress=SILENT)
    assert few.metrics["zero_shot"]["before"]["accuracy"] == none.metrics["test"]["accuracy"]


def test_the_saved_model_is_a_native_dual_encoder(
    tiny: TinyModels, folder_data: Path, tmp_path: Path, without_figures: None
) -> None:
    from transformers import AutoModel

    strategy = {"kind": "fine-tune", "unfreeze": 1}
    result = run(_recipe(tiny, folder_data, strategy=strategy), out=tmp_path / "run", progress=SILENT)
    folder = result.folder / "model"
    model = AutoModel.from_pretrained(folder).eval()
    before = AutoModel.from_pretrained(tiny("clip-dual")).eval().state_dict()
    changed = {
        name.split(".")[0] for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])
    }
    assert "vision_model" in changed
    assert "text_model" not in changed
    head = load_file(folder / "head.safetensors")
    dual = load_dual(_found(folder))
    with torch.no_grad():
        embedded = model.get_image_features(**dual.encode_images(_images())).pooler_output
    scores = (embedded / embedded.norm(dim=-1, keepdim=True) @ head["weight"].T + head["bias"]).softmax(-1)
    for row, prediction in zip(scores.tolist(), ht.load(folder).predict(_images()), strict=True):
        assert list(prediction.scores.values()) == pytest.approx(row, abs=1e-5)
    assert ht.zero_shot(folder, _images()[:1], ["film", "story"])[0].label in ("film", "story")
    assert "get_image_features" in (folder / "README.md").read_text()


def _found(folder: Path) -> Checkpoint:
    found = find_checkpoint(str(folder))
    assert found is not None
    return found


@pytest.mark.parametrize("kind", ["fine-tune", "lora"])
def test_half_of_what_was_learned_is_the_mean_of_the_weights(
    tiny: TinyModels, folder_data: Path, tmp_path: Path, without_figures: None, kind: str
) -> None:
    def model(share: float) -> Any:
        strategy = {"kind": kind, "interpolate": share, **({"unfreeze": 1} if kind == "fine-tune" else {"merge": True})}
        out = tmp_path / f"{kind}-{share}"
        # A temperature would scale the heads.
        run(_recipe(tiny, folder_data, strategy=strategy, train={"calibrate": False}), out=out, progress=SILENT)
        found = out / ("model" if kind == "fine-tune" else "merged")
        return load_file(found / "model.safetensors"), load_file(found / "head.safetensors")

    (whole, whole_head), (half, half_head) = model(1.0), model(0.5)
    start = load_file(tiny("clip-dual") / "model.safetensors")
    moved = 0
    for name, weight in half.items():
        assert torch.allclose(weight, (start[name] + whole[name]) / 2, atol=1e-6), name
        moved += int(not torch.equal(whole[name], start[name]))
    assert moved
    dual = load_dual(_checkpoint(tiny, "clip-dual"))
    texts = class_texts(dual, ["film", "green", "story"], ("the {} was great .",), "sha", FP32, SILENT)
    first = torch.from_numpy(texts.head.weight).float()
    assert torch.allclose(half_head["weight"], (first + whole_head["weight"]) / 2, atol=1e-5)


# --- shots -----------------------------------------------------------------------------------------------------------


def test_shots_are_drawn_by_seed_and_nested(folder_data: Path) -> None:
    settings = DataSettings(source=str(folder_data))
    splits = build_splits(find_rows(settings, SILENT), settings, 0, SILENT)
    one, four = few_shots(splits, 1, 0), few_shots(splits, 4, 0)
    assert one.counts()["train"] == [1, 1, 1]
    assert four.counts()["train"] == [4, 4, 4]
    assert four.counts()["validation"] == [min(4, count) for count in splits.counts()["validation"]]
    assert set(one.train.digests) < set(four.train.digests)
    assert four.test.digests == splits.test.digests
    assert few_shots(splits, 4, 0).train.digests == four.train.digests
    assert few_shots(splits, 4, 1).train.digests != four.train.digests
    most = min(splits.counts()["train"])
    with pytest.raises(DataError, match=f"data.shots must be at most {most}, the training examples of class"):
        few_shots(splits, most + 1, 0)


def test_a_curve_has_a_cell_for_every_number_and_draw(tiny: TinyModels, folder_data: Path) -> None:
    recipe = load_recipe(_recipe(tiny, folder_data, data={"shots": [4, 1, 4], "shot_draws": 2})).recipe
    cells = [(shots, draw) for shots, draw, _ in cells_of(recipe)]
    assert cells == [(1, 0), (1, 1), (4, 1), (4, 0)]
    assert [own.train.seed for _, _, own in cells_of(recipe)] == [0, 1, 1, 0]


def test_the_interval_is_students() -> None:
    rows = [{"shots": 2, "accuracy": value} for value in (0.4, 0.5, 0.6)] + [{"shots": 1, "accuracy": 0.5}]
    one, two = summarised(rows, "accuracy")
    assert one == {"shots": 1, "draws": 1, "accuracy": 0.5, "accuracy_interval": None}
    # 4.3027 is the 97.5 % point of Student's t with two degrees of freedom; the standard error is 0.1 / √3.
    half = 4.302652729749462 * 0.1 / 3**0.5
    assert two["accuracy_interval"] == pytest.approx([0.5 - half, 0.5 + half])


def test_a_curve_leaves_rows_and_a_picture(tiny: TinyModels, folder_data: Path, tmp_path: Path) -> None:
    document = _recipe(tiny, folder_data, data={"shots": [1, 4], "shot_draws": 2}, output={"report": False})
    result = run(document, out=tmp_path / "run", progress=SILENT)
    with (result.folder / "shots.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["shots"], row["draw"], row["seed"]) for row in rows] == [
        ("1", "0", "0"),
        ("1", "1", "1"),
        ("4", "0", "0"),
        ("4", "1", "1"),
    ]
    assert [entry["shots"] for entry in result.metrics["shots"]] == [1, 4]
    assert result.metrics["examples"]["train"] == 12
    assert float(rows[2]["accuracy"]) == result.metrics["test"]["accuracy"]
    assert (result.folder / "figures" / "shots.png").stat().st_size > 5000
    assert not (result.folder / "checkpoints").exists()
    single = {**document, "data": {**document["data"], "shots": 4}, "output": NO_PICTURES}
    alone = run(single, out=tmp_path / "alone", progress=SILENT)
    assert alone.metrics["test"] == result.metrics["test"]


def test_an_interrupted_curve_goes_on_where_it_stopped(
    tiny: TinyModels, folder_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_figures: None
) -> None:
    from hftransfer.jobs import training

    document = _recipe(tiny, folder_data, data={"shots": [1, 2], "shot_draws": 2})
    whole = run(document, out=tmp_path / "whole", progress=SILENT)
    real, calls = training.train_model, []

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise Interrupted(signal.SIGTERM)
        return real(*args, **kwargs)

    monkeypatch.setattr(training, "train_model", counted)
    with pytest.raises(Interrupted):
        run(document, out=tmp_path / "run", progress=SILENT)
    saved = tmp_path / "run" / "checkpoints" / "shots.json"
    assert len(json.loads(saved.read_text())["rows"]) == 2
    with pytest.raises(RecipeError, match=r"strategy.l2 of the interrupted run must be unchanged \(auto\)"):
        run(document, {"strategy.l2": 1.0}, out=tmp_path / "run", resume=True, progress=SILENT)
    calls.clear()
    calls.extend([1, 1, 1])
    result = run(document, out=tmp_path / "run", resume=True, progress=SILENT)
    assert len(calls) == 3 + 2
    assert (result.folder / "shots.csv").read_text() == (whole.folder / "shots.csv").read_text()
    assert not saved.exists()


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "bundled/efficientnet-lite0"}, ("one with an image tower and a text tower", "bundled/dual-encoder")),
        ({"prompts": "a photo"}, ("prompts must be a template with {}",)),
        ({"strategy.head_init": "zeroshot"}, ("auto or solved or random or zero-shot", "Did you mean 'zero-shot'?")),
        ({"strategy": {"kind": "fine-tune", "interpolate": 1.5}}, ("at most 1",)),
        ({"strategy.head_init": "random"}, ("prompts must be left out", "strategy.head_init: zero-shot")),
        ({"data.shots": 0}, ("data.shots", "at least 1")),
        ({"data.shots": []}, ("data.shots",)),
        ({"compare_prompts": True}, ("compare_prompts must be left out",)),
    ],
)
def test_mistakes_are_told(
    tiny: TinyModels, folder_data: Path, tmp_path: Path, changes: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(HftransferError) as error:
        run(_recipe(tiny, folder_data), changes, out=tmp_path / "run", progress=SILENT)
    assert missing_words(faults_of(error), words) == []


def test_too_many_shots_are_told_by_check(tiny: TinyModels, folder_data: Path) -> None:
    with pytest.raises(DataError, match=r"data.shots must be at most"):
        check(_recipe(tiny, folder_data, data={"shots": [1, 1000]}), progress=SILENT)


def test_shots_of_a_curve_are_checked_before_the_first(tiny: TinyModels, folder_data: Path, tmp_path: Path) -> None:
    lines = io.StringIO()
    with pytest.raises(DataError, match=r"data.shots must be at most"):
        run(_recipe(tiny, folder_data, data={"shots": [1, 99]}), out=tmp_path / "run", progress=Progress(lines))
    assert "draw 1" not in lines.getvalue()


def test_names_of_classes_are_checked_without_training(tiny: TinyModels, folder_data: Path) -> None:
    for given, told in (({"cat": "cat"}, "names for classes of the data"), ({"red": "x", "blue": "x"}, "different")):
        with pytest.raises(RecipeError, match=told):
            check(_recipe(tiny, folder_data, class_names=given), progress=SILENT)


def test_a_dual_encoder_with_a_random_head_is_refused(tiny: TinyModels, folder_data: Path, tmp_path: Path) -> None:
    document = _recipe(tiny, folder_data, "vision-text-dual", class_names=None, prompts=None)
    with pytest.raises(ModelError, match=r"strategy.head_init for the dual encoder .* must be zero-shot; got auto"):
        run(document, {"strategy": "linear-probe"}, out=tmp_path / "run", progress=SILENT)


def test_a_dual_encoder_does_not_learn_by_pairs(tiny: TinyModels, folder_data: Path, tmp_path: Path) -> None:
    document = _recipe(tiny, folder_data, "vision-text-dual", class_names=None, prompts=None)
    with pytest.raises(ModelError, match=r"strategy for the dual encoder .* must be linear-probe, fine-tune or lora"):
        run(document, {"strategy": "contrastive"}, out=tmp_path / "run", progress=SILENT)


def test_what_was_there_before_is_kept_where_training_makes_it_worse(
    tiny: TinyModels, folder_data: Path, tmp_path: Path, without_figures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hftransfer.training import transfer

    seen: list[int] = []

    def worse(*_: Any) -> tuple[float, ...]:
        seen.append(1)
        return (-float(len(seen)),)

    monkeypatch.setattr(transfer, "_score", worse)
    strategy = {"kind": "fine-tune", "unfreeze": 1}
    told = io.StringIO()
    result = run(_recipe(tiny, folder_data, strategy=strategy), out=tmp_path / "run", progress=Progress(told))
    assert "no epoch was better on validation than the model before training: that model is kept" in told.getvalue()
    assert len(seen) == 3
    assert result.metrics["best_epoch"] == 0
    assert result.metrics["zero_shot"]["before"] == result.metrics["zero_shot"]["after"]
    start, found = (
        load_file(tiny("clip-dual") / "model.safetensors"),
        load_file(result.folder / "model/model.safetensors"),
    )
    assert all(torch.equal(weight, found[name]) for name, weight in start.items() if name in found)


def test_a_mix_with_a_random_head_is_refused(tiny: TinyModels, folder_data: Path, tmp_path: Path) -> None:
    strategy = {"kind": "fine-tune", "head_init": "random", "interpolate": 0.5}
    document = _recipe(tiny, folder_data, "vit", strategy=strategy, class_names=None, prompts=None)
    with pytest.raises(RecipeError, match=r"given with strategy.head_init: zero-shot"):
        run(document, out=tmp_path / "run", progress=SILENT)
    dora: dict[str, Any] = {"kind": "lora", "dora": True, "interpolate": 0.5}
    with pytest.raises(RecipeError, match=r"left out with strategy.dora"):
        run(_recipe(tiny, folder_data, strategy=dora), out=tmp_path / "dora", progress=SILENT)


def test_a_saved_classifier_without_its_head_is_refused(
    tiny: TinyModels, folder_data: Path, tmp_path: Path, without_figures: None
) -> None:
    result = run(_recipe(tiny, folder_data), out=tmp_path / "run", progress=SILENT)
    (result.folder / "model" / "head.safetensors").unlink()
    with pytest.raises(ModelError, match="head"):
        ht.load(result.folder)


def test_a_curve_is_no_matter_of_fit(tiny: TinyModels) -> None:
    rows = [(picture(color, seed), color) for color in ("red", "blue") for seed in range(6)]
    arguments: Any = {"strategy": LoRA(head_init="zero-shot"), "train": rows}
    with pytest.raises(RecipeError, match=r"one number for ht.fit"):
        ht.fit("image-classification", model=_name(tiny, "clip-dual"), data={"shots": [1, 2]}, **arguments)
