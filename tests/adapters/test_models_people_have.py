"""Models as people have them: heads of several labels, of one output and of numbers; names that count from 1; no
tokenizer; adapters of plain peft; folders of sentence-transformers; gated repositories."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from typer.testing import CliRunner

import hftransfer as ht
from hftransfer.adapters.checkpoint import find_checkpoint
from hftransfer.adapters.libraries import quiet_peft, quiet_transformers
from hftransfer.base.cache import cache_folder
from hftransfer.base.errors import DataError, ModelError, RecipeError
from hftransfer.base.progress import Progress
from hftransfer.cli import app
from hftransfer.data.rows import AbsentContent, Row
from hftransfer.predictors.embedding import load_embedder
from hftransfer.tasks.label_map import relabelled
from tests.builders import Finished, TinyModels, faults_of, load_model, missing_words, picture, tiny_tokenizer
from tests.hub.hub_double import serve

TEXTS = ["a lovely film", "an awful story was very dull", "what"]
NAMES = {0: "toxic", 1: "obscene", 2: "insult"}
SaveText = Callable[..., Path]


@pytest.fixture
def save_text(tmp_path: Path) -> SaveText:
    """Writes a tiny text classifier whose head says a lot, with what its configuration says besides."""
    import transformers as tf

    def save(name: str = "model", *, tokenizer: bool = True, vocab_size: int = 64, **more: Any) -> Path:
        torch.manual_seed(0)
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        with quiet_transformers():
            model = tf.BertForSequenceClassification(tf.BertConfig(**sizes, vocab_size=vocab_size, **more))
            model.classifier.weight.data.normal_(0, 2)
            model.save_pretrained(tmp_path / name)
            if tokenizer:
                tiny_tokenizer().save_pretrained(tmp_path / name)
        return tmp_path / name

    return save


@pytest.fixture
def save_image(tmp_path: Path, tiny: TinyModels) -> SaveText:
    """Writes a tiny ViT with what its configuration says besides."""

    def save(name: str = "vit", **more: Any) -> Path:
        folder = shutil.copytree(tiny("vit"), tmp_path / name)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **more}))
        return folder

    return save


def _plain(task: Any, folder: Path, given: Any) -> dict[str, float]:
    """All scores, as the plain pipeline of transformers gives them."""
    from transformers import pipeline

    with quiet_transformers():
        found = pipeline(task, model=str(folder), top_k=None)(given)
    found = found[0] if isinstance(found[0], list) else found
    return {one["label"]: one["score"] for one in found}


def _invoke(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


# --- what logits become ----------------------------------------------------------------------------------------------

HEADS = (
    {"id2label": NAMES, "problem_type": "multi_label_classification"},
    {"id2label": NAMES, "problem_type": "single_label_classification"},
    {"id2label": NAMES},
    {"id2label": NAMES, "problem_type": "regression"},
    {"num_labels": 1},
    {"num_labels": 1, "problem_type": "regression"},
    {"num_labels": 1, "problem_type": "multi_label_classification"},
)


@pytest.mark.parametrize("head", HEADS, ids=str)
def test_scores_of_texts_are_those_of_the_plain_pipeline(save_text: SaveText, head: dict[str, Any]) -> None:
    folder = save_text(**head)
    for text, found in zip(TEXTS, load_model(folder).predict(TEXTS), strict=True):
        wanted = _plain("text-classification", folder, text)
        assert found.scores == pytest.approx(wanted, abs=1e-5)
        assert found.label == max(wanted, key=lambda name: wanted[name])
        assert found.score == max(found.scores.values())


@pytest.mark.parametrize("kind", ["multi_label_classification", "regression", "single_label_classification"])
def test_scores_of_images_are_those_of_the_plain_pipeline(save_image: SaveText, kind: str) -> None:
    folder = save_image(problem_type=kind)
    image = picture("blue", 3)
    found = load_model(folder).predict(image)
    assert found.scores == pytest.approx(_plain("image-classification", folder, image), abs=1e-4)


def test_of_several_labels_the_best_stands_first_and_lines_tell_all_that_hold(save_text: SaveText) -> None:
    folder = save_text(id2label=NAMES, problem_type="multi_label_classification")
    found = load_model(folder).predict(TEXTS[0])
    assert list(found.scores) == sorted(NAMES.values(), key=lambda name: -found.scores[name])
    line = _invoke("predict", str(folder), TEXTS[0], "--quiet").stdout
    assert [name for name in NAMES.values() if f"{name}" in line.replace(TEXTS[0], "")] == [
        name for name in NAMES.values() if found.scores[name] >= 0.5 or name == found.label
    ]


def test_columns_of_scores_follow_the_model(save_text: SaveText, tmp_path: Path) -> None:
    folder = save_text(id2label=NAMES, problem_type="multi_label_classification")
    _invoke("predict", str(folder), *TEXTS, "--quiet", "--csv", str(tmp_path / "out.csv"))
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text(), newline="")))
    assert [name for name in rows[0] if name.startswith("score_")] == [f"score_{name}" for name in NAMES.values()]
    scores = [found.scores for found in load_model(folder).predict(TEXTS)]
    for row, own in zip(rows, scores, strict=True):
        assert {name: float(row[f"score_{name}"]) for name in own} == pytest.approx(own)


def test_explanations_tell_the_same_scores(save_text: SaveText, save_image: SaveText) -> None:
    texts = save_text(id2label=NAMES, problem_type="multi_label_classification")
    model = load_model(texts)
    why: Any = ht.explain(model, TEXTS[:1])[0]
    assert why.score == pytest.approx(model.predict(TEXTS[0]).score)
    images = load_model(save_image(problem_type="multi_label_classification"))
    found: Any = ht.explain(images, [picture()], method="occlusion", truth=True)[0]
    assert found.score == pytest.approx(images.predict(picture()).score, abs=1e-5)


@pytest.mark.slow
def test_a_graph_says_what_becomes_of_its_logits(save_text: SaveText, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    folder, out = save_text(id2label=NAMES, problem_type="multi_label_classification"), tmp_path / "onnx"
    assert _invoke("export", str(folder), "--out", str(out), "--quiet").exit_code == 0
    said = json.loads((out / "onnx.json").read_text())
    assert said["scores"] == "sigmoid"
    tokens = tiny_tokenizer()([TEXTS[0]], return_tensors="np")
    session = onnxruntime.InferenceSession(str(out / "model.onnx"), providers=["CPUExecutionProvider"])
    logits = session.run(["logits"], {name: tokens[name] for name in said["inputs"]})[0][0]
    scores = dict(zip(said["labels"], (1 / (1 + np.exp(-logits))).tolist(), strict=True))
    assert load_model(folder).predict(TEXTS[0]).scores == pytest.approx(scores, abs=1e-5)


def test_what_a_regression_gives_is_no_percentage(save_text: SaveText) -> None:
    folder = save_text(num_labels=1, problem_type="regression")
    line = _invoke("predict", str(folder), TEXTS[0], "--quiet").stdout
    assert "%" not in line
    assert float(line.split()[0]) == pytest.approx(load_model(folder).predict(TEXTS[0]).score, abs=1e-4)


def test_what_gives_several_labels_is_judged_as_such(save_text: SaveText) -> None:
    model = load_model(save_text(**HEADS[0]))
    found = model.evaluate([(TEXTS[0], "toxic"), (TEXTS[1], ["toxic", "insult"])])
    assert set(found["per_class"]) == set(NAMES.values())
    assert {scores["threshold"] for scores in found["per_class"].values()} == {0.5}


@pytest.mark.parametrize("head", [HEADS[3], HEADS[4]], ids=str)
def test_data_of_one_label_do_not_judge_what_gives_numbers_or_one_score(
    save_text: SaveText, head: dict[str, Any]
) -> None:
    with pytest.raises(ModelError, match="must be one that chooses one label of several"):
        load_model(save_text(**head)).evaluate([(text, "toxic") for text in TEXTS])


# --- names of labels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ids", [{"1": "neg", "2": "pos"}, {"0": "neg", "2": "pos"}, {"-1": "neg", "0": "pos"}], ids=str
)
def test_names_that_do_not_count_from_0_are_refused(save_text: SaveText, ids: dict[str, str]) -> None:
    folder = save_text(num_labels=2)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "id2label": ids}))
    with pytest.raises(ModelError) as error:
        load_model(folder)
    assert "id2label" in faults_of(error)
    assert "must be names for the outputs 0 to 1" in faults_of(error)


def test_a_name_that_two_outputs_have_stands_for_the_first(save_image: SaveText) -> None:
    folder = save_image(id2label={"0": "crane", "1": "dog", "2": "crane", "3": "cat", "4": "fox"})
    model = load_model(folder)
    assert model.class_names == ("crane", "dog", "crane (2)", "cat", "fox")
    assert math.fsum(model.predict(picture()).scores.values()) == pytest.approx(1, abs=1e-5)


# --- labels of other data --------------------------------------------------------------------------------------------

ROWS = [(text, str(number % 2)) for number, text in enumerate(TEXTS * 4)]


def _accuracy(folder: Path, meaning: dict[str, str]) -> float:
    found = load_model(folder).predict([text for text, _ in ROWS])
    return float(np.mean([one.label == meaning[label] for one, (_, label) in zip(found, ROWS, strict=True)]))


def test_a_label_map_says_what_labels_mean(save_text: SaveText, tmp_path: Path) -> None:
    folder = save_text(num_labels=2)
    model = load_model(folder)
    with pytest.raises(DataError, match="--label-map"):
        model.evaluate(ROWS)
    forth, back = {"0": "LABEL_0", "1": "LABEL_1"}, {"0": "LABEL_1", "1": "LABEL_0"}
    known: list[tuple[Any, dict[str, str]]] = [("position", forth), (forth, forth), (back, back), ({0: 1, 1: 0}, back)]
    for given, meaning in known:
        assert model.evaluate(ROWS, label_map=given)["accuracy"] == pytest.approx(_accuracy(folder, meaning))
    named = [(text, {"0": "neg", "1": "pos"}[label]) for text, label in ROWS]
    assert model.evaluate(named, label_map="position") == model.evaluate(ROWS, label_map="position")

    table = tmp_path / "rows.csv"
    table.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in named))
    words = ("eval", str(folder), "--data", str(table), "--json", "--quiet")
    told = _invoke(*words, "--label-map", "neg=LABEL_1,pos=LABEL_0")
    assert json.loads(told.stdout)["accuracy"] == pytest.approx(_accuracy(folder, back))
    assert "--label-map position" in _invoke(*words).stderr


@pytest.mark.parametrize("names", [[f"breed_{number}" for number in range(1, 13)], [*map(str, range(1, 13))]])
def test_two_orders_of_class_folders_are_told_apart(names: list[str], tmp_path: Path) -> None:
    from timm.data import create_dataset
    from torchvision.datasets import ImageFolder

    for name in names:
        (tmp_path / name).mkdir()
        picture().save(tmp_path / name / "photo.png")
    classes = [f"LABEL_{number}" for number in range(12)]
    rows = [Row(name, AbsentContent("not there"), name) for name in names]
    by_torchvision = ImageFolder(tmp_path).class_to_idx
    by_timm = create_dataset("", root=str(tmp_path)).reader.class_to_idx
    orders: list[tuple[Any, dict[str, int]]] = [("text-order", by_torchvision), ("natural-order", by_timm)]
    for order, places in orders:
        found = {row.id: row.target for row in relabelled(rows, classes, order)}
        assert found == {name: f"LABEL_{place}" for name, place in places.items()}
    assert by_torchvision != by_timm
    with pytest.raises(RecipeError, match=r"text-order or natural-order where they differ|numbers from 0 to 11"):
        relabelled(rows, classes, "position")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"0": "LABEL_0", "1": "LABEL_7"}, "Did you mean"),
        ({"0": "LABEL_0"}, "nothing for 1"),
        ({"0": "LABEL_0", "one": "LABEL_1"}, "the label map must be of labels of the data; got 'one'"),
        (["LABEL_0", "LABEL_1"], "label_map must be a mapping of labels to classes"),
        ({0: 0, 1: 7}, "one of the model's; got '7'"),
        ("positions", "--label-map must be position, text-order, natural-order"),
    ],
    ids=str,
)
def test_a_label_map_that_does_not_fit_is_told(save_text: SaveText, given: Any, told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        load_model(save_text(num_labels=2)).evaluate(ROWS, label_map=given)


def test_a_label_map_in_words_is_read(save_text: SaveText) -> None:
    folder = str(save_text(num_labels=2))
    for given in ("neg", "neg=", "=LABEL_0", "a=LABEL_0,a=LABEL_1", ""):
        told = _invoke("eval", folder, "--data", "bundled/short-reviews", "--quiet", "--label-map", given)
        assert told.exit_code == 2, told
        assert "--label-map must be position" in told.stderr


# --- terminals and tables --------------------------------------------------------------------------------------------


def test_names_and_labels_steer_no_terminal(save_text: SaveText) -> None:
    folder = save_text(id2label={0: "a\x1b[2Jb\nc", 1: "d\u202ee"})
    lines = _invoke("predict", str(folder), "one\nlovely \x1b[31mfilm", "--quiet").stdout
    assert lines.count("\n") == 1
    assert not set("\x1b\u202e") & set(lines)
    told = _invoke("predict", str(folder), "\x9b31m \u202e film", "--json").stdout
    assert not set("\x9b\u202e") & set(told)
    assert json.loads(told)["predictions"][0]["input"] == "\x9b31m \u202e film"


def test_cells_of_predictions_are_no_formulas(save_text: SaveText, tmp_path: Path) -> None:
    folder = save_text(id2label={0: "=1+1", 1: "@b"})
    given = ["=HYPERLINK(1)", "+1 film", "-a film", "@a film", "\ta film", "\rfilm", "-12"]
    _invoke("predict", str(folder), "--quiet", "--csv", str(tmp_path / "out.csv"), "--", *given)
    rows = list(csv.reader(io.StringIO((tmp_path / "out.csv").read_text(), newline="")))
    assert [row[0] for row in rows[1:]] == [*(f"'{text}" for text in given[:5]), "\\rfilm", "-12"]
    assert {row[1] for row in rows[1:]} <= {"'=1+1", "'@b"}


# --- tokenizers ------------------------------------------------------------------------------------------------------


def _bare(family: str, folder: Path) -> Path:
    """Weights and configuration of a family, as a `Trainer` leaves them that was given no tokenizer."""
    import transformers as tf

    sizes: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 500}
    if family == "distilbert":
        sizes = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "vocab_size": 500}
    elif family == "gpt2":
        sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 500}
    else:
        sizes |= {"intermediate_size": 64}
    with quiet_transformers():
        config = tf.AutoConfig.for_model(family, **sizes)
        tf.AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "gpt2", "mpnet", "deberta-v2"])
def test_a_model_without_a_tokenizer_is_refused(family: str, tmp_path: Path, text_data: Path) -> None:
    folder = _bare(family, tmp_path / family)
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"task: text-classification\nmodel: {folder}\ndata: {text_data}\n")
    checked = _invoke("check", str(recipe), "--quiet")
    assert checked.exit_code == 2
    for told in (checked.stderr, _invoke("predict", str(folder), "a film", "--quiet").stderr):
        assert "must be one with a tokenizer of its own; got no file with a vocabulary" in told
        assert "Traceback" not in told


def test_a_vocabulary_of_special_tokens_or_a_far_smaller_one_is_refused(
    save_text: SaveText, tmp_path: Path, text_data: Path
) -> None:
    import transformers as tf

    special = _bare("bert", tmp_path / "special")
    with quiet_transformers():
        tf.AutoTokenizer.from_pretrained(special).save_pretrained(special)
    words = tmp_path / "words"
    _bare("bert", words)
    (words / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")
    small = save_text("small", vocab_size=5000)
    for folder, told in (
        (special, "only [0-9]+ special tokens"),
        (words, "only [0-9]+ special tokens"),
        (small, "knows 5,000"),
    ):
        with pytest.raises(ModelError, match=told):
            load_model(folder)
        with pytest.raises(ModelError, match=told):
            ht.check({"task": "text-classification", "model": str(folder), "data": str(text_data)})


def test_a_vocabulary_that_the_model_pads_is_taken(save_text: SaveText) -> None:
    known = len(tiny_tokenizer())
    for size in (known, known + 47, 8 * known):
        assert load_model(save_text(f"padded-{size}", vocab_size=size)).predict(TEXTS[0])


def test_tokens_beyond_the_model_are_told(save_text: SaveText) -> None:
    model = load_model(save_text(vocab_size=12))
    with pytest.raises(ModelError, match="must be one with token ids below 12"):
        model.predict("a film in it and what")


# --- adapters of plain peft ------------------------------------------------------------------------------------------


def _plain_lora(auto: Any, base: Path, folder: Path, saved: list[str], targets: list[str], **more: Any) -> Any:
    """What peft writes of a model with matrices and a head that learned, and that model."""
    import peft

    with quiet_transformers():
        model = auto.from_pretrained(base, **more)
    torch.manual_seed(1)
    config = peft.LoraConfig(r=4, target_modules=targets, modules_to_save=saved or None, init_lora_weights=False)
    with quiet_peft():
        wrapped = peft.get_peft_model(model, config)
    for name, parameter in wrapped.named_parameters():
        if "modules_to_save" in name:
            torch.nn.init.normal_(parameter)
    with quiet_peft():
        wrapped.save_pretrained(str(folder))
    return wrapped.eval()


def test_an_adapter_of_plain_peft_gives_what_plain_peft_gives(tiny: TinyModels, tmp_path: Path) -> None:
    import transformers as tf

    base, folder = tiny("bert"), tmp_path / "lora"
    auto = tf.AutoModelForSequenceClassification
    wrapped = _plain_lora(auto, base, folder, ["classifier"], ["query", "value"], num_labels=3)
    model = load_model(folder)
    assert model.class_names == ("LABEL_0", "LABEL_1", "LABEL_2")
    with torch.no_grad():
        wanted = wrapped(**tiny_tokenizer()([TEXTS[1]], return_tensors="pt")).logits.softmax(-1)[0]
    assert list(model.predict(TEXTS[1]).scores.values()) == pytest.approx(wanted.tolist(), abs=1e-5)
    again = load_model(model.save(tmp_path / "again"))
    assert again.predict(TEXTS) == model.predict(TEXTS)


def test_an_adapter_of_plain_peft_for_images_has_the_classes_of_its_base(tiny: TinyModels, tmp_path: Path) -> None:
    import transformers as tf

    base, folder = tiny("vit"), tmp_path / "lora"
    wrapped = _plain_lora(tf.AutoModelForImageClassification, base, folder, ["classifier"], ["q_proj"])
    model = load_model(folder)
    assert model.class_names == tuple(f"thing {index}" for index in range(5))
    pixels = tf.AutoImageProcessor.from_pretrained(base)(images=[picture()], return_tensors="pt")
    with torch.no_grad():
        wanted = wrapped(**pixels).logits.softmax(-1)[0]
    assert list(model.predict(picture()).scores.values()) == pytest.approx(wanted.tolist(), abs=1e-5)


def test_an_adapter_of_plain_peft_scores_as_its_base_does(save_text: SaveText, tmp_path: Path) -> None:
    import transformers as tf

    base, folder = save_text(id2label=NAMES, problem_type="multi_label_classification"), tmp_path / "lora"
    auto = tf.AutoModelForSequenceClassification
    wrapped = _plain_lora(auto, base, folder, ["classifier"], ["query"])
    with torch.no_grad():
        wanted = wrapped(**tiny_tokenizer()([TEXTS[1]], return_tensors="pt")).logits.sigmoid()[0].tolist()
    model = load_model(folder)
    for one in (model, load_model(model.save(tmp_path / "again"))):
        assert one.predict(TEXTS[1]).scores == pytest.approx(dict(zip(NAMES.values(), wanted, strict=True)), abs=1e-5)


def test_an_adapter_without_a_head_takes_that_of_its_base_or_is_refused(
    tiny: TinyModels, save_text: SaveText, tmp_path: Path
) -> None:
    import transformers as tf

    base, folder, auto = save_text(id2label=NAMES), tmp_path / "lora", tf.AutoModelForSequenceClassification
    wrapped = _plain_lora(auto, base, folder, [], ["query"])
    with torch.no_grad():
        wanted = wrapped(**tiny_tokenizer()([TEXTS[0]], return_tensors="pt")).logits.softmax(-1)[0]
    found = load_model(folder).predict(TEXTS[0])
    assert found.scores == pytest.approx(dict(zip(NAMES.values(), wanted.tolist(), strict=True)), abs=1e-5)
    _plain_lora(auto, tiny("bert"), tmp_path / "headless", [], ["query"])
    with pytest.raises(ModelError, match="all its head weights"):
        load_model(tmp_path / "headless")


# --- folders of sentence-transformers --------------------------------------------------------------------------------


def _sentence_folder(tiny: TinyModels, folder: Path, inner: str, modes: dict[str, Any]) -> Path:
    """A tiny BERT in the layout of sentence-transformers, old (the model in a folder) or new."""
    shutil.copytree(tiny("bert"), folder / inner, dirs_exist_ok=True)
    kinds = [("Transformer", inner), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    modules = [{"idx": n, "name": str(n), "path": path, "type": f"a.b.{kind}"} for n, (kind, path) in enumerate(kinds)]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **modes}))
    return folder


@pytest.mark.parametrize(
    ("inner", "modes", "pooling"),
    [
        ("0_BERT", {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ("0_Transformer", {"pooling_mode_mean_tokens": True}, "mean"),
        ("", {"pooling_mode_lasttoken": True}, "last"),
        ("", {"pooling_mode": "cls"}, "cls"),
        ("", {"pooling_mode_max_tokens": True}, "mean"),
    ],
    ids=str,
)
def test_a_folder_of_sentence_transformers_is_taken_with_its_own_pooling(
    tiny: TinyModels, tmp_path: Path, text_data: Path, inner: str, modes: dict[str, Any], pooling: str
) -> None:
    folder = _sentence_folder(tiny, tmp_path / "sentences", inner, modes)
    recipe = {"task": "text-classification", "model": str(folder), "data": str(text_data)}
    ht.check(recipe)
    rows = [(text, str(n % 2)) for n, text in enumerate(TEXTS * 3)]
    progress = Progress(None)
    progress.write_log(tmp_path / "log.txt")
    model = ht.fit("text-classification", model=str(folder), train=rows, progress=progress)
    assert model.facts.pooling == pooling
    told = "pools tokens in a way that is not known here"
    assert (told in (tmp_path / "log.txt").read_text()) == ("pooling_mode_max_tokens" in modes)
    asked = ht.fit("text-classification", model=str(folder), train=rows, strategy=ht.LinearProbe(pooling="mean"))
    assert asked.facts.pooling == "mean"
    assert load_model(model.save(tmp_path / "saved")).predict(TEXTS[0]) == model.predict(TEXTS[0])


@pytest.mark.parametrize("inner", ["", "0_Transformer"])
def test_as_much_of_a_text_is_read_as_sentence_transformers_reads(tiny: TinyModels, tmp_path: Path, inner: str) -> None:
    """Its folders say so in a file of their own; the tokenizer's limit is often a larger one."""
    folder = _sentence_folder(tiny, tmp_path / "sentences", inner, {"pooling_mode_mean_tokens": True})
    (folder / inner / "sentence_bert_config.json").write_text('{"max_seq_length": 8, "do_lower_case": false}')
    rows = [(text, str(n % 2)) for n, text in enumerate(TEXTS * 3)]
    long = "the film was very lovely and the actor was not good"
    read = "the film was very lovely and"  # with the tokens at both ends
    fitted = ht.fit("text-classification", model=str(folder), train=rows)
    assert fitted.facts.max_tokens == 8
    again = load_model(fitted.save(tmp_path / "saved"))
    for model in (fitted, again, load_embedder(str(folder), "fp32")):
        cut, whole = (cast(np.ndarray, one) for one in model.embed_each([read, long]))
        assert whole == pytest.approx(cut, abs=1e-6)
    more = ht.fit("text-classification", model=str(folder), train=rows, data={"max_tokens": 32})
    cut, whole = (cast(np.ndarray, one) for one in load_model(more.save(tmp_path / "more")).embed_each([read, long]))
    assert np.abs(whole - cut).max() > 1e-3


_OF_TORCH = "torch.nn.modules"


def test_an_embedding_goes_through_the_layers_of_its_folder(tiny: TinyModels, tmp_path: Path) -> None:
    """Pooled texts go through what sentence-transformers puts behind them (EmbeddingGemma: two layers and a norm)."""
    folder = _sentence_folder(tiny, tmp_path / "sentences", "", {"pooling_mode_mean_tokens": True})
    pooled = ht.embed(tiny("bert"), TEXTS)  # (N, 32)
    assert ht.embed(folder, TEXTS) == pytest.approx(pooled / np.linalg.norm(pooled, axis=1, keepdims=True), abs=1e-6)
    draw = np.random.default_rng(0)
    first, bias, second = draw.normal(size=(8, 32)), draw.normal(size=8), draw.normal(size=(8, 8))
    scale, shift = draw.normal(size=8), draw.normal(size=8)
    kinds = ["Transformer", "Pooling", "Dense", "Dropout", "Dense", "LayerNorm", "Normalize"]
    paths = ["", "1_Pooling", "2_Dense", "3_Dropout", "4_Dense", "5_LayerNorm", "6_Normalize"]
    modules = [{"path": path, "type": f"a.b.{kind}"} for kind, path in zip(kinds, paths, strict=True)]
    (folder / "modules.json").write_text(json.dumps(modules))
    wide = {"in_features": 32, "out_features": 8, "bias": True, "activation_function": f"{_OF_TORCH}.activation.Tanh"}
    square = {"in_features": 8, "out_features": 8, "bias": False, "activation_function": f"{_OF_TORCH}.linear.Identity"}
    layers: Any = (
        ("2_Dense", wide, {"linear.weight": first, "linear.bias": bias}),
        ("4_Dense", {**square, "use_residual": True}, {"linear.weight": second}),
        ("5_LayerNorm", {"dimension": 8}, {"norm.weight": scale, "norm.bias": shift}),
    )
    for path, settings, tensors in layers:
        (folder / path).mkdir()
        (folder / path / "config.json").write_text(json.dumps(settings))
        save_file(
            {name: tensor.astype(np.float32) for name, tensor in tensors.items()}, folder / path / "model.safetensors"
        )
    wanted = np.tanh(pooled @ first.T + bias)
    wanted = wanted @ second.T + wanted
    wanted = (wanted - wanted.mean(1, keepdims=True)) / np.sqrt(wanted.var(1, keepdims=True) + 1e-5) * scale + shift
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    assert ht.embed(folder, TEXTS) == pytest.approx(wanted, abs=1e-5)
    for file, text, told in (
        (
            "2_Dense/config.json",
            json.dumps({**wide, "activation_function": "os.system"}),
            "activation_function os.system",
        ),
        ("2_Dense/config.json", json.dumps({**wide, "in_features": 16}), "the weights of that layer"),
        ("modules.json", json.dumps(modules).replace("a.b.LayerNorm", "a.b.LSTM"), "must be Dense, LayerNorm, Dropout"),
        ("modules.json", json.dumps([modules[0], modules[2], *modules[1:]]), "got Dense before the Pooling"),
        (
            "1_Pooling/config.json",
            '{"pooling_mode_max_tokens": true}',
            "the mean of all tokens, the first one or the last",
        ),
    ):
        before = (folder / file).read_text()
        (folder / file).write_text(text)
        with pytest.raises(ModelError, match=told):
            ht.embed(folder, TEXTS)
        (folder / file).write_text(before)
    for setting in ({"default_prompt_name": "query"}, {"truncate_dim": 4}):
        (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": "q: "}, **setting}))
        with pytest.raises(
            ModelError, match=f"without default_prompt_name and truncate_dim; got {next(iter(setting))}"
        ):
            ht.embed(folder, TEXTS)
        (folder / "config_sentence_transformers.json").unlink()
    (folder / "2_Dense" / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"its weights in model\.safetensors"):
        ht.embed(folder, TEXTS)


def test_modules_lie_in_their_folder(tiny: TinyModels, tmp_path: Path) -> None:
    folder = _sentence_folder(tiny, tmp_path / "sentences", "0_BERT", {})
    for told, text in (
        ("the name of a folder beside it", json.dumps([{"type": "a", "path": "../other"}])),
        ("a list of modules", "{"),
        ("a list of modules", "[3]"),
    ):
        (folder / "modules.json").write_text(text)
        with pytest.raises(ModelError, match=told):
            ht.check({"task": "text-classification", "model": str(folder), "data": "bundled/short-reviews"})


# --- terms -----------------------------------------------------------------------------------------------------------

_FACEBOOK = "facebook/dinov3-vits16-pretrain-lvd1689m"


def _asked_of(hub: Any, home: Path, model: str) -> str:
    """What a person reads who asks the double of the Hub for a model, in a process of its own."""
    settings = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home / "hf"), "HF_HUB_DISABLE_XET": "1"}
    code = (
        "import sys; from hftransfer.adapters.checkpoint import find_checkpoint; "
        "from hftransfer.base.errors import HftransferError\n"
        "try: find_checkpoint(sys.argv[1])\n"
        "except HftransferError as error: print(error)"
    )
    command = [sys.executable, "-c", code, model]
    environment = os.environ | settings | {"HF_HUB_OFFLINE": "0"}
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert "Traceback" not in found.stderr, found.stderr
    return found.stdout


@pytest.mark.slow
@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("part", ["/resolve/", "/api/"])
def test_a_gated_repository_is_told_as_such(tiny: TinyModels, tmp_path: Path, status: int, part: str) -> None:
    with serve({f"models/{_FACEBOOK}": tiny("vit")}) as hub:
        hub.refused = {part: (status, "GatedRepo")}
        told = _asked_of(hub, tmp_path, _FACEBOOK)
    words = ("which is gated", f"https://huggingface.co/{_FACEBOOK}", "hf auth login")
    assert not missing_words(told, [*words, "timm/vit_small_patch16_dinov3.lvd1689m"])


@pytest.mark.slow
def test_a_repository_that_is_refused_is_told_as_such(tiny: TinyModels, tmp_path: Path) -> None:
    with serve({"models/some/thing": tiny("vit")}) as hub:
        hub.refused = {"/resolve/": (403, "")}
        told = _asked_of(hub, tmp_path, "some/thing")
        hub.refused = {"/": (401, "RepoNotFound")}
        private = _asked_of(hub, tmp_path / "other", "some/thing")
    assert not missing_words(told, ["refuses (403)", "hf auth login"])
    assert not missing_words(private, ["private", "hf auth login"])


def test_open_twins_are_known_by_timm() -> None:
    timm = pytest.importorskip("timm")
    from hftransfer.adapters.terms import license_of, open_twin

    names = [
        *(f"vit{size}" for size in ("s16", "s16plus", "b16", "l16", "h16plus", "7b16")),
        *(f"convnext-{size}" for size in ("tiny", "small", "base", "large")),
    ]
    known = {f"timm/{name}" for name in timm.list_pretrained()}
    assert {open_twin(f"facebook/dinov3-{name}-pretrain-lvd1689m") for name in names} <= known
    assert open_twin("facebook/dinov2-small") is None
    of_timm = {name: timm.get_pretrained_cfg(name).license for name in timm.list_pretrained()}
    ours = {name for name in of_timm if license_of(f"timm/{name}") == "cc-by-nc-4.0"}
    assert ours == {name for name, said in of_timm.items() if said == "cc-by-nc-4.0"}


@pytest.mark.parametrize(
    ("front", "said"),
    [
        ("---\nlicense: cc-by-nc-4.0\n---\n", "cc-by-nc-4.0"),
        ("---\r\ntags: [a]\r\nlicense: 'cc-by-nc-sa-4.0'\r\n---\r\n", "cc-by-nc-sa-4.0"),
        ("---\nlicense: other\nlicense_name: fair-noncommercial-research\n---\n", "fair-noncommercial-research"),
        ("---\nlicense: apache-2.0\n---\n", None),
        ("license: cc-by-nc-4.0\n", None),
        ("---\nlicense: [\n", None),
    ],
)
def test_a_licence_without_commercial_use_is_told_and_stands_on_the_card(
    tiny: TinyModels, tmp_path: Path, folder_data: Path, without_figures: None, front: str, said: str | None
) -> None:
    from hftransfer.base.progress import Progress

    del without_figures
    model = shutil.copytree(tiny("vit"), tmp_path / "vit")
    (model / "README.md").write_bytes(front.encode() + b"# A model\n")
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"task: image-classification\nmodel: {model}\ndata: {folder_data}\n")
    told = _invoke("check", str(recipe), "--quiet").stdout
    assert ("allows no commercial use" in told) == (said is not None)
    if front.startswith(("---\r", "license", "---\nlicense: [")):
        return  # what is read from these is seen by now
    result = ht.run(str(recipe), out=tmp_path / "run", progress=Progress(None))
    card = (result.folder / "model" / "README.md").read_text()
    assert (f"`{said}`, allows no commercial use" in card) == (said is not None)
    assert (f"\nlicense: {said}\n" in card) == (said is not None and said.startswith("cc-"))


# --- the demonstration -----------------------------------------------------------------------------------------------


def test_a_model_of_drawings_says_so(finished: Finished, tmp_path: Path) -> None:
    folder = shutil.copytree(finished("vit").folder / "model", tmp_path / "model")
    said = json.loads((folder / "hftransfer.json").read_text())
    assert said["data"] is None
    drawn = cache_folder("data") / "drawn-pets-1" / "test" / "cat" / "0000.jpg"
    drawn.parent.mkdir(parents=True)
    picture().save(drawn)
    photo, copied = tmp_path / "photo.jpg", tmp_path / "copied.jpg"
    picture("blue").save(photo)
    shutil.copyfile(drawn, copied)
    assert "warning" not in _invoke("predict", str(folder), str(photo), "--quiet").stderr
    (folder / "hftransfer.json").write_text(json.dumps({**said, "data": "bundled/drawn-pets"}))
    warned = "warning: this model is not for photos"
    assert warned in _invoke("predict", str(folder), str(drawn), str(photo), "--quiet").stderr
    assert warned in _invoke("predict", str(folder), str(photo), "--json").stderr
    assert warned not in _invoke("predict", str(folder), str(drawn), str(copied), "--quiet").stderr
    assert warned in _invoke("explain", str(folder), str(photo), "--out", str(tmp_path / "why")).stderr
    assert load_model(folder).note


def test_the_card_of_a_model_of_drawings_says_so() -> None:
    from hftransfer.hub.card import Card, _limits
    from hftransfer.tasks import TASKS
    from hftransfer.tasks.facts import ModelFacts

    metrics = {"task": "image-classification", "examples": {"train": 4, "validation": 2, "test": 2}, "test": {}}
    metrics |= {"validation": {}, "strategy": "linear-probe"}
    card = Card(
        TASKS["image-classification"],
        metrics,
        "bundled/drawn-pets",
        "1",
        ("a",),
        facts=ModelFacts(data="bundled/drawn-pets"),
    )
    assert any("not for photos" in line for line in _limits(card))


def test_a_page_is_told_what_scores_are(save_text: SaveText) -> None:
    pytest.importorskip("fastapi")
    from fastapi.testclient import TestClient

    from hftransfer.predictors.server import HOST, make_app

    model = load_model(save_text(num_labels=1, problem_type="regression"))
    client = TestClient(make_app(model, "model"), base_url=f"http://{HOST}")
    assert client.get("/about").json()["scores"] == "none"
    answer = client.post("/predict", json={"text": TEXTS[0]}).json()
    assert answer["value"] == pytest.approx(model.predict(TEXTS[0]).score)


# --- what is no text, and what is no image ---------------------------------------------------------------------------


def test_the_name_of_an_image_file_is_no_text(save_text: SaveText, tmp_path: Path) -> None:
    model = load_model(save_text(num_labels=2))
    photo = tmp_path / "photo.JPG"
    picture().save(photo, "JPEG")
    with pytest.raises(DataError, match="must be a text"):
        model.predict([TEXTS[0], str(photo)])
    gone = [str(tmp_path / "gone.jpg"), "a film.png", ".jpg", "x" * 5000 + ".jpg", "\0.jpg"]
    assert len(model.predict(gone)) == len(gone)


def test_what_could_not_be_found_is_told_and_all_else_predicted(save_text: SaveText, save_image: SaveText) -> None:
    fault = DataError("the image gone.jpg must be a file; got none.")
    texts, images = load_model(save_text(num_labels=2)), load_model(save_image())
    assert [type(one) for one in texts.predict_each([TEXTS[0], fault, TEXTS[1]])][1] is DataError
    found: list[Any] = list(images.predict_each([fault, picture(), fault]))
    assert found[0] is fault
    assert found[2] is fault
    assert found[1].label.startswith("thing")


# --- what runs often -------------------------------------------------------------------------------------------------


def test_texts_of_many_lengths_go_through_in_few_shapes(tiny: TinyModels) -> None:
    rows = [("a good film", "pos"), ("a bad film", "neg")] * 4
    model = ht.fit("text-classification", model=str(tiny("bert")), train=rows)
    shapes: set[int] = set()
    model.adapter.model.register_forward_pre_hook(
        lambda _, args, kwargs: shapes.add(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    texts = [" ".join(["film"] * count) for count in range(1, 60)]
    alone = [model.predict(text).score for text in texts]
    assert shapes == {16, 32, 48, 64}
    with torch.no_grad():
        for text, score in list(zip(texts, alone, strict=True))[::7]:
            plain = model.source.model(**model.source.encode([text])).logits.softmax(-1)[0]
            assert score == pytest.approx(float(plain.max()), abs=1e-6)
    assert model.predict(" ".join(["film"] * 2000)).score > 0


@pytest.mark.parametrize("seed", [0, 1])
def test_a_pooler_that_the_base_model_lacks_is_kept_with_its_matrices(tmp_path: Path, seed: int) -> None:
    """What is new is as random as the head: left out, it would be another one where the matrices are loaded."""
    import transformers as tf

    with quiet_transformers():
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        tf.BertForMaskedLM(tf.BertConfig(**sizes, vocab_size=64)).save_pretrained(tmp_path / "base")
        tiny_tokenizer().save_pretrained(tmp_path / "base")
    rows = [(text, str(n % 2)) for n, text in enumerate(TEXTS * 4)]
    settings: dict[str, Any] = {"model": str(tmp_path / "base"), "train": rows, "strategy": ht.LoRA(rank=2)}
    model = ht.fit("text-classification", **settings, epochs=1, seed=seed)
    again = load_model(model.save(tmp_path / "lora"))
    for one, other in zip(again.predict(TEXTS), model.predict(TEXTS), strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-6)


def test_weights_that_are_a_git_lfs_pointer_are_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(ModelError, match=r"a Git LFS pointer, not the file \(model.safetensors\).* git lfs pull"):
        find_checkpoint(str(tmp_path))


def test_weights_deeper_than_the_configuration_are_no_half_model(tiny: TinyModels, tmp_path: Path) -> None:
    shutil.copytree(tiny("vit"), tmp_path / "vit")
    config = json.loads((tmp_path / "vit" / "config.json").read_text())
    (tmp_path / "vit" / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 1}))
    with pytest.raises(ModelError, match=r"as deep as its config.json says; got weights of more layers"):
        load_model(tmp_path / "vit")


def test_a_table_is_no_list_of_its_columns() -> None:
    import pandas

    from hftransfer.data.texts import TEXTS as TEXT_READER
    from hftransfer.predictors.inputs import as_list

    frame = pandas.DataFrame({"text": ["a film"], "label": ["x"]})
    with pytest.raises(DataError, match=r"got a table \(text, label\). Pass one of its columns, as in frame\['text'\]"):
        as_list(frame, TEXT_READER)
    assert as_list(frame["text"], TEXT_READER) == ["a film"]


def test_a_run_that_is_not_there_is_told_beside_those_that_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "runs" / "cats_dogs").mkdir(parents=True)
    with pytest.raises(ModelError, match=r"holds no 'cats_dog'. Did you mean 'cats_dogs'\? It is not in the local"):
        ht.load("runs/cats_dog")
    with pytest.raises(ModelError, match=r"got 'run/cats_dog'. It is not in the local cache"):
        ht.load("run/cats_dog")
