"""A trained model's life on the command line: what it predicts, of what a person names, and how it is judged again."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import hftransfer as ht
from hftransfer.base.errors import DataError, RecipeError
from hftransfer.data.dialogues import DIALOGUES
from hftransfer.data.inputs import inputs_of, passed_over
from hftransfer.data.pictures import IMAGES
from hftransfer.data.questions import QUESTIONS
from hftransfer.data.reading import InputColumns, Reader
from hftransfer.data.texts import TEXTS
from hftransfer.jobs.run import run
from hftransfer.tasks.facts import ModelFacts
from hftransfer.tasks.outcomes import Prediction
from tests.builders import (
    NO_PICTURES,
    TinyModels,
    faults_of,
    load_dual_model,
    load_model,
    missing_words,
    picture,
    question,
    recipe_for,
    write_classes,
)
from tests.hub.hub_double import serve
from tests.predictors.builders import SILENT, call


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with a picture of each colour in a folder of its own, and a table that names them."""
    for color in ("red", "green", "blue"):
        (tmp_path / "photos" / color).mkdir(parents=True)
        picture(color, 5).save(tmp_path / "photos" / color / "one.png")
    (tmp_path / "photos" / "notes.txt").write_text("not a picture")
    lines = [f"photos/{color}/one.png,{color}" for color in ("red", "green", "blue")]
    (tmp_path / "table.csv").write_text("\n".join(["image,colour", *lines]))
    return tmp_path


@pytest.fixture(scope="session")
def answered(tiny: TinyModels, squad_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run on questions."""
    recipe = {
        "task": "question-answering",
        "model": str(tiny("bert")),
        "data": {"source": str(squad_data), "stride_tokens": 8},
        "strategy": {"kind": "fine-tune"},
        "train": {"epochs": 1},
    }
    return run(recipe, out=tmp_path_factory.mktemp("answered") / "run", progress=SILENT).folder


# --- what is named ---------------------------------------------------------------------------------------------------


def test_folders_patterns_tables_and_lines_name_images(photos: Path) -> None:
    folder = photos / "photos"
    expected = sorted(str(file) for file in folder.rglob("*.png"))
    assert [one.name for one in inputs_of([str(folder)], IMAGES)] == expected
    assert [one.name for one in inputs_of([f"{folder}/*/one.png"], IMAGES)] == expected
    assert [one.name for one in inputs_of([f"{folder}/**/*.png"], IMAGES)] == expected
    table = inputs_of([str(photos / "table.csv")], IMAGES)
    assert [str(one.value) for one in table] == [str(folder / color / "one.png") for color in ("red", "green", "blue")]
    lines = inputs_of(["-"], IMAGES, lines=[f"{name}\n" for name in expected] + ["\n"])
    assert [str(one.value) for one in lines] == expected
    both = inputs_of([expected[0], str(folder)], IMAGES)
    assert [str(one.value) for one in both] == [expected[0], *expected]


def test_what_a_link_in_a_folder_leads_to_in_that_folder_comes_once(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    picture("red", 1).save(tmp_path / "in" / "deep" / "one.png")
    picture("red", 2).save(tmp_path / "elsewhere" / "two.png")
    (tmp_path / "in" / "latest").symlink_to("deep")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    names = [Path(one.name).relative_to(tmp_path / "in").as_posix() for one in inputs_of([f"{tmp_path}/in"], IMAGES)]
    assert names == ["deep/one.png", "linked/two.png"]


def test_a_run_is_no_folder_of_images(finished, tmp_path: Path) -> None:
    run = finished("vit").folder
    for name in (str(run), str(run.parent)):
        with pytest.raises(DataError, match="or a folder of them; got a run"):
            inputs_of([name], IMAGES)


def test_a_folder_of_photos_may_have_runs_in_it(finished, tmp_path: Path) -> None:
    """The figures of a run are no photos, nor its files worth a word."""
    (tmp_path / "runs").mkdir()
    shutil.copytree(finished("resnet").folder, tmp_path / "runs" / "pets")
    picture("red", 1).save(tmp_path / "one.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    assert [Path(one.name).name for one in inputs_of([str(tmp_path)], IMAGES)] == ["one.png"]
    assert passed_over([str(tmp_path)], IMAGES) == [str(tmp_path / "notes.txt")]
    (tmp_path / "one.png").unlink()
    with pytest.raises(DataError, match="or a folder of them; got a run"):
        inputs_of([str(tmp_path)], IMAGES)


def test_a_name_with_brackets_is_first_of_all_a_file(tmp_path: Path) -> None:
    picture("red", 1).save(tmp_path / "cat[1].png")
    (one,) = inputs_of([str(tmp_path / "cat[1].png")], IMAGES)
    assert one.value == tmp_path / "cat[1].png"


def test_texts_are_texts_unless_they_are_files(tmp_path: Path) -> None:
    (tmp_path / "review.txt").write_text("a dull\nfilm\n")
    (tmp_path / "reviews.csv").write_text('review,stars\nlovely,5\n"so, so",3\n')
    assert [one.value for one in inputs_of(["what a film?", "*"], TEXTS)] == ["what a film?", "*"]
    assert inputs_of([str(tmp_path / "review.txt")], TEXTS)[0].value == "a dull\nfilm\n"
    assert [one.value for one in inputs_of([str(tmp_path)], TEXTS)] == ["a dull\nfilm\n"]
    assert [one.value for one in inputs_of([str(tmp_path / "reviews.csv")], TEXTS)] == ["lovely", "so, so"]
    assert inputs_of(["x" * 5000], TEXTS)[0].value == "x" * 5000
    assert [one.value for one in inputs_of(["", " "], TEXTS)] == ["", " "]  # not the folder of work
    assert [one.value for one in inputs_of(["-"], TEXTS, lines=["one\n", "two\r\n"])] == ["one", "two"]


@pytest.mark.parametrize(
    ("lines", "column", "pairs", "values"),
    [
        (["one", "", "two", "", ""], None, False, ["one", "", "two"]),  # answers stay beside their lines
        (['{"text": "one"}', "", '{"text": "two"}'], None, False, ["one", "two"]),
        (['{"a": "one", "b": "x"}'], "b", False, ["x"]),
        (['{"sentence1": "one", "sentence2": "two"}'], None, True, [("one", "two")]),
        (['{"text": "one", "text_pair": "two"}'], None, True, [("one", "two")]),
        (["{one}", "two {"], None, False, ["{one}", "two {"]),
        (['\ufeff{"text": "one"}'], None, False, ["one"]),
        ([], None, False, []),
    ],
)
def test_lines_of_texts(lines: list[str], column: str | None, pairs: bool, values: list[object]) -> None:
    found = inputs_of(["-"], TEXTS, InputColumns(column, pairs=pairs), [f"{line}\n" for line in lines])
    assert [one.value for one in found] == values


@pytest.mark.parametrize("reader", [TEXTS, DIALOGUES])
def test_what_lines_can_not_be_is_told(reader: Reader) -> None:
    with pytest.raises(DataError, match=r"standard input:2 must be a JSON object"):
        inputs_of(["-"], reader, lines=['{"text": "one"}\n', '{"text": "two"\n'])
    with pytest.raises(DataError, match=r"--column must be left out for lines of text .*; got 'body'"):
        inputs_of(["-"], reader, InputColumns("body"), ["one\n"])
    assert [one.value for one in inputs_of(["-"], reader, lines=["{one}\n", "two\n"])] == ["{one}", "two"]


def test_rows_without_images_are_counted_once(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("image,note\n" + "".join(f"{'abcdefghijklmnopqrst'[n]}.png,x\n" for n in range(20)))
    with pytest.raises(DataError) as error:
        inputs_of([str(table)], IMAGES)
    assert (len(error.value.faults), error.value.faults[-1]) == (11, "… and 10 more like these.")
    with pytest.raises(DataError, match=r"… and 30 more like these"):
        inputs_of([str(table), str(shutil.copy(table, tmp_path / "u.csv"))], IMAGES)


def test_pairs_and_questions_come_from_tables(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("premise,hypothesis\na,b\n")
    (tmp_path / "asked.jsonl").write_text(json.dumps({"frage": "Who?", "context": "Ann."}))
    assert inputs_of([str(tmp_path / "pairs.csv")], TEXTS, InputColumns(pairs=True))[0].value == ("a", "b")
    (one,) = inputs_of([str(tmp_path / "asked.jsonl")], QUESTIONS, InputColumns("frage"))
    assert one.value == {"question": "Who?", "context": "Ann."}
    lines = [json.dumps({"question": f"Who {number}?", "context": "Ann."}) for number in range(2)]
    read = inputs_of(["-"], QUESTIONS, lines=[lines[0] + "\n", "\n", lines[1]])
    assert [one.value["question"] for one in read] == ["Who 0?", "Who 1?"]


def test_all_that_can_not_be_is_told_at_once(photos: Path) -> None:
    given = [str(photos / "photos" / "*.gif"), str(photos / "table.csv"), "-"]
    (photos / "empty").mkdir()
    with pytest.raises(DataError) as error:
        inputs_of([*given[:2], str(photos / "empty")], IMAGES, InputColumns("picture"))
    words = (
        "*.gif' must be a pattern that matches files such as *.jpg; got no file",
        "--column must be a column of",
        "the folder",
    )
    assert missing_words(faults_of(error), words) == []
    for lines, fault in (
        (["Who?"], "standard input:1 must be a JSON object; got Who?"),
        ([], "standard input must be questions with their contexts, as JSON objects in lines; got nothing"),
        (['{"question": "Who?"}'], "standard input must be a table with a column such as context"),
        (['{"question": "Who?", "context": 1}'], "standard input:1: column 'context' must be a text"),
    ):
        with pytest.raises(DataError) as error:
            inputs_of(["-"], QUESTIONS, lines=lines)
        assert fault in faults_of(error)


# --- predict ---------------------------------------------------------------------------------------------------------


def test_a_folder_is_predicted_into_a_table(finished: Any, photos: Path) -> None:
    out = photos / "out.csv"
    (photos / "photos" / "blue" / "broken.png").write_bytes(b"no picture")
    result = call("predict", finished("resnet").folder, photos / "photos", "--csv", out)
    assert result.exit_code == 2
    assert missing_words(result.stderr, ("broken.png must be an image",)) == []
    assert result.stdout == ""
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert [row["label"] for row in rows] == ["", "blue", "green", "red"]
    assert "broken.png" in rows[0]["error"]
    assert all(float(row[f"score_{row['label']}"]) == float(row["score"]) > 0.5 for row in rows[1:])


def test_a_table_goes_to_standard_output(finished: Any, photos: Path) -> None:
    result = call("predict", finished("resnet").folder, photos / "photos", "--csv", "-", "--quiet")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["label"] for row in rows] == ["blue", "green", "red"]
    assert not Path("-").exists()
    both = call("predict", finished("resnet").folder, photos / "photos", "--csv", "-", "--json")
    assert "--csv must be a file with --json; got '-'" in both.stderr


def test_lines_of_standard_input_are_predicted(finished: Any, reviewed: Path, photos: Path) -> None:
    lines = "\n".join(str(photos / "photos" / color / "one.png") for color in ("blue", "red"))
    result = call("predict", finished("resnet").folder, "-", "--json", given=lines)
    assert [entry["label"] for entry in json.loads(result.stdout)["predictions"]] == ["blue", "red"]
    texts = call("predict", reviewed, "-", "--json", given="the film was great\nan awful story\n")
    assert [entry["input"] for entry in json.loads(texts.stdout)["predictions"]] == [
        "the film was great",
        "an awful story",
    ]


def test_questions_of_a_table_are_answered(answered: Path, tmp_path: Path) -> None:
    rows = [question(number, "actor") for number in range(3)]
    (tmp_path / "asked.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    result = call("predict", answered, tmp_path / "asked.jsonl", "--json")
    found = json.loads(result.stdout)["predictions"]
    assert [entry["input"] for entry in found] == [row["question"] for row in rows]
    alone = load_model(answered).predict(question=rows[0]["question"], context=rows[0]["context"])
    assert found[0]["answer"] == alone.answer
    assert found[0]["score"] == pytest.approx(alone.score, abs=1e-5)
    wrong = call("predict", answered, "who?")
    assert wrong.exit_code == 2
    assert missing_words(wrong.stderr, ("a table", "with questions and contexts")) == []


def test_a_table_that_can_not_be_written_is_told(finished: Any, photos: Path) -> None:
    result = call("predict", finished("resnet").folder, photos / "photos", "--csv", photos / "no" / "out.csv")
    assert result.exit_code == 2
    assert missing_words(result.stderr, ("out.csv must be writable",)) == []


def test_labels_are_for_dual_encoders_alone(finished: Any, photos: Path, tiny: TinyModels) -> None:
    result = call("predict", finished("resnet").folder, photos / "photos", "--labels", "a,b")
    assert missing_words(result.stderr, ("--labels must be left out for a model with classes of its own",)) == []
    dual = call("predict", tiny("clip-dual"), photos / "photos")
    assert dual.exit_code == 2
    assert missing_words(dual.stderr, ("--labels must be what to choose between",)) == []
    named = call("predict", tiny("clip-dual"), photos / "photos", "--labels", "film, story", "--json")
    shot = call("zero-shot", tiny("clip-dual"), photos / "photos", "--labels", "film,story", "--json")
    assert json.loads(named.stdout) == json.loads(shot.stdout)
    assert len(json.loads(named.stdout)["predictions"]) == 3


# --- eval ------------------------------------------------------------------------------------------------------------


def test_a_run_is_judged_again_as_in_training(finished: Any, reviewed: Path, answered: Path) -> None:
    for folder in (finished("resnet").folder, reviewed, answered):
        test = json.loads((folder / "metrics.json").read_text())["test"]
        result = call("eval", folder, "--json", "--quiet")
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        for name, value in test.items():
            if isinstance(value, float) and name != "unseen_class_auroc":  # features of other classes are not kept
                assert found[name] == pytest.approx(value, abs=1e-4), (folder, name)


def test_other_data_are_judged_by_the_labels_of_the_model(finished: Any, tmp_path: Path) -> None:
    for color in ("red", "blue"):  # there is no green here
        (tmp_path / "few" / color).mkdir(parents=True)
        for number in range(3):
            picture(color, 90 + number).save(tmp_path / "few" / color / f"{number}.png")
    result = call("eval", finished("resnet").folder, "--data", tmp_path / "few", "--json")
    found = json.loads(result.stdout)
    assert found["accuracy"] == 1.0
    assert found["confusion_matrix"] == [[3, 0, 0], [0, 0, 0], [0, 0, 3]]
    shown = call("eval", finished("resnet").folder, "--data", tmp_path / "few")
    assert "accuracy" in shown.stdout
    assert "1.0000" in shown.stdout


def test_columns_of_other_data_are_named(reviewed: Path, tmp_path: Path) -> None:
    labels = load_model(reviewed).class_names
    (tmp_path / "more.csv").write_text(f"what,verdict\nthe film was great,{labels[0]}\nan awful story,{labels[1]}\n")
    wrong = call("eval", reviewed, "--data", tmp_path / "more.csv")
    assert wrong.exit_code == 2
    right = call("eval", reviewed, "--data", tmp_path / "more.csv", "text_column=what", "data.label_column=verdict")
    assert right.exit_code == 0, right.output
    odd = call("eval", reviewed, "--data", tmp_path / "more.csv", "text_colum=what", "limit=none")
    assert missing_words(odd.stderr, ("key=value with a key of the data section; got 'text_colum=what'",)) == []


def test_a_dual_encoder_is_judged_by_names(tiny: TinyModels, folder_data: Path, tmp_path: Path) -> None:
    result = call("eval", tiny("clip-dual"), "--data", folder_data, "--json", "--quiet")
    recipe: dict[str, Any] = {"task": "zero-shot-image-classification", "model": str(tiny("clip-dual"))}
    recipe |= {"data": str(folder_data), "output": NO_PICTURES}
    expected = run(recipe, {"train.precision": "fp32"}, out=tmp_path / "run", progress=SILENT).metrics["test"]
    assert json.loads(result.stdout)["accuracy"] == expected["accuracy"]
    none = call("eval", tiny("clip-dual"))
    assert missing_words(none.stderr, ("--data must be given for a dual encoder",)) == []


def test_a_split_is_asked_for(finished: Any, folder_data: Path) -> None:
    folder = finished("resnet").folder
    found = json.loads(call("eval", folder, "--split", "validation", "--json", "--quiet").stdout)
    assert sum(map(sum, found["confusion_matrix"])) == 15
    wrong = call("eval", folder, "--data", folder_data, "--split", "holdout")
    assert missing_words(wrong.stderr, ("the split to evaluate must be a split of the data", "'holdout'")) == []


def _photos(folder: Path) -> Path:
    """A folder of classes with large JPEG files."""
    for color in ("red", "blue"):
        (folder / color).mkdir(parents=True)
        for number in range(12):
            large = picture(color, number).resize((640, 480))
            large.save(folder / color / f"{number}.jpg", quality=90)
    return folder


@pytest.mark.usefixtures("without_figures")
def test_a_run_on_drafts_is_judged_on_drafts(tiny: TinyModels, tmp_path: Path) -> None:
    data = _photos(tmp_path / "photos")
    recipe = recipe_for(tiny("resnet"), data)
    recipe["data"]["decode"] = "draft"
    ran = run(recipe, out=tmp_path / "run", progress=SILENT)
    scores = {
        "as in the run": call("eval", ran.folder, "--json", "--quiet"),
        "draft": call("eval", ran.folder, "--data", data, "decode=draft", "--json", "--quiet"),
        "exact": call("eval", ran.folder, "--data", data, "--json", "--quiet"),
    }
    losses = {name: json.loads(result.stdout)["log_loss"] for name, result in scores.items()}
    assert losses["as in the run"] == pytest.approx(ran.metrics["test"]["log_loss"], abs=1e-4)
    assert losses["draft"] != losses["exact"]
    assert load_model(ran.folder).evaluate(data, decode="draft")["log_loss"] == losses["draft"]


@pytest.mark.parametrize("keep", ["auto", "off"])
def test_images_are_told_apart_by_names_from_drafts(keep: str, tiny: TinyModels, tmp_path: Path) -> None:
    data = _photos(tmp_path / "photos")
    recipe: dict[str, Any] = {"task": "zero-shot-image-classification", "model": str(tiny("clip-dual"))}
    recipe |= {"output": NO_PICTURES}
    recipe |= {"class_names": {"red": "film", "blue": "story"}}  # words that the tiny tokenizer knows
    losses = {}
    for decode in ("exact", "draft"):
        recipe |= {"data": {"source": str(data), "decode": decode, "on_error": "skip"}, "train": {"cache": keep}}
        losses[decode] = run(recipe, out=tmp_path / decode, progress=SILENT).metrics["test"]["log_loss"]
    assert losses["draft"] != losses["exact"]
    assert losses["draft"] == pytest.approx(losses["exact"], rel=0.05)


def test_settings_that_judge_nothing_are_refused(finished: Any, folder_data: Path) -> None:
    folder = finished("resnet").folder
    alone = call("eval", folder, "decode=draft", "limit=3")
    assert (
        missing_words(alone.stderr, ("data settings must be given together with --data; got decode=draft limit=3",))
        == []
    )
    odd = call("eval", folder, "--data", folder_data, "decode=fast", "limit=none")
    words = ("data.decode must be 'exact' or 'draft'; got 'fast'", "data.limit must be a valid integer")
    assert missing_words(odd.stderr, words) == []
    for name, told in (("decode", "data.decode must be 'exact' or 'draft'"), ("decod", "Did you mean 'decode'?")):
        with pytest.raises(RecipeError, match=re.escape(told)):
            load_model(folder).evaluate(folder_data, **dict[str, Any]({name: "fast"}))


@pytest.mark.parametrize("kind", ["images", "texts"])
def test_threads_share_a_model(kind: str, finished: Any, reviewed: Path) -> None:
    model = load_model(finished("resnet").folder if kind == "images" else reviewed)
    words = ("the film was great", "an awful dull story")
    inputs: list[list[Any]] = [[picture(color, 5)] * 8 for color in ("red", "blue")]
    inputs = inputs if kind == "images" else [[text] * 8 for text in words]
    predict: Callable[[list[Any]], list[Prediction]] = model.predict
    wanted = [predict(own) for own in inputs]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(predict, inputs * 10))
    assert [[one.label for one in own] for own in found] == [[one.label for one in own] for own in wanted * 10]


@pytest.mark.parametrize("kind", ["images", "texts"])
def test_threads_share_a_model_from_its_first_input_on(kind: str, finished: Any, reviewed: Path) -> None:
    folder = finished("resnet").folder if kind == "images" else reviewed
    inputs: list[Any] = [picture(color, 5) for color in ("red", "blue")] if kind == "images" else ["great", "dull"]
    wanted = [load_model(folder).predict(one).label for one in inputs]
    for _ in range(3):
        model: Any = load_model(folder)
        with ThreadPoolExecutor(4) as pool:
            assert [one.label for one in pool.map(model.predict, inputs * 20)] == wanted * 20


def test_threads_share_a_dual_encoder_from_its_first_image_on(tiny: TinyModels) -> None:
    images, names = [picture(color, 5) for color in ("red", "blue")], ["film", "story"]
    wanted = [load_dual_model(tiny("clip-dual")).predict(image, names).label for image in images]
    model = load_dual_model(tiny("clip-dual"))
    with ThreadPoolExecutor(4) as pool:
        assert [one.label for one in pool.map(lambda one: model.predict(one, names), images * 20)] == wanted * 20


# --- load ------------------------------------------------------------------------------------------------------------


def test_a_dual_encoder_loads_and_embeds(tiny: TinyModels) -> None:
    model = load_dual_model(tiny("clip-dual"))
    images = [picture("red", 1), picture("blue", 2)]
    assert model.predict(images, ["film", "story"]) == ht.zero_shot(tiny("clip-dual"), images, ["film", "story"])
    embedded, texts = model.embed_images(images), model.embed_texts(["film", "story", "actor"])
    assert embedded.shape == (2, texts.shape[1])
    assert (embedded**2).sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(DataError):
        model.embed_images([b"nothing"])


_LOADING = """
import json, os, sys
import hftransfer as ht
from hftransfer.base.errors import ModelError

def refuse(event, arguments):
    if event.startswith("socket."):
        raise AssertionError(event)

if os.environ["HF_HUB_OFFLINE"] == "1":
    sys.addaudithook(refuse)
found = {}
for name in ("nothing", "pickled", "code", "outside"):
    try:
        found[name] = str(ht.load(f"me/{name}"))
    except ModelError as error:
        found[name] = str(error)
found["imported early"] = "torch" in sys.modules if os.environ["HF_HUB_OFFLINE"] == "1" else False
for name in ("linear-probe", "fine-tune", "lora"):
    model = ht.load(f"me/{name}", base=sys.argv[2] if name == "lora" else None)
    found[name] = [one.scores for one in model.predict(sys.argv[3:])]
for name in ("me/dual", "open_clip:ViT-B-32/openai"):
    found[name] = ht.load(name).predict(sys.argv[3:4], ["film", "story"])[0].scores
open(sys.argv[1], "w").write(json.dumps(found))
"""


class _Marking:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def _hostile_repositories(base: Path, root: Path) -> dict[str, Path]:
    """Repositories that would run code, or read outside of themselves, if they were trusted."""
    for name in ("pickled", "code", "outside"):
        shutil.copytree(base, root / name)
        (root / name / "model.safetensors").unlink()
    for name in ("pytorch_model.bin", "model.pt", "adapter_model.bin"):
        (root / "pickled" / name).write_bytes(pickle.dumps({"a": _Marking(root / "mark")}))
    (root / "code" / "evil.py").write_text(f"open({str(root / 'mark')!r}, 'w')\nclass Model: pass\n")
    config = json.loads((base / "config.json").read_text())
    auto = {"AutoConfig": "evil.Model", "AutoModelForImageClassification": "evil.Model"}
    (root / "code" / "config.json").write_text(json.dumps(config | {"model_type": "evil", "auto_map": auto}))
    index = {"metadata": {}, "weight_map": {"vit.layernorm.weight": "../../../outside.safetensors"}}
    (root / "outside" / "model.safetensors.index.json").write_text(json.dumps(index))
    return {f"models/me/{name}": root / name for name in ("pickled", "code", "outside")}


@pytest.mark.slow
def test_models_on_the_hub_load_by_their_ids_and_then_without_it(
    tiny: TinyModels, folder_data: Path, tmp_path: Path
) -> None:
    document = {"task": "image-classification", "model": str(tiny("vit")), "data": str(folder_data)}
    images = [tmp_path / f"{color}.png" for color in ("red", "green", "blue")]
    for file in images:
        picture(file.stem, 3).save(file)
    repos, expected = {"models/me/dual": tiny("clip-dual")}, {}
    repos["models/timm/vit_base_patch32_clip_224.openai"] = tiny("open_clip")
    repos |= _hostile_repositories(tiny("vit"), tmp_path / "hostile")
    for strategy in ("linear-probe", "fine-tune", "lora"):
        settings = {"strategy": strategy, "train.epochs": 1, "train.precision": "fp32"}
        folder = run(document, settings, out=tmp_path / strategy, progress=SILENT).folder
        expected[strategy] = [one.scores for one in load_model(folder).predict(images)]
        repos[f"models/me/{strategy}"] = folder / "model"
    for name, model in (
        ("me/dual", tiny("clip-dual")),
        ("open_clip:ViT-B-32/openai", f"open_clip:local-dir:{tiny('open_clip')}"),
    ):
        expected[name] = [ht.zero_shot(model, images[:1], ["film", "story"])[0].scores]
    command = [sys.executable, "-c", _LOADING, str(tmp_path / "found.json"), str(tiny("vit")), *map(str, images)]
    with serve(repos) as hub:
        place = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
        for offline in ("0", "1"):
            environment = os.environ | place | {"HF_HUB_OFFLINE": offline}
            done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment, check=False)
            assert done.returncode == 0, done.stderr
            found = json.loads((tmp_path / "found.json").read_text())
            told = "not in the local cache" if offline == "1" else "a model on the Hub or an existing folder"
            assert missing_words(found.pop("nothing"), ("got 'me/nothing'", told)) == []
            for name, words in {
                "pickled": ("model.safetensors",),
                "code": ("model.safetensors",),
                "outside": ("must be an index of files beside it",),
            }.items():
                assert missing_words(found.pop(name), words) == []
            assert not found.pop("imported early")
            assert found.keys() == expected.keys()
            for name, scores in found.items():
                for one, other in zip(scores if isinstance(scores, list) else [scores], expected[name], strict=True):
                    assert one == pytest.approx(other, abs=1e-6), name
        assert not any(".bin" in request or ".pt" in request or ".py" in request for request in hub.requests)
    assert not (tmp_path / "hostile" / "mark").exists()


def test_what_is_left_out_of_an_evaluation_is_told(finished: Any, tmp_path: Path) -> None:
    data = write_classes(tmp_path / "data", {"red": 30, "blue": 30})
    (data / "red" / "broken.png").write_bytes(b"no picture")
    folder = finished("resnet").folder
    refused = call("eval", folder, "--data", data)
    assert refused.exit_code == 2
    assert "red/broken.png must be an image" in refused.stderr
    judged = call("eval", folder, "--data", data, "on_error=skip")
    assert judged.exit_code == 0
    assert "left out: red/broken.png must be an image" in judged.stderr


def test_the_text_of_a_request_is_never_looked_for_on_the_disk(tmp_path: Path) -> None:
    from hftransfer.predictors.server import _form_of, _of_one

    picture().save(tmp_path / "photo.png")
    wanted = Prediction("a", 1.0, {"a": 1.0})

    class Model:
        reader, facts = TEXTS, ModelFacts(task="text-classification")

        def predict_each(self, texts: list[str]) -> Iterator[Prediction]:
            return (wanted for _ in texts)

    model: Any = Model()
    assert _of_one(model, _form_of(model), {"text": str(tmp_path / "photo.png")}) == wanted
