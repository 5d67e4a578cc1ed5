"""Run folders, and trained models loaded back from them."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import torch
from safetensors import SafetensorError

from hftransfer.base.errors import DataError, ModelError, OutputError, WriteError
from hftransfer.base.run_folder import RunFolder, write_table
from hftransfer.data.rows import BytesContent, Row
from hftransfer.data.splits import Split
from hftransfer.jobs.run import run
from hftransfer.tasks.image_classification import ImageClassification
from hftransfer.tasks.outcomes import Prediction
from tests.builders import encoded, faults_of, load_model, missing_words, picture, recipe_for

MANIFEST = ".hftransfer.json"


def names_below(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def config_of(text: str) -> Callable[[Path], None]:
    """Writes a model folder of one file."""

    def save(draft: Path) -> None:
        (draft / "config.json").write_text(text)

    return save


def written(path: Path, files: dict[str, str], *, overwrite: bool = False) -> RunFolder:
    """A run folder whose results are these files."""
    folder = RunFolder.create(path, overwrite=overwrite)
    with folder.results():
        for name, text in files.items():
            folder.write_text(name, text)
    return folder


def refused(path: Path, *, overwrite: bool = False) -> str:
    with pytest.raises(OutputError) as error:
        RunFolder.create(path, overwrite=overwrite)
    return faults_of(error)


# --- where a run may lie ---------------------------------------------------------------------------------------------


def test_a_run_folder_knows_its_files(tmp_path):
    folder = RunFolder.create(tmp_path / "new" / "run")
    with folder.results():
        folder.write_text("notes.txt", "ü\n")
        folder.write_json("deep/metrics.json", {"name": "猫"})
        folder.write_folder("model", config_of("{}"))
        assert not (folder.path / "notes.txt").exists()
    assert (folder.path / "notes.txt").read_text(encoding="utf-8") == "ü\n"
    assert json.loads((folder.path / "deep" / "metrics.json").read_text(encoding="utf-8")) == {"name": "猫"}
    written = names_below(folder.path)
    assert written == {"notes.txt", "deep/metrics.json", "model/config.json", MANIFEST}
    assert set(json.loads((folder.path / MANIFEST).read_text())["files"]) == written - {MANIFEST}


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), SafetensorError("I/O error")])
def test_results_that_could_not_be_written_change_nothing(tmp_path, fault):
    written(tmp_path / "run", {"old.txt": "old"})
    folder = RunFolder.create(tmp_path / "run", overwrite=True)

    def fail(draft: Path) -> None:
        (draft / "half").touch()
        raise fault

    def write() -> None:
        with folder.results():
            folder.write_text("new.txt", "new")
            folder.write_folder("model", fail)

    with pytest.raises(WriteError) as error:
        write()
    assert missing_words(faults_of(error), (f"the results in {folder.path} must be complete; got",)) == []
    assert "--resume" not in faults_of(error)  # whether there is a checkpoint to go on from, the run knows
    assert names_below(folder.path) == {"old.txt", MANIFEST}


def test_a_folder_in_which_nothing_can_be_made_stays_as_it_is(tmp_path, monkeypatch):
    written(tmp_path / "run", {"old.txt": "old"})
    (tmp_path / "run" / "thesis.txt").write_text("theirs")
    folder = RunFolder.create(tmp_path / "run", overwrite=True)

    def full(*_: Any, **__: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with pytest.raises(WriteError), folder.results():
        pass
    assert names_below(folder.path) == {"old.txt", "thesis.txt", MANIFEST}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_other_files_is_refused(tmp_path, overwrite):
    (tmp_path / "thesis.txt").touch()
    words = (
        f"the output folder {tmp_path} must be new, empty or the folder of an earlier run; got other files",
        "never touches files",
    )
    assert missing_words(refused(tmp_path, overwrite=overwrite), words) == []
    assert (tmp_path / "thesis.txt").exists()


def test_an_earlier_run_is_replaced_only_when_asked(tmp_path):
    written(tmp_path / "run", {"old.txt": "old"})
    assert missing_words(refused(tmp_path / "run"), ("must be new or empty; got an earlier run", "--overwrite")) == []
    written(tmp_path / "run", {"new.txt": "new"}, overwrite=True)
    assert names_below(tmp_path / "run") == {"new.txt", MANIFEST}


def test_an_earlier_run_stays_until_there_are_results(tmp_path):
    written(tmp_path / "run", {"old.txt": "old"})
    RunFolder.create(tmp_path / "run", overwrite=True)
    assert (tmp_path / "run" / "old.txt").read_text() == "old"


def test_overwriting_deletes_only_the_runs_own_files(tmp_path):
    written(tmp_path / "run", {"figures/old.png": "ours", "model/config.json": "{}"})
    (tmp_path / "run" / "figures" / "mine.png").write_text("theirs")
    (tmp_path / "run" / "model" / "notes.txt").write_text("theirs")
    (tmp_path / "run" / "thesis.txt").write_text("theirs")
    written(tmp_path / "run", {"model/config.json": "new"}, overwrite=True)
    assert names_below(tmp_path / "run") == {
        "figures/mine.png",
        "model/notes.txt",
        "model/config.json",
        "thesis.txt",
        MANIFEST,
    }
    assert (tmp_path / "run" / "model" / "config.json").read_text() == "new"


@pytest.mark.usefixtures("without_figures")
def test_a_whole_run_can_be_overwritten_beside_foreign_files(tiny, flat_data, tmp_path, silent):
    recipe = recipe_for(tiny("resnet"), flat_data)
    run(recipe, out=tmp_path / "run", progress=silent)
    (tmp_path / "run" / "figures").mkdir()
    for name in ("mine.txt", "model/mine.txt", "figures/mine.txt"):
        (tmp_path / "run" / name).write_text("theirs")
    run(recipe, {"train.seed": 1}, out=tmp_path / "run", overwrite=True, progress=silent)
    for name in ("mine.txt", "model/mine.txt", "figures/mine.txt"):
        assert (tmp_path / "run" / name).read_text() == "theirs"
    assert "seed: 1" in (tmp_path / "run" / "recipe.yaml").read_text()


@pytest.mark.parametrize("name", ["../outside.txt", "sub/../../outside.txt", "{root}/outside.txt", "link/outside.txt"])
@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_manifest_cannot_delete_outside_its_folder(tmp_path, name, kind):
    outside = tmp_path / "outside.txt"
    if kind == "file":
        outside.write_text("kept")
    else:
        (tmp_path / "target").touch()
        outside.symlink_to(tmp_path / "target")
    path = tmp_path / "run"
    written(path, {})
    (path / "sub").mkdir()
    (path / "link").symlink_to(tmp_path)
    (path / MANIFEST).write_text(json.dumps({"files": [name.format(root=tmp_path), "..", "."]}))
    written(path, {}, overwrite=True)
    assert outside.is_symlink() or outside.read_text() == "kept"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"files": 3}', "\xff"])
def test_a_manifest_that_is_none_is_told(tmp_path, content):
    written(tmp_path / "run", {"old.txt": "old"})
    (tmp_path / "run" / MANIFEST).write_text(content, encoding="latin-1")
    assert "must be the list of a run's files; got something else" in refused(tmp_path / "run", overwrite=True)
    assert (tmp_path / "run" / "old.txt").exists()


def test_a_file_in_place_of_the_folder_is_told(tmp_path):
    (tmp_path / "run").touch()
    assert "must be a folder; got a file" in refused(tmp_path / "run")


def test_a_folder_that_can_not_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    words = (f"the output folder {tmp_path}/file/run must be writable; got", "--out or output.folder")
    assert missing_words(refused(tmp_path / "file" / "run"), words) == []


def test_dated_folders_never_collide(tmp_path):
    paths = [RunFolder.create_dated(tmp_path, "pets").path for _ in range(4)]
    assert len(set(paths)) == 4
    assert all(path.parent == tmp_path / "pets" for path in paths)


def test_a_run_that_fails_leaves_nothing_behind(tiny, tmp_path, silent):
    (tmp_path / "data" / "cat").mkdir(parents=True)
    with pytest.raises(DataError):
        run(recipe_for(tiny("resnet"), tmp_path / "data"), out=tmp_path / "run", progress=silent)
    assert not (tmp_path / "run").exists()


# --- predictions as a table ------------------------------------------------------------------------------------------


def test_predictions_are_a_table_of_ids_labels_and_probabilities(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    rows = [Row(name, BytesContent(b""), "") for name in ("a.png", "b.png", "c.png")]
    split = Split(rows, np.array([0, 1, 1]), [b""] * 3)
    values = np.array([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2]])
    examples: Any = SimpleNamespace(split=split)
    task = ImageClassification()
    judged = task.judge(task.decode(list(np.log(values)), range(3), examples), examples, ["small cat", "dog"])
    with folder.results():
        write_table(folder, "predictions.parquet", judged.columns)
    table = pyarrow.parquet.read_table(folder.path / "predictions.parquet").to_pydict()
    assert table == {
        "id": ["a.png", "b.png", "c.png"],
        "label": ["small cat", "dog", "dog"],
        "prediction": ["small cat", "dog", "small cat"],
        "probability_small cat": pytest.approx([0.9, 0.4, 0.8]),
        "probability_dog": pytest.approx([0.1, 0.6, 0.2]),
    }


def test_the_predictions_of_a_run_agree_with_its_metrics(finished):
    result = finished("vit")
    table = pyarrow.parquet.read_table(result.folder / "predictions.parquet").to_pydict()
    assert list(table) == ["id", "label", "prediction", "probability_blue", "probability_green", "probability_red"]
    right = sum(label == found for label, found in zip(table["label"], table["prediction"], strict=True))
    assert result.metrics["test"]["accuracy"] == pytest.approx(right / len(table["id"]))
    assert len(table["id"]) == result.metrics["examples"]["test"] == 18
    assert table["id"][0] == "test/blue/000.png"
    sums = np.sum([table[f"probability_{name}"] for name in ("blue", "green", "red")], axis=0)
    assert sums == pytest.approx(1.0)


# --- loading ---------------------------------------------------------------------------------------------------------


def test_a_trained_model_predicts_any_kind_of_image(finished, tmp_path):
    predictor = load_model(finished("resnet").folder)
    image = picture("green", 77)
    image.save(tmp_path / "x.png")
    given = [image, np.asarray(image), encoded(image), tmp_path / "x.png", str(tmp_path / "x.png")]
    predictions = predictor.predict(given)
    assert [prediction.label for prediction in predictions] == ["green"] * 5
    alone = predictor.predict(image)
    for prediction in predictions:
        assert prediction.scores == pytest.approx(alone.scores, abs=1e-5)
    assert predictor.class_names == ("blue", "green", "red")


def test_a_prediction_holds_the_probabilities_of_all_classes(finished):
    (prediction,) = load_model(finished("vit").folder).predict([picture("red")])
    assert isinstance(prediction, Prediction)
    assert set(prediction.scores) == {"red", "green", "blue"}
    assert sum(prediction.scores.values()) == pytest.approx(1.0)
    assert prediction.score == max(prediction.scores.values()) == prediction.scores[prediction.label]


def test_more_images_than_a_batch_keep_their_order(finished):
    predictor = load_model(finished("resnet").folder)
    images = [picture(color, seed) for seed in range(12) for color in ("red", "green", "blue")]
    together = predictor.predict(images)
    alone = [predictor.predict(image) for image in images]
    assert len(together) == 36
    assert all(one.scores == pytest.approx(other.scores, abs=1e-4) for one, other in zip(together, alone, strict=True))


def test_no_images_give_no_predictions(finished):
    assert load_model(finished("resnet").folder).predict([]) == []


def test_all_unreadable_images_are_told(finished, tmp_path):
    (tmp_path / "empty.png").touch()
    given = [picture(), tmp_path / "empty.png", tmp_path / "gone.png", b"no image", 3]
    with pytest.raises(DataError) as error:
        load_model(finished("resnet").folder).predict(given)
    words = (
        "empty.png must be an image",
        "gone.png must be a readable image file",
        "image 3 must be",
        "image 4 must be",
    )
    assert missing_words(faults_of(error), words) == []
    assert len(error.value.faults) == 4


def test_a_model_folder_loads_like_its_run(finished):
    result = finished("timm")
    image = picture("blue", 5)
    by_run, by_model = load_model(result.folder), load_model(str(result.folder / "model"))
    assert by_run.predict(image) == by_model.predict(image)


@pytest.mark.parametrize("family", ["resnet", "vit", "timm"])
def test_one_prediction_takes_one_forward_pass_and_loading_none(family, finished):
    calls: list[str] = []
    folder = finished(family).folder  # the first who asks for it waits for its training

    def counted(module: torch.nn.Module, _: object) -> None:
        if type(module).__name__.endswith("ForImageClassification"):
            calls.append(type(module).__name__)

    with torch.nn.modules.module.register_module_forward_pre_hook(counted):
        model = load_model(folder)
        assert calls == []
        model.predict(picture("blue", 5))
    assert len(calls) == 1


@pytest.mark.parametrize("family", ["resnet", "vit", "timm"])
def test_bf16_predictions_are_close_to_fp32(family, finished):
    images = [picture(color, 50 + seed) for seed in range(6) for color in ("red", "green", "blue")]
    exact = load_model(finished(family).folder, precision="fp32").predict(images)
    fast = load_model(finished(family).folder, precision="bf16").predict(images)
    assert [one.label for one in exact] == [one.label for one in fast]


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(
        ModelError, match=r"the model must be a run folder, a model folder or a Hub id; got .*no such folder"
    ):
        load_model(tmp_path / "nowhere")


def test_a_folder_without_model_is_told(tmp_path):
    with pytest.raises(ModelError, match=r"config\.json"):
        load_model(tmp_path)


def test_a_run_that_did_not_finish_is_told(tmp_path):
    written(tmp_path / "run", {})
    with pytest.raises(ModelError, match=r"one with a trained model; got none\. The run did not finish"):
        load_model(tmp_path / "run")


def test_a_trained_model_whose_head_is_gone_is_told(finished, tmp_path):
    import safetensors.torch

    shutil.copytree(finished("resnet").folder / "model", tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    weights = safetensors.torch.load_file(file)
    safetensors.torch.save_file({name: t for name, t in weights.items() if "classifier" not in name}, file)
    with pytest.raises(ModelError, match="all its head weights"):
        load_model(tmp_path / "model")
