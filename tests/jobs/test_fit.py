"""`ht.fit` and what it gives, from Python; and whole runs of text tasks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import hftransfer as ht
from hftransfer.base.errors import HftransferError
from hftransfer.base.progress import Progress
from hftransfer.jobs.run import run
from tests.builders import TinyModels, faults_of, load_model, missing_words, picture, question

SILENT = Progress(None)
ROWS = [
    (f"the {thing} was {word}", label)
    for thing in ("film", "story", "actor")
    for label, words in (("pos", ("good", "great", "fine", "lovely")), ("neg", ("bad", "awful", "dull", "poor")))
    for word in words
]


def _fit(tiny: TinyModels, **given: Any) -> Any:
    usual: dict[str, Any] = {"model": str(tiny("bert")), "train": ROWS, "progress": SILENT, "precision": "fp32"}
    return ht.fit("text-classification", **usual | given)


@pytest.mark.parametrize("strategy", [None, "lora", ht.FineTune(unfreeze=1), ht.LinearProbe(pooling="native")])
def test_fit_gives_a_model_that_predicts_evaluates_saves_and_loads(
    tiny: TinyModels, tmp_path: Path, strategy: Any
) -> None:
    model = _fit(tiny, strategy=strategy)
    (prediction,) = model.predict(["the film was lovely"])
    assert set(prediction.scores) == {"pos", "neg"}
    assert prediction.label in ("pos", "neg")
    scores = model.evaluate(ROWS)
    assert 0 <= scores["accuracy"] <= 1
    model.save(tmp_path / "out")
    loaded = load_model(tmp_path / "out")
    assert loaded.predict(["the film was lovely"])[0].scores == pytest.approx(prediction.scores, abs=1e-6)
    assert loaded.evaluate(ROWS)["accuracy"] == scores["accuracy"]
    assert model.metrics["test"] == {}


def test_a_function_sees_each_epoch_and_may_end_training(tiny: TinyModels) -> None:
    seen: list[dict[str, float]] = []

    def on_epoch(row: Mapping[str, float]) -> bool:
        seen.append(dict(row))
        return row["epoch"] == 2

    model = _fit(tiny, strategy=ht.FineTune(unfreeze=1), epochs=5, patience=None, on_epoch=on_epoch)
    rows = [row for row in model.history if row["epoch"] > 0]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert seen == rows
    assert {"train_loss", "accuracy", "log_loss"} <= set(rows[0])
    assert [row["epoch"] for row in _fit(tiny, strategy="lora", epochs=3, on_epoch=seen.append).history[-3:]] == [
        1,
        2,
        3,
    ]
    assert len(seen) == 5


def test_a_mean_pooled_probe_learns_what_is_there(tiny: TinyModels) -> None:
    assert _fit(tiny).evaluate(ROWS)["accuracy"] > 0.9


def test_evaluate_keeps_the_ids_where_a_class_is_missing(tiny: TinyModels) -> None:
    model = _fit(tiny)
    only = [row for row in ROWS if row[1] == "pos"]
    right = sum(p.label == "pos" for p in model.predict([text for text, _ in only]))
    assert model.evaluate(only)["accuracy"] == pytest.approx(right / len(only))
    with pytest.raises(HftransferError, match="one of the model's"):
        model.evaluate([("a film", "meh")])


def test_evaluate_scores_the_test_split_of_data_with_splits(tiny: TinyModels) -> None:
    model = _fit(tiny)
    test = [(f"the film is {word}", "neg") for word in ("great", "dull", "awful")]
    splits = {"train": ROWS, "validation": ROWS[:4], "test": test}
    assert model.evaluate(splits) == model.evaluate(test)
    assert model.evaluate({"train": ROWS}) == model.evaluate(ROWS)


def test_a_split_under_two_names_is_told(tiny: TinyModels) -> None:
    with pytest.raises(HftransferError, match="the validation split in data must be given once; got val, dev"):
        _fit(tiny).evaluate({"train": ROWS, "val": ROWS, "dev": ROWS})


def test_questions_are_answered_from_the_context(tiny: TinyModels, tmp_path: Path) -> None:
    words = ("good", "great", "fine", "lovely")
    rows = [question(number, words[number % 4]) for number in range(20)]
    model = ht.fit(
        "question-answering",
        model=str(tiny("bert-spans")),
        train=rows,
        validation=rows[:4],
        strategy=ht.FineTune(learning_rate=3e-3),
        data={"stride_tokens": 8},
        progress=SILENT,
        epochs=3,
    )
    context = "the story was very lovely ."
    answer = model.predict(question="what was it ?", context=context)
    assert answer.answer == context[answer.start : answer.end]
    assert model.predict([{"question": "what was it ?", "context": context}]) == [answer]
    model.save(tmp_path / "out")
    again = load_model(tmp_path / "out").predict(question="what was it ?", context=context)
    assert again.score == pytest.approx(answer.score, abs=1e-5)
    asked = [{"question": one, "context": context} for one in ("what was it ?", "what " * 600, "what was it ?")]
    first, too_long, last = model.predict_each(asked)
    assert first == last == answer
    assert isinstance(too_long, HftransferError)
    assert set(model.evaluate(rows)) >= {"exact_match", "f1"}
    with pytest.raises(HftransferError, match="question and context"):
        model.predict([{"question": "?"}])


def test_unanswerable_questions_get_a_threshold(tiny: TinyModels, tmp_path: Path) -> None:
    rows = [question(number, "good") for number in range(12)]
    for row in rows[::3]:
        row["answers"] = {"text": [], "answer_start": []}
    data = {"train": rows, "validation": rows[:6], "test": rows[6:]}
    recipe = {
        "task": "question-answering",
        "model": str(tiny("bert-spans")),
        "data": {"source": "memory", "stride_tokens": 8},
        "strategy": "fine-tune",
        "train": {"epochs": 1},
    }
    result = run(recipe, data=data, out=tmp_path / "run", progress=SILENT)
    assert {"has_answer_f1", "no_answer_accuracy"} <= set(result.metrics["test"])
    assert load_model(result.folder).facts.null_threshold is not None


@pytest.mark.parametrize(("learned", "threshold"), [(4, 0.0), (0, None)])
def test_the_threshold_of_unanswerable_questions_is_never_tuned_on_the_test_split(
    tiny: TinyModels, tmp_path: Path, learned: int, threshold: float | None
) -> None:
    rows = [question(number, "good") for number in range(24)]
    for row in [*rows[:learned], *rows[18:21]]:
        row["answers"] = {"text": [], "answer_start": []}
    data = {"train": rows[:12], "validation": rows[12:18], "test": rows[18:]}
    recipe = {
        "task": "question-answering",
        "model": str(tiny("bert-spans")),
        "data": {"source": "memory", "stride_tokens": 8},
        "strategy": "fine-tune",
        "train": {"epochs": 1, "precision": "fp32"},
    }
    result = run(recipe, data=data, out=tmp_path / "run", progress=SILENT)
    model = load_model(result.folder)
    assert model.facts.null_threshold == threshold
    again = model.evaluate(data["test"])
    assert {name: again[name] for name in ("f1", "exact_match")} == pytest.approx(
        {name: result.metrics["test"][name] for name in ("f1", "exact_match")}
    )
    told = (result.folder / "log.txt").read_text()
    assert ("warning: training has questions without an answer and validation has none" in told) == bool(learned)


def test_compiling_without_a_compiler_is_refused_before_any_work(
    tiny: TinyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(HftransferError, match="must be false where there is no no-such-compiler; got true"):
        _fit(tiny, strategy=ht.FineTune(), compile=True)


@pytest.mark.parametrize("text", ["", "x" * 1_000_000, "a\u0000b", "a \ud800 b", "😀" * 50, "NA"])
def test_any_text_gets_a_prediction(tiny: TinyModels, text: str) -> None:
    (prediction,) = _fit(tiny).predict([text])
    assert 0 <= prediction.score <= 1


def test_padding_changes_nothing(tiny: TinyModels) -> None:
    model = _fit(tiny, strategy=ht.FineTune(), epochs=1)
    texts = ["good", "the film was a very very very great story of the actor and the film"]
    together = model.predict(texts)
    for text, prediction in zip(texts, together, strict=True):
        assert model.predict([text])[0].scores == pytest.approx(prediction.scores, abs=1e-5)


def test_cut_texts_are_counted(tiny: TinyModels, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    progress = Progress(None)
    progress.write_log(log)
    _fit(tiny, progress=progress, data={"max_tokens": 8}, train=[*ROWS, ("a film " * 30, "pos")])
    assert "1 of " in log.read_text()
    assert "longer than 8 tokens and were cut" in log.read_text()


def test_a_native_fine_tune_loads_in_plain_transformers(tiny: TinyModels, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = _fit(tiny, strategy=ht.FineTune(), epochs=1)
    model.save(tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    with torch.no_grad():
        logits = plain(**tokenizer(["the film was good"], return_tensors="pt")).logits
    wanted = dict(zip(plain.config.id2label.values(), logits.softmax(-1)[0].tolist(), strict=True))
    assert model.predict(["the film was good"])[0].scores == pytest.approx(wanted, abs=1e-5)


def test_merged_lora_is_a_native_model_that_predicts_the_same(
    tiny: TinyModels, text_data: Path, tmp_path: Path
) -> None:
    recipe = {
        "task": "text-classification",
        "model": str(tiny("bert")),
        "data": str(text_data),
        "strategy": {"kind": "lora", "merge": True},
        "train": {"epochs": 2},
    }
    result = run(recipe, out=tmp_path / "run", progress=SILENT)
    assert (result.folder / "model" / "adapter_model.safetensors").is_file()
    targets = json.loads((result.folder / "model" / "adapter_config.json").read_text())["target_modules"]
    assert targets == sorted(targets)
    assert len(targets) > 1
    lora, merged = load_model(result.folder), load_model(result.folder / "merged")
    for mine, theirs in zip(lora.predict(["a fine film"]), merged.predict(["a fine film"]), strict=True):
        assert mine.scores == pytest.approx(theirs.scores, abs=1e-5)


@pytest.mark.parametrize("strategy", ["linear-probe", "fine-tune", {"kind": "linear-probe", "pooling": "cls"}])
def test_the_code_on_the_page_of_a_text_model_runs(
    tiny: TinyModels, text_data: Path, tmp_path: Path, strategy: Any
) -> None:
    recipe = {
        "task": "text-classification",
        "model": str(tiny("bert")),
        "data": str(text_data),
        "strategy": strategy,
        "train": {"epochs": 1},
    }
    result = run(recipe, out=tmp_path / "run", progress=SILENT)
    page = (result.folder / "model" / "README.md").read_text()
    found: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.S):
        exec(block.replace("path/to/this/folder", str(result.folder / "model")), found)
    if "probabilities" in found:
        (mine,) = load_model(result.folder).predict(["what a film"])
        assert found["probabilities"][0].tolist() == pytest.approx(list(mine.scores.values()), abs=1e-5)


@pytest.mark.parametrize(
    ("task", "given", "words"),
    [
        ("text-classification", {"family": "vit"}, ("must be a text model", "(vit)", "bundled/minilm-l6")),
        ("image-classification", {"family": "bert"}, ("must be an image model", "(bert)")),
        ("text-classification", {"strategy": {"kind": "linear-probe", "pooling": "max"}}, ("strategy.pooling",)),
        ("text-classification", {"strategy": {"kind": "lora", "rank": 0}}, ("strategy.rank", "at least 1")),
        (
            "question-answering",
            {"strategy": {"kind": "lora", "pooling": "mean"}},
            ("strategy.pooling", "auto or native"),
        ),
        ("text-classification", {"augment": "light"}, ("train.augment must be none",)),
        ("text-classification", {"views": 2}, ("train.views",)),
        ("text-classification", {"train": []}, ("at least one row",)),
        ("text-clasification", {}, ("task", "Did you mean 'text-classification'?")),
    ],
)
def test_what_does_not_go_together_is_told(
    tiny: TinyModels, task: str, given: dict[str, Any], words: tuple[str, ...]
) -> None:
    rows: Any = ROWS if task != "image-classification" else [(picture(c), c) for c in ("red", "blue")] * 5
    given = {"train": rows, **given}
    family = given.pop("family", "bert")
    with pytest.raises(HftransferError) as error:
        ht.fit(task, model=str(tiny(family)), progress=SILENT, **given)
    assert missing_words(faults_of(error), words) == []


# --- what came of trying to break it ---------------------------------------------------------------------------------


def _questions(count: int, *, answered: bool = True) -> list[dict[str, Any]]:
    rows = [question(number, ("good", "great", "fine")[number % 3]) for number in range(count)]
    nothing: dict[str, Any] = {"text": [], "answer_start": []}
    return rows if answered else [{**row, "id": f"no {row['id']}", "answers": nothing} for row in rows]


def _answering(tiny: TinyModels, **given: Any) -> Any:
    usual: dict[str, Any] = {"model": str(tiny("bert")), "train": _questions(12), "strategy": "fine-tune", "epochs": 1}
    return ht.fit("question-answering", data={"stride_tokens": 8}, progress=SILENT, **usual | given)


def test_evaluate_and_predict_decode_questions_in_one_way(tiny: TinyModels) -> None:
    """A model that never saw a question without an answer answers all of them, whatever is asked beside them."""
    from hftransfer.metrics.spans import score_spans

    model = _answering(tiny, epochs=2)
    rows = [*_questions(6), *_questions(6, answered=False)]
    answers = model.predict([{"question": row["question"], "context": row["context"]} for row in rows])
    wanted = score_spans([answer.answer for answer in answers], [row["answers"]["text"] for row in rows])
    assert model.evaluate(rows)["exact_match"] == pytest.approx(wanted["exact_match"])
    assert model.evaluate(rows)["f1"] == pytest.approx(wanted["f1"])


def test_questions_may_be_asked_in_lists_and_wrong_ones_are_told(tiny: TinyModels) -> None:
    model = _answering(tiny, epochs=1)
    row = _questions(1)[0]
    asked = model.predict(question=[row["question"]] * 2, context=row["context"])
    assert [answer.answer for answer in asked] == [
        model.predict(**{k: row[k] for k in ("question", "context")}).answer
    ] * 2
    for given in ({}, {"question": "who?"}, {"inputs": "who?"}, {"question": ["a", "b"], "context": ["c"]}):
        with pytest.raises(HftransferError) as error:
            model.predict(**given)
        assert len(error.value.faults) == 1
    with pytest.raises(HftransferError, match="the inputs must be texts; got none"):
        _fit(tiny).predict()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ht.LoRA(rank=0), ("LoRA(rank=…) must be greater than or equal to 1; got 0",)),
        (lambda: ht.FineTune(unfreeze=0), ("FineTune(unfreeze=…)", "'all' or", "got 0")),
        (lambda: ht.LinearProbe(pooling="max"), ("LinearProbe(pooling=…)", "'mean'", "got 'max'")),
        (lambda: ht.LoRA(rnk=3, alpha=-1), ("LoRA(rnk=…) must be a setting", "Did you mean 'rank'?", "LoRA(alpha=…)")),  # type: ignore[call-arg]
    ],
)
def test_faults_of_a_strategy_made_in_python_are_told(make: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(HftransferError) as error:
        make()
    assert missing_words(faults_of(error), words) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"strategy": {"kind": "lora", "targets": []}},
            ("strategy.targets must be auto or names of layers",),
        ),
        ({"strategy": ht.FineTune(unfreeze=["bert.embeddings.dropout"])}, ("names of modules with parameters",)),
        ({"validation": []}, ("the validation rows must be at least one row; got none",)),
        (
            {"cache": "on", "augment": "light", "strategy": "fine-tune"},
            ("train.augment must be none", "train.cache must be auto or off"),
        ),
        (
            {"data": {"size": 64, "decode": "draft", "coverage": 0.8}},
            (
                "data.size must be left out for task text-classification; got 64. It is of image-segmentation.",
                "data.decode must be left out for task text-classification",
                "data.coverage must be left out for task text-classification; got 0.8. It is of text-regression, ",
            ),
        ),
        ({"metric": "f1"}, ("train.metric must be a metric of task text-classification",)),
    ],
)
def test_what_has_no_effect_is_told(tiny: TinyModels, given: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(HftransferError) as error:
        _fit(tiny, **given)
    assert missing_words(faults_of(error), words) == []


def test_a_dataset_dict_gives_the_splits(tiny: TinyModels) -> None:
    import datasets

    part = datasets.Dataset.from_list([{"text": text, "label": label} for text, label in ROWS])
    model = _fit(tiny, train=datasets.DatasetDict({"train": part, "test": part}), strategy=ht.LinearProbe)
    assert model.metrics["examples"]["test"] == len(ROWS)


def test_pairs_and_single_texts_are_not_mixed_up(tiny: TinyModels, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from hftransfer.cli import app

    pairs = [((text, "a film"), label) for text, label in ROWS]
    model = _fit(tiny, train=pairs)
    with pytest.raises(HftransferError, match="the rows must be pairs of texts, as in training; got one text in "):
        model.evaluate(ROWS)
    with pytest.raises(HftransferError, match="the rows must be single texts, as in training; got two texts in "):
        _fit(tiny).evaluate(pairs)
    with pytest.raises(
        HftransferError, match=r"text 0 must be a pair of texts, as in training \(a tuple; .*--pair\); got one text"
    ):
        model.predict(["good"])
    with pytest.raises(HftransferError, match="text 0 must be one text, as in training; got a pair"):
        _fit(tiny).predict([("good", "film")])
    model.save(tmp_path / "out")
    page = (tmp_path / "out" / "README.md").read_text()
    assert missing_words(page, ('predict([("a text", "another")])', 'tokenizer(["a text"], ["another"]')) == []
    outcome = CliRunner().invoke(app, ["predict", str(tmp_path / "out"), "good", "--pair", "a film", "--json"])
    assert outcome.exit_code == 0, outcome.output


def test_inputs_come_in_any_form(tiny: TinyModels) -> None:
    import numpy as np
    import pandas as pd

    model, texts = _fit(tiny), ["good", "bad"]
    wanted = [prediction.label for prediction in model.predict(texts)]
    for given in (pd.Series(texts), np.array(texts), (text for text in texts), pd.DataFrame({"t": texts})["t"]):
        assert [prediction.label for prediction in model.predict(given)] == wanted


def test_a_saved_model_has_its_page_and_the_merged_one(tiny: TinyModels, tmp_path: Path) -> None:
    model = _fit(tiny, strategy=ht.LoRA(merge=True), epochs=1)
    model.save(tmp_path / "out")
    assert "the folder `merged`" in (tmp_path / "out" / "README.md").read_text()
    merged = load_model(tmp_path / "out" / "merged").predict(["a fine film"])[0].scores
    assert merged == pytest.approx(model.predict(["a fine film"])[0].scores, abs=1e-5)
    load_model(tmp_path / "out").save(tmp_path / "again")
    assert (tmp_path / "again" / "README.md").read_text() == (tmp_path / "out" / "README.md").read_text()


def test_an_adapter_finds_its_base_from_elsewhere_and_where_it_was_moved(
    tiny: TinyModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    (tmp_path / "here" / "models").mkdir(parents=True)
    (tmp_path / "there").mkdir()
    shutil.copytree(tiny("bert"), tmp_path / "here" / "models" / "mine")
    monkeypatch.chdir(tmp_path / "here")
    model = ht.fit("text-classification", model="models/mine", train=ROWS, strategy="lora", progress=SILENT, epochs=1)
    model.save("out")
    wanted = model.predict(["good"])[0].scores
    for file in (tmp_path / "here" / "out").iterdir():
        assert str(tmp_path).encode() not in file.read_bytes(), file.name
    monkeypatch.chdir(tmp_path / "there")
    assert load_model("../here/out").predict(["good"])[0].scores == pytest.approx(wanted, abs=1e-6)
    (tmp_path / "here" / "models" / "mine").rename(tmp_path / "moved")
    with pytest.raises(HftransferError, match=r"the base model of the adapter .* none there\. Say where it is now"):
        load_model("../here/out")
    moved = load_model("../here/out", base=tmp_path / "moved")
    assert moved.predict(["good"])[0].scores == pytest.approx(wanted, abs=1e-6)


def test_a_backbone_alone_is_no_trained_model(tiny: TinyModels) -> None:
    with pytest.raises(HftransferError, match="must be a model with a head for a task; got BertModel"):
        load_model(tiny("bert"))


def test_a_length_beyond_the_models_is_told(tiny: TinyModels, tmp_path: Path) -> None:
    progress = Progress(None)
    progress.write_log(tmp_path / "log.txt")
    _fit(tiny, progress=progress, data={"max_tokens": 1000})
    assert "data.max_tokens is 1,000, but the model takes at most 512" in (tmp_path / "log.txt").read_text()


def test_an_adapter_as_the_model_is_told(tiny: TinyModels, tmp_path: Path) -> None:
    _fit(tiny, strategy="lora", epochs=1).save(tmp_path / "out")
    with pytest.raises(HftransferError, match="It contains a LoRA adapter: give its base model"):
        _fit(tiny, model=str(tmp_path / "out"))


def test_dora_works_on_convolutions(tiny: TinyModels) -> None:
    rows = [(picture(color, number), color) for color in ("red", "blue") for number in range(6)]
    model = ht.fit(
        "image-classification",
        model=str(tiny("resnet")),
        train=rows,
        strategy=ht.LoRA(dora=True),
        progress=SILENT,
        epochs=1,
    )
    assert 0 <= model.predict([picture("red", 9)])[0].score <= 1


def test_a_causal_llama_answers_questions(tiny: TinyModels, tmp_path: Path) -> None:
    import transformers

    causal = transformers.LlamaForCausalLM(transformers.AutoConfig.from_pretrained(tiny("llama")))
    causal.model = transformers.AutoModel.from_pretrained(tiny("llama"))
    causal.save_pretrained(tmp_path / "causal")
    transformers.AutoTokenizer.from_pretrained(tiny("llama")).save_pretrained(tmp_path / "causal")
    model = _answering(tiny, model=str(tmp_path / "causal"), strategy=ht.FineTune(unfreeze=1))
    assert model.predict(question="who?", context="the actor").end <= 9


@pytest.mark.parametrize("strategy", ["linear-probe", ht.FineTune(unfreeze=1)])
def test_classes_that_count_more_are_given_more_often(tiny: TinyModels, strategy: Any) -> None:
    rows = [(f"the film was {word}", "pos" if place % 2 else "neg") for place in range(40) for word in ("fine", "poor")]

    def share(weights: Any) -> float:
        told = _fit(tiny, train=rows, strategy=strategy, class_weights=weights, epochs=2, calibrate=False)
        return float(told.predict(["the film was fine"])[0].scores["pos"])

    assert share({"pos": 8}) > 0.75 > share("none") > 0.25 > share({"neg": 8, "pos": 1})


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"pas": 2}, ["train.class_weights", "weights of the classes neg, pos", "'pas'", "Did you mean 'pos'?"]),
        ({"pos": 0}, ["train.class_weights", "positive numbers by the names of classes", "pos: 0"]),
        ({"pos": "much"}, ["train.class_weights", "positive numbers", "pos: much"]),
        ({}, ["train.class_weights", "positive numbers", "none"]),
    ],
)
def test_weights_of_no_class_are_told(tiny: TinyModels, weights: Any, words: list[str]) -> None:
    with pytest.raises(HftransferError) as error:
        _fit(tiny, class_weights=weights)
    assert missing_words(faults_of(error), words) == []
