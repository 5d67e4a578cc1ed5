"""Token classification from rows to predictions: windows, loss, the native pipeline, and every command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import hftransfer as ht
from hftransfer.adapters.texts import TextAdapter
from hftransfer.attribution.explanation import EntitiesExplanation
from hftransfer.base.errors import DataError, RecipeError
from hftransfer.base.progress import Progress
from hftransfer.cli import app
from hftransfer.data.settings import DataSettings
from hftransfer.data.sources import rows_from_python
from hftransfer.data.splits import Split, Splits
from hftransfer.data.tokens import TAGGED_TEXTS, WordsContent, joined
from hftransfer.tasks import head_task
from hftransfer.tasks.contract import Examples
from hftransfer.tasks.outcomes import Entities
from hftransfer.tasks.token_classification import WordScores
from hftransfer.tasks.words import WordWindow, word_windows
from tests.builders import NO_PICTURES, load_model, missing_words

TASK = head_task("token-classification")
NAMES = ("Ann Lee", "Ben", "Cem Kaya", "Dora")
PLACES = ("Ghent", "San Rio", "Lyon")
SILENT = Progress(None)


def _texts(count: int) -> list[tuple[str, list[tuple[int, int, str]]]]:
    rows = []
    for number in range(count):
        name, place = NAMES[number % 4], PLACES[number % 3]
        text = f"{('So ', '')[number // 4 % 2]}{name} left {place} on day {number}."
        start, end = text.index(name), text.index(place)
        rows.append((text, [(start, start + len(name), "PER"), (end, end + len(place), "LOC")]))
    return rows


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT whose tokenizer makes pieces of words, as WordPiece does."""
    import transformers as tf
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    folder = tmp_path_factory.mktemp("pieces")
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    whole = ["left", "on", "day", "so", "ann", "lee", "be", "gh", "san", *".,'-"]
    names = [*special, *letters, *(f"##{letter}" for letter in letters), *whole]
    tokenizer = Tokenizer(models.WordPiece({name: place for place, name in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    kinds = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    tf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **kinds).save_pretrained(folder)
    size: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(7)
    config = tf.BertConfig(**size, intermediate_size=64, vocab_size=len(names), initializer_range=0.2)
    tf.BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three splits of texts with spans."""
    folder = tmp_path_factory.mktemp("notes")
    for name, count in (("train", 48), ("validation", 12), ("test", 12)):
        records = [{"text": text, "entities": spans} for text, spans in _texts(count)]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, records)))
    return folder


@pytest.fixture(scope="module")
def run(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of a linear probe."""
    out = tmp_path_factory.mktemp("runs") / "probe"
    ht.run({**_recipe(model, data), "output": {}}, out=out, progress=SILENT)
    return out


def _recipe(model: Path, data: object, **strategy: Any) -> dict[str, Any]:
    chosen = strategy or {"kind": "linear-probe"}
    return {
        "task": "token-classification",
        "model": str(model),
        "data": str(data),
        "strategy": chosen,
        "train": {"precision": "fp32"},
        "output": NO_PICTURES,
    }


@pytest.fixture(scope="module")
def adapter(model: Path) -> TextAdapter:
    from hftransfer.adapters.checkpoint import find_checkpoint
    from hftransfer.adapters.loading import load_adapter

    checkpoint = find_checkpoint(str(model))
    assert checkpoint is not None
    return cast(TextAdapter, load_adapter(checkpoint, ("O", "B-PER", "I-PER"), head=TASK.head))


def _examples(adapter: TextAdapter, rows: list[Any], **settings: Any) -> Examples:
    found = rows_from_python(rows, DataSettings(source="memory"), TAGGED_TEXTS)["all"]
    names = ("O", "B-PER", "I-PER")
    split = Split(found, TASK.targets.encode(found, names), [b""] * len(found))
    return TASK.examples(adapter, split, DataSettings(source="memory", **settings))


def _windows(examples: Examples) -> list[WordWindow]:
    return [cast(WordWindow, window) for window in examples.windows or ()]


# --- windows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("most", "stride"), [(64, 20), (12, 3), (9, 6), (8, 1)])
def test_each_word_is_judged_once_by_its_first_piece(adapter: TextAdapter, most: int, stride: int) -> None:
    words = ["ann", "leeward", "left", "sandy", "ghent", "on", "x", "unbelievable", "day", "so"] * 2
    texts = [joined(words), joined(["so"])]
    cut = word_windows(adapter, texts, most, stride)
    judged = [(window.question, word) for window in cut.windows for word in window.words]
    assert sorted(judged) == [(0, place) for place in range(len(words))] + [(1, 0)]
    for window in cut.windows:
        assert len(window.tokens["input_ids"]) <= most
        assert (window.tokens["input_ids"][0], window.tokens["input_ids"][-1]) == (1, 2)
        for word, piece in zip(window.words, window.pieces, strict=True):
            start = texts[window.question].words[word][0]  # type: ignore[index]
            assert cast(Any, window.offsets[piece])[0] == start


def test_a_word_is_judged_where_most_stands_around_it(adapter: TextAdapter) -> None:
    text = joined(["day"] * 40)
    found: dict[int, int] = {}
    for window in word_windows(adapter, [text], 12, 4).windows:
        for word, piece in zip(window.words, window.pieces, strict=True):
            found[word] = min(piece - 1, 10 - piece)  # tokens of the text on the nearer side
    assert sorted(found) == list(range(40))
    assert min(found[word] for word in range(2, 38)) >= 1


def test_a_stride_as_large_as_the_window_is_told(adapter: TextAdapter) -> None:
    with pytest.raises(DataError, match=r"data.stride_tokens must be .* smaller than the 6 tokens"):
        word_windows(adapter, [joined(["a"])], 8, 6)


def test_texts_without_words_have_a_window(adapter: TextAdapter) -> None:
    cut = word_windows(adapter, [WordsContent("", None), WordsContent("\u200b", ((0, 1),))], 64, 20)
    assert [window.words for window in cut.windows] == [(), ()]


# --- loss ------------------------------------------------------------------------------------------------------------

ROWS = [(["ann", "leeward", "left"], ["B-PER", "I-PER", "O"]), (["so", "left"], ["O", "O"])]


def test_the_loss_is_that_of_first_pieces_alone(adapter: TextAdapter) -> None:
    examples = _examples(adapter, ROWS)
    own = TASK.loss(examples, 3, torch.device("cpu"), label_smoothing=0.1, class_weights=False)
    logits = torch.randn(2, 16, 3, generator=torch.Generator().manual_seed(0))
    wanted = torch.full((2, 16), -100)
    for item, (window, tags) in enumerate(zip(_windows(examples), ([1, 2, 0], [0, 0]), strict=True)):
        wanted[item, list(window.pieces)] = torch.tensor(tags)
    mean = torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), label_smoothing=0.1)
    assert own.weights.tolist() == [3, 2]
    assert float(own.total(logits, [0, 1]) / own.weight([0, 1])) == pytest.approx(float(mean), rel=1e-6)
    parts = own.total(logits[1:], [1]) + own.total(logits[:1], [0])
    assert float(parts) == pytest.approx(float(own.total(logits, [0, 1])), rel=1e-6)


def test_class_weights_count_rare_tags_more(adapter: TextAdapter) -> None:
    examples = _examples(adapter, ROWS)
    own = TASK.loss(examples, 3, torch.device("cpu"), label_smoothing=0.0, class_weights=True)
    by_class = np.array([5 / 9, 5 / 3, 5 / 3])
    assert own.weights == pytest.approx([by_class[[1, 2, 0]].sum(), by_class[[0, 0]].sum()])


def test_predictions_of_windows_come_together_by_word(adapter: TextAdapter) -> None:
    examples = _examples(adapter, [(["day"] * 20, ["B-PER", "I-PER", *["O"] * 18])], max_tokens=12, stride_tokens=4)
    gold = [1, 2, *[0] * 18]
    outcomes = [
        WordScores(np.array([gold[word] for word in window.words]), np.full(len(window.words), 0.5))
        for window in _windows(examples)
    ]
    assert len(outcomes) > 1
    judged = TASK.judge(outcomes, examples, ("O", "B-PER", "I-PER"))
    assert (judged.metrics["f1"], judged.metrics["token_accuracy"]) == (1.0, 1.0)
    assert judged.columns["prediction"] == [["B-PER", "I-PER", *["O"] * 18]]
    assert judged.columns["tokens"] == [["day"] * 20]
    (said,) = TASK.said(outcomes, examples, ("O", "B-PER", "I-PER"))
    assert [(one.label, one.start, one.end, one.text) for one in said.entities] == [("PER", 0, 7, "day day")]


def test_mistakes_are_marked_in_their_texts(adapter: TextAdapter) -> None:
    examples = _examples(adapter, ROWS)
    wrong = [WordScores(np.array([0, 0, 1]), np.ones(3)), WordScores(np.array([0, 0]), np.ones(2))]
    judged = TASK.judge(wrong, examples, ("O", "B-PER", "I-PER"))
    marks = judged.groups[0].examples[0].marks
    assert [(mark.start, mark.end, mark.label, mark.is_right) for mark in marks] == [
        (12, 16, "PER, is none", False),
        (0, 11, "PER was missed", False),
    ]
    assert TASK.of_each(judged.columns) == [0.0, 1.0]


# --- predictions -----------------------------------------------------------------------------------------------------

TRICKY = [
    "So Ann Lee left San Rio on day 7.",
    "Ben's café, Ghent-Lyon (e.g. Cem  Kaya)\tand Dora.",
    "Zoë's naïve 🙂 Ann\u2003Lee’s day",
    "ANN LEE",
    "...",
]


@pytest.mark.parametrize("kind", ["linear-probe", "fine-tune"])
def test_the_native_pipeline_finds_the_same(kind: str, run: Path, model: Path, data: Path, tmp_path: Path) -> None:
    from transformers import pipeline

    folder = run
    if kind == "fine-tune":
        folder = tmp_path / "run"
        recipe = _recipe(model, data, kind="fine-tune", unfreeze="all")
        recipe["train"]["epochs"] = 2
        ht.run(recipe, out=folder, progress=SILENT)
    found = cast(list[Entities], load_model(folder).predict(TRICKY))
    native = pipeline("token-classification", model=str(folder / "model"), aggregation_strategy="first")
    for text, own in zip(TRICKY, found, strict=True):
        theirs = native(text)
        assert [(e.label, e.start, e.end) for e in own.entities] == [
            (e["entity_group"], e["start"], e["end"]) for e in theirs
        ]
        assert [e.score for e in own.entities] == pytest.approx([e["score"] for e in theirs], abs=1e-4)
        assert all(text[e.start : e.end] == e.text for e in own.entities)


def test_predictions_take_texts_and_words(run: Path) -> None:
    model = load_model(run)
    one = cast(Entities, model.predict("Ann Lee left Ghent on day 3."))
    assert [(e.label, e.text) for e in one.entities] == [("PER", "Ann Lee"), ("LOC", "Ghent")]
    found = cast(list[Entities], model.predict(cast(Any, [["Ann", "Lee", "left", "Ghent"], ""])))
    assert [(e.label, e.start, e.end) for e in found[0].entities] == [("PER", 0, 7), ("LOC", 13, 18)]
    assert found[1] == Entities(())
    long = " ".join(["Ann Lee left Ghent on day 3."] * 30)
    whole = cast(Entities, model.predict(long))
    assert whole.entities[-1].start > 700  # far behind the first window
    assert all(long[one.start : one.end] == one.text for one in whole.entities)
    with pytest.raises(DataError, match="a text, or a list of its words"):
        model.predict(cast(Any, [3]))
    with pytest.raises(DataError, match="the inputs must be sentences"):
        model.predict(question="Who?", context="Ann")


def test_plain_tags_are_told_word_by_word(model: Path) -> None:
    rows = [(["so", "ann", "left"], ["ADV", "NOUN", "VERB"]), (["ben", "left", "san"], ["NOUN", "VERB", "NOUN"])] * 8
    fitted = ht.fit("token-classification", model=str(model), train=rows)
    assert fitted.class_names == ("ADV", "NOUN", "VERB")
    (found,) = cast(list[Entities], fitted.predict(["ann ben left"]))
    assert [e.text for e in found.entities] == ["ann", "ben", "left"]
    assert fitted.evaluate(rows)["macro_f1"] == pytest.approx(1.0)


# --- every command ---------------------------------------------------------------------------------------------------


def _invoke(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_run_is_whole(run: Path, data: Path, tmp_path: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test"]["f1"] == 1.0
    assert set(metrics["test"]["per_class"]) == {"PER", "LOC"}
    page = (run / "report.html").read_text()
    assert missing_words(page, ("sentences tagged by", "Most entities, all right", "[PER]", "Types of entities")) == []
    card = (run / "model" / "README.md").read_text()
    assert missing_words(card, ("pipeline_tag: token-classification", 'aggregation_strategy="first"', "B-LOC")) == []
    assert "reads the first" not in card
    told = json.loads(_invoke("predict", run, "Ben left Lyon on day 1.", "--json", "--quiet"))
    assert [(e["label"], e["start"], e["end"]) for e in told["predictions"][0]["entities"]] == [
        ("PER", 0, 3),
        ("LOC", 9, 13),
    ]
    assert "Ben (PER " in _invoke("predict", run, data / "test.jsonl", "--quiet")
    assert "1.0000" in _invoke("eval", run, "--quiet")
    conll = tmp_path / "other.conll"
    conll.write_text("Ann S-PER\nleft O\nSan B-LOC\nRio E-LOC\n")
    assert "F1" in _invoke("eval", run, "--data", conll, "--quiet")
    assert "Ann left San Rio  Ann (PER " in _invoke("predict", run, conll, "--quiet")
    prose = tmp_path / "letter.txt"  # a column file where rows are learned, and one text where texts are predicted
    prose.write_text("Ann left San Rio\nBen left Lyon on day 1.\n")
    told = json.loads(_invoke("predict", run, prose, "--json", "--quiet"))["predictions"]
    assert len(told) == 1
    assert {"San Rio", "Lyon"} <= {entity["text"] for entity in told[0]["entities"]}


def test_an_explanation_weighs_words_for_each_entity(run: Path, tmp_path: Path) -> None:
    """Completeness, of each tag's logit; words of a list and of a text alike."""
    text = "Ann Lee left Ghent on day 3."
    (found,) = cast(list[EntitiesExplanation], ht.explain(run, [text]))
    assert [(one.entity.text, one.entity.label) for one in found.entities] == [("Ann Lee", "PER"), ("Ghent", "LOC")]
    for one in found.entities:
        assert one.attributed is not None
        assert one.attributed.total == pytest.approx(one.attributed.difference, rel=0.05, abs=0.05)
    place = found.entities[1].attributed
    assert place is not None
    both = [_place_above_others(run, text, empty=empty) for empty in (False, True)]
    assert place.difference == pytest.approx(both[0] - both[1], abs=1e-3)
    words = ht.explain(run, [text.replace(".", " .").split()], label="LOC")
    assert "'Ghent' LOC" in words[0].line("it")
    assert "PER" not in words[0].line("it")
    with pytest.raises(RecipeError, match="one of the model's types; got 'ORG'"):
        ht.explain(run, [text], label="ORG")
    told = _invoke("explain", run, text, "it is raining", "--out", tmp_path / "why", "--quiet")
    assert "'Ann Lee' PER" in told
    page = (tmp_path / "why" / "explanations.html").read_text()
    assert missing_words(page, ("Ann Lee · PER:", "Ghent · LOC:")) == []
    far = " ".join(["it rained on day 3."] * 30 + [text])
    (behind,) = cast(list[EntitiesExplanation], ht.explain(run, [far], label="LOC"))
    assert behind.entities[-1].attributed is None
    assert "no word was read" in behind.line("it")


def _place_above_others(run: Path, text: str, *, empty: bool) -> float:
    """Return the native model's logit of B-LOC at the fifth token, less the mean of the others; `empty`: of a text
    whose words are padding, to which nothing is masked."""
    import transformers as tf

    native = tf.AutoModelForTokenClassification.from_pretrained(run / "model")
    tokenizer = tf.AutoTokenizer.from_pretrained(run / "model")
    inputs = tokenizer(text, return_tensors="pt")
    if empty:
        inputs["input_ids"][0, 1:-1] = tokenizer.pad_token_id
    with torch.no_grad():
        logits = native(**inputs).logits[0, 4]  # [CLS] ann lee left ghent
    own = logits[native.config.label2id["B-LOC"]]
    return float(own - (logits.sum() - own) / (len(logits) - 1))


def test_it_is_checked_drafted_audited_and_compared(model: Path, data: Path, tmp_path: Path) -> None:
    from hftransfer.study.study import compare

    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(_recipe(model, data)))
    told = _invoke("check", recipe)
    assert missing_words(told, ("B-PER", "tags are IOB2", "LOC 48 / 12 / 12, PER 48 / 12 / 12")) == []
    _invoke("init", "--data", data, "--out", tmp_path / "draft.yaml")
    assert "task: token-classification" in (tmp_path / "draft.yaml").read_text()
    rows: list[Any] = _texts(96)
    for place in (7, 30, 61):  # a place and a name change their types
        (a, b, one), (c, d, other) = rows[place][1]
        rows[place] = rows[place][0], [(a, b, other), (c, d, one)]
    audit = ht.audit(_recipe(model, "memory"), data=rows, progress=SILENT)
    wrong = {one.id: one for one in audit.of("label")}
    assert set(wrong) >= {"row[7]", "row[30]", "row[61]"}
    assert missing_words(wrong["row[7]"].reason, ("is tagged B-LOC", "a probe trained without it predicts B-PER")) == []
    study = compare(
        _recipe(model, data),
        strategies=["linear-probe", "lora"],
        seeds=[0],
        out=tmp_path / "study",
        progress=SILENT,
    )
    assert len(study.arms) == 2


def test_the_graph_of_onnx_gives_the_same(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    _invoke("export", run, "--out", tmp_path / "graph", "--format", "onnx", "--quiet")
    said = json.loads((tmp_path / "graph" / "onnx.json").read_text())
    assert said["task"] == "token-classification"
    assert said["labels"] == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]


def test_it_is_served(run: Path) -> None:
    pytest.importorskip("fastapi")
    from fastapi.testclient import TestClient

    from hftransfer.predictors.server import HOST, make_app

    client = TestClient(make_app(load_model(run), "notes"), base_url=f"http://{HOST}")
    answer = client.post("/predict", json={"text": "Ann Lee left Ghent on day 3."})
    assert answer.status_code == 200, answer.text
    assert [one["text"] for one in answer.json()["entities"]] == ["Ann Lee", "Ghent"]


def test_lora_is_loaded_again(model: Path, tmp_path: Path) -> None:
    rows = _texts(24)
    fitted = ht.fit("token-classification", model=str(model), train=rows, strategy=ht.LoRA(rank=2), epochs=1)
    saved = fitted.save(tmp_path / "saved")
    assert load_model(saved).predict(TRICKY) == fitted.predict(TRICKY)


def test_a_limit_on_the_features_streams_the_solver(
    model: Path, data: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hftransfer.training import probe, solver

    monkeypatch.setattr(solver, "_ROWS_AT_ONCE", 50)
    monkeypatch.setattr(solver, "_IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(probe, "_PILOT_TOKENS", 100)
    ht.run(_recipe(model, data), out=tmp_path / "streamed", progress=SILENT)
    before, after = (json.loads((one / "metrics.json").read_text()) for one in (run, tmp_path / "streamed"))
    assert after["test"]["f1"] == pytest.approx(before["test"]["f1"], abs=0.05)


def test_counts_and_splits_are_those_of_rows() -> None:
    found = rows_from_python(_texts(40), DataSettings(source="memory"), TAGGED_TEXTS)
    splits: Splits = TASK.split(found, DataSettings(source="memory"), 0, SILENT)
    assert splits.class_names == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert replace(splits).fingerprint() == splits.fingerprint()
