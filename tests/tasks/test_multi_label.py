"""Any number of labels a row: learned, judged, predicted, and read by plain transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
from hftransfer.tasks.multi_label import best_thresholds, chosen
from hftransfer.tasks.outcomes import LabelsPrediction
from tests.builders import NO_PICTURES, Finished, TinyModels, faults_of, load_model, picture

WORDS = {"praise": "good", "blame": "bad", "plot": "story", "cast": "actor"}


def _texts(count: int, seed: int) -> list[dict[str, Any]]:
    """Texts with one word for each of their labels."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        labels = [label for label in WORDS if random.random() < 0.4]
        words = [WORDS[label] for label in labels] + ["the", "film", "is", "it", "a", "very", "in"][
            : 2 + len(labels) % 3
        ]
        rows.append({"text": " ".join(random.permutation(words)), "labels": labels})
    return rows


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of JSONL with several labels a row."""
    folder = tmp_path_factory.mktemp("several-labels")
    for seed, (split, size) in enumerate({"train": 60, "validation": 30, "test": 30}.items()):
        lines = [json.dumps(row) for row in _texts(size, seed)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def _recipe(model: Path, source: Path, **more: Any) -> dict[str, Any]:
    return {
        "task": "text-classification",
        "model": str(model),
        "data": {"source": str(source), **more.pop("data", {})},
        "train": {"precision": "fp32", "batch_size": 8, **more.pop("train", {})},
        "output": NO_PICTURES,
        **more,
    }


@pytest.fixture(scope="module")
def run_of_texts(tiny: TinyModels, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished fine-tune of two epochs with its page."""
    out = tmp_path_factory.mktemp("runs") / "fine-tune"
    strategy = {"kind": "fine-tune", "head_init": "random"}
    recipe = _recipe(tiny("bert"), table, strategy=strategy, train={"epochs": 2}, output={})
    return ht.run(recipe, out=out, progress=Progress(None)).folder


def test_a_run_tells_of_several_labels(run_of_texts: Path) -> None:
    metrics = json.loads((run_of_texts / "metrics.json").read_text(encoding="utf-8"))
    test = metrics["test"]
    assert {"macro_f1", "micro_f1", "mean_average_precision", "subset_accuracy", "hamming_loss"} <= set(test)
    assert set(test["per_class"]) == set(WORDS)
    table = pyarrow.parquet.read_table(run_of_texts / "predictions.parquet").to_pydict()
    assert set(table) == {"id", "labels", "prediction", *(f"probability_{name}" for name in WORDS)}
    thresholds = {name: scores["threshold"] for name, scores in test["per_class"].items()}
    for row, given in enumerate(table["prediction"]):
        own = [name for name in sorted(WORDS) if table[f"probability_{name}"][row] >= thresholds[name]]
        assert given == own
    page = (run_of_texts / "report.html").read_text(encoding="utf-8")
    assert all(words in page for words in ("Macro F1 on 30 test examples", "Precision and recall", "Worst mistakes"))
    assert (run_of_texts / "figures" / "precision_recall.png").is_file()
    card = (run_of_texts / "model" / "README.md").read_text(encoding="utf-8")
    assert "pipeline_tag: text-classification" in card


def test_plain_transformers_gives_the_same_scores(run_of_texts: Path) -> None:
    from transformers import pipeline

    config = json.loads((run_of_texts / "model" / "config.json").read_text(encoding="utf-8"))
    assert config["problem_type"] == "multi_label_classification"
    texts = ["the good actor", "a bad story is it"]
    native = pipeline("text-classification", model=str(run_of_texts / "model"), top_k=None)
    for own, told in zip(load_model(run_of_texts).predict(texts), native(texts), strict=True):
        assert {entry["label"]: entry["score"] for entry in told} == pytest.approx(own.scores, abs=1e-4)


def test_predictions_have_the_labels_above_their_thresholds(run_of_texts: Path) -> None:
    model = load_model(run_of_texts)
    own = model.predict("the good actor")
    assert isinstance(own, LabelsPrediction)
    thresholds = model.facts.thresholds
    assert thresholds is not None
    assert own.labels == tuple(name for name, score in own.scores.items() if score >= thresholds[name])
    assert list(own.scores.values()) == sorted(own.scores.values(), reverse=True)
    model.use_threshold(1.0)
    none = model.predict("the good actor")
    assert isinstance(none, LabelsPrediction)
    assert none.labels == ()
    assert none.line("x", "sigmoid") == "(no label)  x"
    model.use_threshold(0.0)
    all_of_them = model.predict("the good actor")
    assert isinstance(all_of_them, LabelsPrediction)
    assert set(all_of_them.labels) == set(WORDS)
    with pytest.raises(RecipeError, match="a probability, from 0 to 1; got 2"):
        model.use_threshold(2)


def test_a_model_is_judged_as_in_its_run(run_of_texts: Path, table: Path) -> None:
    metrics = json.loads((run_of_texts / "metrics.json").read_text(encoding="utf-8"))
    model = load_model(run_of_texts)
    found = model.evaluate(str(table))
    assert found["macro_f1"] == pytest.approx(metrics["test"]["macro_f1"])
    assert found["log_loss"] == pytest.approx(metrics["test"]["log_loss"], abs=1e-5)
    # Rows that happen to have one label each are rows of several labels all the same.
    single = [{"text": "good", "labels": ["praise"]}, {"text": "bad", "label": "blame", "labels": ["blame"]}]
    assert set(model.evaluate(single)["per_class"]) == set(WORDS)
    with pytest.raises(DataError) as told:
        model.evaluate([("good", ["prais"])])
    assert "the label 'prais' (1 row)" in faults_of(told)


def test_a_probe_is_solved_and_loads_again(tiny: TinyModels, table: Path, tmp_path: Path) -> None:
    found = ht.run(_recipe(tiny("bert"), table), out=tmp_path / "probe", progress=Progress(None))
    assert found.metrics["strategy"] == "linear-probe"
    assert load_model(found.folder).scoring == "sigmoid"
    rows = _texts(30, 2)
    assert load_model(found.folder).evaluate(rows)["macro_f1"] == pytest.approx(found.metrics["test"]["macro_f1"])
    card = (found.folder / "model" / "README.md").read_text(encoding="utf-8")
    assert "softmax" not in card
    assert ".sigmoid()" in card


def test_lora_keeps_what_its_head_is_for(tiny: TinyModels, table: Path, tmp_path: Path) -> None:
    recipe = _recipe(tiny("bert"), table, strategy={"kind": "lora", "rank": 2}, train={"epochs": 1})
    found = ht.run(recipe, out=tmp_path / "lora", progress=Progress(None))
    model = load_model(found.folder)
    assert model.scoring == "sigmoid"
    assert model.evaluate(str(table))["macro_f1"] == pytest.approx(found.metrics["test"]["macro_f1"], abs=1e-6)
    # peft's layout has no place for it: without, plain pipelines would take the best of all labels by softmax.
    card = (found.folder / "model" / "README.md").read_text(encoding="utf-8")
    assert 'num_labels=4, problem_type="multi_label_classification"' in card


def test_images_with_any_number_of_labels(tiny: TinyModels, tmp_path: Path) -> None:
    rows = [(picture(color, seed), [color, "odd"][: 1 + seed % 2]) for seed in range(12) for color in ("red", "blue")]
    model = ht.fit("image-classification", model=str(tiny("vit")), train=rows, precision="fp32", seed=1)
    (own,) = model.predict([picture("red", 99)])
    assert isinstance(own, LabelsPrediction)
    assert set(own.scores) == {"red", "blue", "odd"}
    model.save(tmp_path / "saved")
    from transformers import pipeline

    picture("red", 99).save(tmp_path / "red.png")
    native = pipeline("image-classification", model=str(tmp_path / "saved"), top_k=None)(str(tmp_path / "red.png"))
    told = {entry["label"]: entry["score"] for entry in native}
    (again,) = load_model(tmp_path / "saved").predict([tmp_path / "red.png"])
    assert told == pytest.approx(again.scores, abs=1e-3)


def test_at_least_one_label_where_that_is_wanted() -> None:
    scores, thresholds = np.array([[0.2, 0.4, 0.1], [0.9, 0.1, 0.9]]), np.array([0.3, 0.8, 0.5])
    assert chosen(scores, thresholds).tolist() == [[False, False, False], [True, False, True]]
    assert chosen(scores, thresholds, at_least_one=True).tolist() == [[True, False, False], [True, False, True]]


def test_at_least_one_is_kept_in_the_model(tiny: TinyModels, table: Path) -> None:
    model = ht.fit(
        "text-classification",
        model=str(tiny("bert")),
        train=_texts(40, 0),
        test=_texts(20, 1),
        data={"at_least_one": True},
        precision="fp32",
    )
    assert model.facts.at_least_one
    assert all(one.labels for one in model.predict(["very film"] * 3) if isinstance(one, LabelsPrediction))
    assert model.metrics["test"]["labels_per_example"] >= 1.0


@pytest.mark.parametrize("seed", range(3))
def test_thresholds_have_the_best_f1_there_is(seed: int) -> None:
    from sklearn.metrics import f1_score

    random = np.random.default_rng(seed)
    labels = random.random((50, 3)) < 0.3
    scores = np.round(np.clip(labels * 0.3 + random.random((50, 3)) * 0.7, 0, 1), 2)
    found = best_thresholds(labels, scores)
    for place in range(3):
        own = f1_score(labels[:, place], scores[:, place] >= found[place])
        every = [f1_score(labels[:, place], scores[:, place] >= value) for value in np.unique(scores)]
        assert own == pytest.approx(max(every))


def test_a_label_that_nothing_tells_is_not_given_to_all() -> None:
    labels = np.zeros((300, 2), bool)
    labels[7, 0] = labels[:90, 1] = True
    scores = np.column_stack([np.full(300, 0.003), np.linspace(0.9, 0.1, 300)])
    found = best_thresholds(labels, scores)
    assert found[0] == 0.5
    assert chosen(scores, found).sum(axis=0).tolist() == [0, 90]


def test_class_weights_are_positive_weights() -> None:
    from hftransfer.data.label_sets import LABEL_SETS
    from hftransfer.data.rows import Row, TextContent
    from hftransfer.data.splits import Split
    from hftransfer.tasks import TASKS, for_targets
    from hftransfer.tasks.contract import Examples

    rows = [Row(str(i), TextContent("x"), own) for i, own in enumerate([("a",), (), (), ("a", "b")])]
    split = Split(rows, LABEL_SETS.encode(rows, ("a", "b")), [b""] * 4)
    task = for_targets(TASKS["text-classification"], LABEL_SETS)
    logits = torch.tensor([[0.5, -1.0], [2.0, 0.0]])
    labels = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    for weighted, weights in ((False, None), (True, torch.tensor([1.0, 3.0]))):
        examples = Examples(split, None)  # type: ignore[arg-type]
        loss = task.loss(examples, 2, torch.device("cpu"), label_smoothing=0.0, class_weights=weighted)
        oracle = torch.nn.BCEWithLogitsLoss(pos_weight=weights)(logits, labels)
        assert loss.total(logits, [0, 3]) / loss.weight([0, 3]) == pytest.approx(float(oracle))


def test_settings_that_do_not_go_with_several_labels_are_told_at_once(tiny: TinyModels, table: Path) -> None:
    wrong = {"kind": "fine-tune", "objective": "contrastive"}
    recipe = _recipe(tiny("bert"), table, strategy=wrong, data={"shots": 4, "labels": "multi"})
    for told_by in (lambda: ht.check(recipe), lambda: ht.run(recipe, progress=Progress(None))):
        with pytest.raises(RecipeError) as told:
            told_by()
        assert "data.shots" in faults_of(told)
        assert "strategy.objective must be cross-entropy for several labels a row" in faults_of(told)
    found_later = _recipe(tiny("bert"), table, strategy=wrong)
    with pytest.raises(RecipeError, match=r"strategy.objective must be cross-entropy for several labels a row"):
        ht.check(found_later, progress=Progress(None))


@pytest.mark.slow
def test_strategies_are_compared_by_the_f1_of_each_row(tiny: TinyModels, table: Path, tmp_path: Path) -> None:
    recipe = _recipe(tiny("bert"), table, train={"epochs": 1})
    study = compare(
        recipe, strategies=["linear-probe", "lora:2"], seeds=[0], out=tmp_path / "study", progress=Progress(None)
    )
    assert study.metric == "example_f1"
    assert not study.failed
    for result in study.results:
        assert result.scores is not None
        assert np.mean(list(result.scores.values())) == pytest.approx(result.score)


def test_words_are_explained_for_a_label(run_of_texts: Path) -> None:
    (told,) = ht.explain(str(run_of_texts), ["the good actor"], label="praise")
    assert told.label == "praise"  # type: ignore[union-attr]


def test_wrong_labels_are_found_by_an_audit(tiny: TinyModels, tmp_path: Path) -> None:
    rows = _texts(120, 3)
    rows[7] = {"text": "good good good", "labels": ["blame", "plot", "cast"]}
    audit = ht.audit(_recipe(tiny("bert"), Path("memory")), data=rows, progress=Progress(None))
    assert audit.rows == 120
    assert not any("not judged" in note for note in audit.notes)
    assert any(one.kind == "label" for one in audit.findings)


# --- on the command line ---------------------------------------------------------------------------------------------


def _said(*words: str) -> str:
    found = CliRunner().invoke(app, list(words))
    assert found.exit_code == 0, found.output
    return found.output


def test_commands_know_of_several_labels(run_of_texts: Path, table: Path, tmp_path: Path) -> None:
    run = str(run_of_texts)
    given = _said("predict", run, "good actor", "--threshold", "0.0")
    assert all(f"{name} " in given for name in WORDS)
    assert _said("predict", run, "good actor", "--threshold", "1").startswith("(no label)  good actor")
    told = json.loads(_said("predict", run, "good actor", "--threshold", "0", "--json"))
    assert set(told["predictions"][0]["labels"]) == set(WORDS)
    _said("predict", run, "good actor", "--threshold", "0", "--csv", str(tmp_path / "out.csv"))
    header, row = (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()
    assert header.startswith("input,label,score,labels,score_blame")
    assert row.split(",")[3].count("|") == 3
    judged = json.loads(_said("eval", run, "--data", str(table), "--threshold", "0", "--json"))
    assert judged["labels_per_example"] == 4.0
    draft = _said("init", "--data", str(table), "--out", str(tmp_path / "draft.yaml"))
    assert "several labels per row (lists)" in draft
    assert "task: text-classification" in draft


def test_a_threshold_for_another_model_is_refused(finished: Finished) -> None:
    found = CliRunner().invoke(app, ["predict", str(finished("vit").folder), "x.png", "--threshold", "0.5"])
    assert found.exit_code == 2
    assert "the threshold must be left out: only models of several labels have one" in found.output


@pytest.mark.slow
def test_a_graph_of_onnx_gives_the_same_logits(run_of_texts: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    _said("export", str(run_of_texts), "--out", str(tmp_path / "onnx"))
    said = json.loads((tmp_path / "onnx" / "onnx.json").read_text(encoding="utf-8"))
    assert said["scores"] == "sigmoid"
    assert set(said["thresholds"]) == set(said["labels"]) == set(WORDS)


def test_a_server_answers_with_the_labels(run_of_texts: Path) -> None:
    from fastapi.testclient import TestClient

    from hftransfer.predictors.server import make_app

    model = load_model(run_of_texts)
    model.use_threshold(0.0)
    client = TestClient(make_app(model, "reviews"), base_url="http://127.0.0.1")
    assert set(client.get("/about").json()["labels"]) == set(WORDS)
    assert set(client.post("/predict", json={"text": "good actor"}).json()["labels"]) == set(WORDS)


def test_a_head_that_is_stepped_begins_with_the_share_of_each_label(tiny: TinyModels, table: Path) -> None:
    from hftransfer.adapters.checkpoint import find_checkpoint
    from hftransfer.adapters.loading import load_adapter
    from hftransfer.data.label_sets import LABEL_SETS
    from hftransfer.data.rows import Row, TextContent
    from hftransfer.data.splits import Split
    from hftransfer.tasks import TASKS, for_targets
    from hftransfer.tasks.contract import Examples

    task = for_targets(TASKS["text-classification"], LABEL_SETS)
    checkpoint = find_checkpoint(str(tiny("bert")))
    assert checkpoint is not None
    adapter = load_adapter(checkpoint, ("a", "b"), head=task.head)
    rows = [Row(str(i), TextContent("x"), own) for i, own in enumerate([("a",), (), ("a",), ("a", "b")])]
    split = Split(rows, LABEL_SETS.encode(rows, ("a", "b")), [b""] * 4)
    task.in_training(adapter, Examples(split, None), None)  # type: ignore[arg-type]
    bias = adapter.head.bias
    assert bias is not None
    assert bias.sigmoid().tolist() == pytest.approx([3.5 / 5, 1.5 / 5])
