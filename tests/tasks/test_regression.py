"""A number a text, a pair of texts or an image: learned, judged, predicted, and read by plain transformers."""

from __future__ import annotations

import json
import math
import shutil
import signal
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.parquet
import pytest
import torch
from typer.testing import CliRunner

import hftransfer as ht
from hftransfer.base.errors import DataError, RecipeError
from hftransfer.base.progress import Progress
from hftransfer.cli import app
from hftransfer.study.study import compare
from tests.builders import NO_PICTURES, TinyModels, faults_of, load_model, missing_words, picture, slowly

SILENT = Progress(None)
RENTS = {"good": 300.0, "great": 500.0, "bad": -300.0, "awful": -500.0, "film": 50.0, "story": -50.0}


def _texts(count: int, seed: int) -> list[dict[str, Any]]:
    """Texts of some words, each of which adds to the number, about 2,000."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        words = random.choice(list(RENTS), 3, replace=False).tolist()
        rows.append({"text": f"the {' '.join(words)} is", "rent": 2000.0 + sum(RENTS[word] for word in words)})
    return rows


def _pairs(count: int, seed: int) -> list[dict[str, Any]]:
    """Pairs of texts that share up to three words, whose number is their share."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        first = random.choice(list(RENTS), 3, replace=False)
        second = np.where(random.random(3) < 0.5, first, random.choice(["a", "very", "not"], 3))
        rows.append(
            {"sentence1": " ".join(first), "sentence2": " ".join(second), "score": float((first == second).sum())}
        )
    return rows


def _write(folder: Path, make: Any, sizes: tuple[int, int, int] = (64, 32, 32)) -> Path:
    folder.mkdir(exist_ok=True)
    for seed, (split, size) in enumerate(zip(("train", "validation", "test"), sizes, strict=True)):
        lines = [json.dumps(row) for row in make(size, seed)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def rents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of JSONL of texts with a number."""
    return _write(tmp_path_factory.mktemp("rents"), _texts)


@pytest.fixture(scope="module")
def similar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of JSONL of pairs with a number."""
    return _write(tmp_path_factory.mktemp("similar"), _pairs)


def _recipe(model: Path, source: Path | str, task: str = "text-regression", **more: Any) -> dict[str, Any]:
    column = {"label_column": "rent"} if "rents" in str(source) else {}
    return {
        "task": task,
        "model": str(model),
        "data": {"source": str(source), **column, **more.pop("data", {})},
        "train": {"precision": "fp32", "batch_size": 8, **more.pop("train", {})},
        "output": NO_PICTURES,
        **more,
    }


@pytest.fixture(scope="module")
def run_of_texts(tiny: TinyModels, rents: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished fine-tune with its page."""
    out = tmp_path_factory.mktemp("runs") / "fine-tune"
    strategy = {"kind": "fine-tune", "learning_rate": 2e-3, "head_lr": 3e-2}
    recipe = _recipe(tiny("bert"), rents, strategy=strategy, train={"epochs": 12, "patience": None}, output={})
    return ht.run(recipe, out=out, progress=SILENT).folder


@pytest.fixture(scope="module")
def run_of_pairs(tiny: TinyModels, similar: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished probe of pairs that are read apart."""
    out = tmp_path_factory.mktemp("runs") / "pairs"
    return ht.run(_recipe(tiny("bert"), similar), out=out, progress=SILENT).folder


def test_a_run_tells_of_numbers(run_of_texts: Path) -> None:
    metrics = json.loads((run_of_texts / "metrics.json").read_text(encoding="utf-8"))
    test = metrics["test"]
    # Far from 0 and far apart: what is learned must be of the units' mean and size.
    assert test["r2"] > 0.3
    assert {"r2", "mae", "rmse", "pearson", "spearman", "spearman_interval", "interval_coverage"} <= set(test)
    table = pyarrow.parquet.read_table(run_of_texts / "predictions.parquet").to_pydict()
    assert set(table) == {"id", "value", "prediction", "low", "high"}
    held = [low <= value <= high for low, value, high in zip(table["low"], table["value"], table["high"], strict=True)]
    assert np.mean(held) == test["interval_coverage"]
    page = (run_of_texts / "report.html").read_text(encoding="utf-8")
    words = (
        "R² on 32 test examples",
        "predicted",
        "How far off",
        "Farthest off of 32 test examples",
        "supported a higher number",
    )
    assert missing_words(page, words) == []
    assert (run_of_texts / "figures" / "residuals.png").is_file()
    card = (run_of_texts / "model" / "README.md").read_text(encoding="utf-8")
    assert (
        missing_words(card, ("pipeline_tag: text-classification", "- regression", "adapted to estimating a number"))
        == []
    )
    assert "softmax" not in card


def test_plain_transformers_gives_the_number_itself(run_of_texts: Path) -> None:
    from transformers import pipeline

    config = json.loads((run_of_texts / "model" / "config.json").read_text(encoding="utf-8"))
    assert (config["problem_type"], config["id2label"]) == ("regression", {"0": "rent"})
    texts = ["the good film is", "the awful bad story"]
    native = pipeline("text-classification", model=str(run_of_texts / "model"))(texts)
    for own, told in zip(load_model(run_of_texts).predict(texts), native, strict=True):
        assert isinstance(own, ht.Number)
        assert told == {"label": "rent", "score": pytest.approx(own.value, rel=1e-5)}
        assert own.low is not None
        assert own.high is not None
        assert own.low < own.value < own.high


def test_a_model_is_judged_as_in_its_run(run_of_texts: Path, rents: Path) -> None:
    metrics = json.loads((run_of_texts / "metrics.json").read_text(encoding="utf-8"))["test"]
    found = load_model(run_of_texts).evaluate(str(rents), label_column="rent")
    for name in ("r2", "spearman", "interval_half_width", "interval_coverage"):
        assert found[name] == pytest.approx(metrics[name], rel=1e-4)
    with pytest.raises(DataError, match=r"a number; got 'good'"):
        load_model(run_of_texts).evaluate([("a film", "good")])
    with pytest.raises(RecipeError, match="label map"):
        load_model(run_of_texts).evaluate([("a film", 2)], label_map="position")


def test_a_probe_is_solved_and_loads_again(tiny: TinyModels, rents: Path, tmp_path: Path) -> None:
    found = ht.run(_recipe(tiny("bert"), rents), out=tmp_path / "probe", progress=SILENT)
    assert found.metrics["test"]["r2"] > 0.9
    assert load_model(found.folder).evaluate(_texts(32, 2), label_column="rent")["r2"] == pytest.approx(
        found.metrics["test"]["r2"], rel=1e-4
    )
    card = (found.folder / "model" / "README.md").read_text(encoding="utf-8")
    assert "value = (pooled" in card
    assert "softmax" not in card


# GPT-2's head has no bias, RoBERTa's two layers.
@pytest.mark.parametrize("family", ["bert", *slowly("gpt2", "roberta")])
def test_lora_and_heads_without_a_bias(tiny: TinyModels, rents: Path, tmp_path: Path, family: str) -> None:
    strategy = {"kind": "lora", "rank": 2, "learning_rate": 1e-2, "head_lr": 1e-2}
    recipe = _recipe(tiny(family), rents, strategy=strategy, train={"epochs": 3, "loss": "huber"})
    found = ht.run(recipe, out=tmp_path / "lora", progress=SILENT)
    model = load_model(found.folder)
    own = model.predict("the good film is")
    assert isinstance(own, ht.Number)
    assert 1000 < own.value < 3000
    assert found.metrics["test"]["r2"] > (-1.5 if family == "gpt2" else -0.3)
    rows = str(rents)
    assert model.evaluate(rows, label_column="rent")["rmse"] == pytest.approx(found.metrics["test"]["rmse"], rel=1e-4)


def test_an_interrupted_run_ends_as_if_it_had_not_been(
    tiny: TinyModels, rents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hftransfer.training import interrupts, loop

    recipe = _recipe(tiny("bert"), rents, strategy="fine-tune", train={"epochs": 2, "checkpoint_every_steps": 3})
    whole = ht.run(recipe, out=tmp_path / "whole", progress=SILENT)
    steps, original = 0, loop._Run.step

    def step(run: Any, *given: Any) -> bool:
        nonlocal steps
        steps += 1
        if steps == 11:
            raise interrupts.Interrupted(signal.SIGTERM)
        return original(run, *given)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Run, "step", step)
        with pytest.raises(interrupts.Interrupted):
            ht.run(recipe, out=tmp_path / "parts", progress=SILENT)
    parts = ht.run(recipe, out=tmp_path / "parts", resume=True, progress=SILENT)
    assert parts.metrics["test"] == whole.metrics["test"]


def test_numbers_in_16_bits_keep_their_digits(tiny: TinyModels) -> None:
    from hftransfer.adapters.scoring import ExactLinear

    model = ht.fit("text-regression", model=str(tiny("bert")), train=_texts(40, 0), data={"label_column": "rent"})
    assert isinstance(model.adapter.head, ExactLinear)
    layer = ExactLinear(4, 1)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.ones(1, 4, dtype=torch.bfloat16)).dtype is torch.float32


# --- pairs -----------------------------------------------------------------------------------------------------------


def test_pairs_are_read_apart_by_a_probe(run_of_pairs: Path) -> None:
    facts = json.loads((run_of_pairs / "model" / "hftransfer.json").read_text(encoding="utf-8"))
    assert (facts["pair"], facts["pooling"], facts["pairs"]) == ("features", "mean", True)
    model = load_model(run_of_pairs)
    assert model.metrics["test"]["spearman"] > 0.5
    rows = _pairs(32, 2)
    assert model.evaluate(rows)["spearman"] == pytest.approx(model.metrics["test"]["spearman"], abs=1e-3)


def test_the_features_of_pairs_are_those_of_both_texts(run_of_pairs: Path) -> None:
    """As the lines on the card have it, in plain transformers; and padding changes nothing."""
    from safetensors.torch import load_file
    from transformers import AutoModel, AutoTokenizer

    folder = run_of_pairs / "model"
    pairs = [("good film", "a very good film is it"), ("the bad story was awful", "not"), ("", "film")]
    predicted = load_model(run_of_pairs).predict(pairs)
    tokenizer, backbone = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    head = load_file(folder / "head.safetensors")
    for pair, own in zip(pairs, predicted, strict=True):
        both = []
        for text in pair:
            with torch.no_grad():
                pooled = backbone(**tokenizer([text], return_tensors="pt")).last_hidden_state.mean(dim=1)
            both.append(pooled / pooled.norm(dim=-1, keepdim=True))
        u, v = both
        value = torch.cat([u, v, (u - v).abs(), u * v], dim=-1) @ head["weight"].T + head["bias"]
        assert isinstance(own, ht.Number)
        assert own.value == pytest.approx(float(value), abs=1e-4)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert missing_words(card, ("(u - v).abs(), u * v", "value = (features")) == []


@pytest.mark.parametrize("strategy", ["fine-tune", {"kind": "lora", "rank": 2}])
def test_pairs_read_apart_learn_below_the_head_too(
    tiny: TinyModels, similar: Path, tmp_path: Path, strategy: Any
) -> None:
    chosen = {"kind": strategy} if isinstance(strategy, str) else strategy
    recipe = _recipe(tiny("bert"), similar, strategy={**chosen, "pair": "features"}, train={"epochs": 1})
    found = ht.run(recipe, out=tmp_path / "run", progress=SILENT)
    model = load_model(found.folder)
    assert model.facts.pair == "features"
    assert model.evaluate(str(similar))["rmse"] == pytest.approx(found.metrics["test"]["rmse"], rel=1e-4)


def test_classes_of_pairs_read_apart(tiny: TinyModels, tmp_path: Path) -> None:
    rows = [(row["sentence1"], row["sentence2"], "same" if row["score"] > 1 else "other") for row in _pairs(60, 0)]
    model = ht.fit(
        "text-classification", model=str(tiny("bert")), train=rows, strategy=ht.LinearProbe(pair="features"), epochs=1
    )
    saved = model.save(tmp_path / "saved")
    again = load_model(saved).predict([("good film", "good film")])
    assert again[0].scores == pytest.approx(model.predict([("good film", "good film")])[0].scores, abs=1e-4)


def test_sentence_transformers_gives_the_number_of_a_pair_itself(tiny: TinyModels, tmp_path: Path) -> None:
    # Without a word in config.json its CrossEncoder passes one number through a sigmoid (6.2.0).
    from sentence_transformers import CrossEncoder

    said = json.loads((tiny("bert") / "config.json").read_text(encoding="utf-8"))
    base = shutil.copytree(tiny("bert"), tmp_path / "base")
    said |= {"sbert_ce_default_activation_function": "torch.nn.modules.activation.Sigmoid"}
    (base / "config.json").write_text(json.dumps(said), encoding="utf-8")
    rows = [{**row, "score": 100 + row["score"]} for row in _pairs(40, 0)]
    model = ht.fit("text-regression", model=str(base), train=rows, strategy=ht.FineTune(unfreeze=1), epochs=1)
    model.save(tmp_path / "saved")
    pairs = [("good film", "a very good film is it"), ("the bad story was awful", "not")]
    ours = [cast(Any, one).value for one in model.predict(pairs)]
    assert CrossEncoder(str(tmp_path / "saved"), device="cpu").predict(pairs) == pytest.approx(ours, rel=1e-5)
    assert min(ours) > 90
    # A head on the mean of all tokens is none that CrossEncoder knows.
    apart = ht.FineTune(unfreeze=1, pooling="mean")
    ht.fit("text-regression", model=str(base), train=rows, strategy=apart, epochs=1).save(tmp_path / "mean")
    assert "sentence_transformers" not in json.loads((tmp_path / "mean" / "config.json").read_text(encoding="utf-8"))


def test_pairs_read_apart_need_pairs(tiny: TinyModels, rents: Path) -> None:
    recipe = _recipe(tiny("bert"), rents, strategy={"kind": "linear-probe", "pair": "features"})
    with pytest.raises(
        RecipeError, match=r"strategy.pair must be left out unless the inputs are pairs of texts; got features"
    ):
        ht.run(recipe, progress=SILENT)
    recipe = _recipe(
        tiny("vit"), "somewhere", "image-regression", strategy={"kind": "linear-probe", "pair": "features"}
    )
    with pytest.raises(RecipeError, match=r"strategy.pair must be left out for task image-regression"):
        ht.check(recipe, data=[], progress=SILENT)


def test_words_of_pairs_read_apart_are_explained(run_of_pairs: Path) -> None:
    (told,) = ht.explain(str(run_of_pairs), [("good film", "very good film is bad")])
    assert [word.text for word in told.words] == ["good", "film", "very", "good", "film", "is", "bad"]  # type: ignore[union-attr]
    attributed = told.attributed  # type: ignore[union-attr]
    assert attributed.total == pytest.approx(attributed.difference, abs=0.1 * max(1.0, abs(attributed.difference)))


# --- images ----------------------------------------------------------------------------------------------------------


def test_a_number_of_an_image(tiny: TinyModels, tmp_path: Path) -> None:
    values = {"red": 10.0, "blue": 30.0}
    rows = [(picture(color, seed), values[color] + seed % 3) for seed in range(12) for color in values]
    model = ht.fit("image-regression", model=str(tiny("vit")), train=rows, precision="fp32")
    model.save(tmp_path / "saved")
    from transformers import pipeline

    picture("red", 99).save(tmp_path / "red.png")
    native = pipeline("image-classification", model=str(tmp_path / "saved"))(str(tmp_path / "red.png"))
    (own,) = load_model(tmp_path / "saved").predict([tmp_path / "red.png"])
    assert isinstance(own, ht.Number)
    assert native == [{"label": "value", "score": pytest.approx(own.value, rel=1e-3)}]
    assert ht.explain(model, [tmp_path / "red.png"])[0].label == "value"  # type: ignore[union-attr]


# --- what people do with it ------------------------------------------------------------------------------------------


def _invoke(*words: object, status: int = 0) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == status, done.output
    return done.stdout


def test_commands_tell_numbers(run_of_texts: Path, run_of_pairs: Path, rents: Path, tmp_path: Path) -> None:
    line = _invoke("predict", run_of_texts, "the good film is", "--quiet")
    assert " to " in line
    assert line.rstrip().endswith("the good film is")
    told = json.loads(_invoke("predict", run_of_texts, "the good film is", "--json", "--quiet"))["predictions"]
    assert set(told[0]) == {"input", "value", "low", "high"}
    _invoke("predict", run_of_texts, rents / "test.jsonl", "--csv", tmp_path / "t.csv", "--quiet")
    assert (tmp_path / "t.csv").read_text(encoding="utf-8").splitlines()[0] == "input,value,low,high,error"
    assert "spearman" in _invoke("eval", run_of_texts, "--quiet")
    assert "rent " in _invoke("explain", run_of_texts, "the good film is", "--out", tmp_path / "why", "--quiet")
    exported = _invoke("export", run_of_pairs, "--format", "onnx", "--out", tmp_path / "onnx", "--quiet")
    said = json.loads((tmp_path / "onnx" / "onnx.json").read_text(encoding="utf-8"))
    assert said["half_width"] == load_model(run_of_pairs).facts.half_width, exported


def test_a_server_answers_with_numbers(run_of_pairs: Path) -> None:
    from starlette.testclient import TestClient

    from hftransfer.predictors.server import make_app

    with TestClient(make_app(load_model(run_of_pairs), "model"), base_url="http://127.0.0.1") as client:
        answer = client.post("/predict", json={"text": "good film", "text_pair": "bad film"})
        assert set(answer.json()) == {"value", "low", "high"}
        assert '"value" in found' in client.get("/").text


@pytest.mark.slow
def test_strategies_are_compared_by_r2(tiny: TinyModels, rents: Path, tmp_path: Path) -> None:
    recipe = _recipe(tiny("bert"), rents, train={"epochs": 1})
    study = compare(recipe, strategies=["linear-probe", "fine-tune:1"], seeds=[0], out=tmp_path / "s", progress=SILENT)
    assert study.metric == "r2"
    assert not study.failed
    for result in study.results:
        assert result.scores is not None
        assert np.mean(list(result.scores.values())) == pytest.approx(result.score)
    # R² of one text may be far below -1.
    (difference,) = study.differences
    assert difference.interval[0] < difference.mean < difference.interval[1]


def test_an_audit_looks_at_rows_and_leaves_numbers_alone(tiny: TinyModels, rents: Path) -> None:
    audit = ht.audit(_recipe(tiny("bert"), rents), progress=SILENT)
    assert any("not judged for task text-regression" in note for note in audit.notes)


def test_settings_that_do_not_go_with_numbers_are_told_at_once(tiny: TinyModels, rents: Path) -> None:
    train = {"label_smoothing": 0.1, "class_weights": "auto", "metric": "accuracy", "loss": "infonce"}
    recipe = _recipe(tiny("bert"), rents, train=train, data={"labels": "multi", "shots": 4})
    with pytest.raises(RecipeError) as told:
        ht.check(recipe)
    words = ("train.label_smoothing", "train.class_weights", "train.metric", "train.loss must be mse or huber")
    assert missing_words(faults_of(told), (*words, "data.labels must be left out", "data.shots")) == []


def test_a_regression_that_others_trained(tmp_path: Path, tiny: TinyModels) -> None:
    import transformers as tf

    config = tf.AutoConfig.from_pretrained(tiny("bert"), num_labels=1, problem_type="regression")
    torch.manual_seed(0)
    tf.BertForSequenceClassification(config).eval().save_pretrained(tmp_path / "theirs")
    tf.AutoTokenizer.from_pretrained(tiny("bert")).save_pretrained(tmp_path / "theirs")
    model = load_model(tmp_path / "theirs")
    own = model.predict("the good film is")
    assert isinstance(own, ht.Number)
    assert (own.low, own.high) == (None, None)
    assert repr(own) == f"Number(value={own.value!r}, low=None, high=None)"
    found = model.evaluate([("good", 0.5), ("bad film", 1.5), ("awful", "2.5")])
    assert found["mae"] > 0
    assert "interval_coverage" not in found
    assert not math.isnan(found["spearman"])


def test_a_foreign_model_of_several_numbers_tells_them_all(tmp_path: Path, tiny: TinyModels) -> None:
    import transformers as tf

    config = tf.AutoConfig.from_pretrained(tiny("bert"), num_labels=3, problem_type="regression")
    tf.BertForSequenceClassification(config).save_pretrained(tmp_path / "theirs")
    tf.AutoTokenizer.from_pretrained(tiny("bert")).save_pretrained(tmp_path / "theirs")
    assert len(load_model(tmp_path / "theirs").predict("good").scores) == 3
