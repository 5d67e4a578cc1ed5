"""A run from recipe to results."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import pytest
import safetensors.numpy
from PIL import Image
from safetensors.numpy import save_file

import hftransfer as ht
from hftransfer.adapters.libraries import quiet_transformers
from hftransfer.base.errors import DataError, ModelError
from hftransfer.base.progress import Progress
from hftransfer.jobs.run import run
from tests.builders import FAMILIES, encoded, faults_of, load_model, missing_words, picture, recipe_for, write_classes

COLORS = ("red", "green", "blue")


def images_of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.png"))


def weights_of(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


def without_clock(metrics: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if name not in ("seconds", "peak_memory_bytes")}


# --- what a run leaves -----------------------------------------------------------------------------------------------


def test_the_metrics_have_exactly_the_promised_keys(finished):
    result = finished("resnet")
    metrics = json.loads((result.folder / "metrics.json").read_text(encoding="utf-8"))
    assert metrics == result.metrics
    assert list(metrics) == [
        *("task", "model", "strategy", "test", "validation", "chance", "parameters"),
        *("seconds", "examples", "peak_memory_bytes"),
    ]
    assert metrics["task"] == "image-classification"
    assert metrics["strategy"] == "linear-probe"
    scores = {"accuracy", "balanced_accuracy", "macro_f1", "expected_calibration_error", "log_loss", "confusion_matrix"}
    scores |= {"roc_auc", "average_precision"}
    unseen = {"unseen_class_auroc", "unseen_class_auroc_by_class"}  # told of the test split alone
    assert set(metrics["test"]) - unseen == set(metrics["validation"]) == scores | {"accuracy_interval"}
    assert list(metrics["seconds"]) == ["data", "load", "activations", "train", "evaluate", "report", "total"]
    stages = [value for name, value in metrics["seconds"].items() if name != "total"]
    assert sum(stages) <= metrics["seconds"]["total"] + 0.01
    assert metrics["parameters"]["trainable"] == 24 * 3 + 3
    assert metrics["parameters"]["total"] > 10_000
    assert metrics["examples"] == {"train": 36, "validation": 15, "test": 18}
    assert np.sum(metrics["test"]["confusion_matrix"]) == 18
    assert metrics["peak_memory_bytes"] > 50e6
    assert all(0 <= metrics["test"][name] <= 1 for name in scores - {"log_loss", "confusion_matrix"})


@pytest.mark.parametrize("family", FAMILIES)
def test_a_linear_probe_tells_colors_apart(family, finished):
    assert finished(family).metrics["test"]["accuracy"] >= 0.9


def test_a_run_folder_holds_all_that_it_should(finished):
    folder = finished("resnet").folder
    names = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert names == {
        *("recipe.yaml", "environment.json", "metrics.json", "predictions.parquet", "log.txt", ".hftransfer.json"),
        *(f"figures/{name}.png" for name in ("confusion_matrix", "mistakes", "examples", "calibration", "l2")),
        "report.html",
        *(f"model/{name}" for name in ("config.json", "model.safetensors", "preprocessor_config.json", "README.md")),
        "model/features.safetensors",
        "model/hftransfer.json",
    }
    for figure in (folder / "figures").iterdir():
        with Image.open(figure) as image:
            assert image.format == "PNG"
            assert 300 < image.width < 3000
            assert 200 < image.height < 3000
            assert len(image.convert("RGB").resize((64, 64)).getcolors(64 * 64) or []) > 5


def test_the_environment_names_versions_but_no_person(finished):
    text = (finished("resnet").folder / "environment.json").read_text(encoding="utf-8")
    found = json.loads(text)
    assert set(found) == {
        "python",
        "platform",
        "versions",
        "git_commit",
        "device",
        "precision",
        "threads",
        "processes",
        "started",
    }
    assert {"hftransfer", "torch", "transformers", "timm", "numpy", "pillow"} <= set(found["versions"])
    assert found["precision"] == "fp32"
    assert str(Path.home()) not in text


def test_the_log_says_what_was_done(finished):
    log = (finished("resnet").folder / "log.txt").read_text(encoding="utf-8")
    words = (
        "class",
        "green",
        "ResNetForImageClassification",
        "1 process of 1 thread, fp32",
        "activations: 69",
        "solved: L2 strength",
    )
    assert missing_words(log, words) == []


def test_the_recipe_of_a_run_spells_out_what_was_run(finished):
    loaded = ht.load_recipe(finished("resnet").folder)
    assert loaded.recipe.data.validation_fraction == 0.15
    assert loaded.recipe.train.precision == "fp32"
    resolved = loaded.recipe.resolved
    assert resolved is not None
    assert len(resolved.weights_sha256) == len(resolved.data_fingerprint) == 64
    assert resolved.hftransfer_version == ht.__version__


# --- native checkpoints ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_plain_transformers_gives_the_same_probabilities(family, finished, folder_data):
    from transformers import pipeline

    folder = finished(family).folder
    images = images_of(folder_data)
    with quiet_transformers():
        classify = pipeline("image-classification", model=str(folder / "model"), device="cpu")
        theirs = [{entry["label"]: entry["score"] for entry in classify(str(image), top_k=None)} for image in images]
    ours = load_model(folder, precision="fp32").predict(images)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.scores == pytest.approx(other, abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_saved_model_predicts_what_the_run_measured(family, finished, folder_data):
    import pyarrow.parquet

    folder = finished(family).folder
    table = pyarrow.parquet.read_table(folder / "predictions.parquet").to_pylist()
    predictions = load_model(folder).predict([folder_data / row["id"] for row in table])
    for row, prediction in zip(table, predictions, strict=True):
        measured = {name: row[f"probability_{name}"] for name in COLORS}
        assert prediction.scores == pytest.approx(measured, abs=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_only_the_head_differs_from_the_pretrained_checkpoint(family, finished, tiny):
    before = safetensors.numpy.load_file(tiny(family) / "model.safetensors")
    after = safetensors.numpy.load_file(finished(family).folder / "model" / "model.safetensors")
    assert before.keys() == after.keys()
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert {name.rsplit(".", 1)[-1] for name in changed} == {"weight", "bias"}
    assert len(changed) == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_labels_survive_as_names(family, finished):
    config = json.loads((finished(family).folder / "model" / "config.json").read_text(encoding="utf-8"))
    names = config["label_names"] if family == "timm" else list(config["id2label"].values())
    assert names == ["blue", "green", "red"]
    assert load_model(finished(family).folder).class_names == ("blue", "green", "red")


@pytest.mark.usefixtures("without_figures")
def test_one_process_runs_recipes_of_several_precisions(tiny, flat_data, tmp_path, silent):
    for precision in ("fp32", "bf16", "fp32"):
        recipe = recipe_for(tiny("vit"), flat_data, epochs=1, precision=precision) | {"strategy": "fine-tune"}
        folder = run(recipe, out=tmp_path / "run", overwrite=True, progress=silent).folder
        assert json.loads((folder / "environment.json").read_text())["precision"] == precision


# --- repeating -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("cache", ["on", "off"])
def test_the_same_seed_gives_the_same_bits(tiny, flat_data, tmp_path, silent, cache, cache_of_its_own):
    results = [
        run(recipe_for(tiny("vit"), flat_data, cache=cache), out=tmp_path / name, progress=silent) for name in "ab"
    ]
    first, second = results
    assert weights_of(first.folder) == weights_of(second.folder)
    assert without_clock(first.metrics) == without_clock(second.metrics)
    stored = list((cache_of_its_own / "activations").glob("*/*.f32")) if cache_of_its_own.exists() else []
    assert len(stored) == (3 if cache == "on" else 0)


@pytest.mark.usefixtures("without_figures")
def test_activations_from_the_cache_give_what_computing_gives(tiny, flat_data, tmp_path, silent):
    kept = run(recipe_for(tiny("vit"), flat_data), out=tmp_path / "a", progress=silent)
    anew = run(recipe_for(tiny("vit"), flat_data, cache="off"), out=tmp_path / "b", progress=silent)
    assert weights_of(kept.folder) == weights_of(anew.folder)


@pytest.mark.usefixtures("without_figures")
def test_another_seed_splits_otherwise_without_computing_again(tiny, flat_data, tmp_path, silent, monkeypatch):
    first = run(recipe_for(tiny("vit"), flat_data), out=tmp_path / "a", progress=silent)
    monkeypatch.setattr("hftransfer.training.activations._forward", lambda *_: pytest.fail("computed again"))
    second = run(recipe_for(tiny("vit"), flat_data), {"train.seed": 1}, out=tmp_path / "b", progress=silent)
    ids = [pandas.read_parquet(result.folder / "predictions.parquet")["id"].tolist() for result in (first, second)]
    assert ids[0] != ids[1]


class Told(Progress):
    """Progress whose lines a test can read."""

    def __init__(self) -> None:
        super().__init__(None)
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)
        super().line(text)


@pytest.mark.usefixtures("without_figures")
def test_a_run_can_be_repeated_from_its_recipe_and_tells_what_differs(tiny, tmp_path, silent):
    data = write_classes(tmp_path / "data", {"red": 10, "blue": 10})
    first = run(recipe_for(tiny("vit"), data), out=tmp_path / "a", progress=silent)
    again = Told()
    second = run(first.folder / "recipe.yaml", out=tmp_path / "b", progress=again)
    assert weights_of(first.folder) == weights_of(second.folder)
    assert not [line for line in again.lines if "warning" in line]

    picture("red", 99).save(data / "red" / "new.png")
    changed = Told()
    run(first.folder, out=tmp_path / "c", progress=changed)
    (warning,) = [line for line in changed.lines if "warning" in line]
    assert "data_fingerprint differs from the run this recipe was written by" in warning

    shutil.copytree(tiny("resnet"), tmp_path / "model")
    other = Told()
    run(first.folder, {"model": str(tmp_path / "model")}, out=tmp_path / "d", progress=other)
    assert any("weights_sha256 differs" in line for line in other.lines)


@pytest.mark.usefixtures("without_figures")
def test_without_out_runs_lie_by_recipe_and_time(tiny, flat_data, tmp_path, silent, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pets.yaml").write_text(
        f"task: image-classification\nmodel: {tiny('vit')}\ndata: {flat_data}\ntrain: {{precision: fp32}}\n"
    )
    first = run("pets.yaml", progress=silent)
    second = run("pets.yaml", ["output.folder=elsewhere"], progress=silent)
    assert first.folder.parent == Path("runs/pets")
    assert second.folder.parent == Path("elsewhere/pets")
    repeated = run(first.folder, progress=silent)
    assert repeated.folder.parent == Path("runs/pets")
    assert repeated.folder != first.folder


@pytest.mark.usefixtures("without_figures")
def test_a_strength_can_be_given(tiny, flat_data, tmp_path):
    told = Told()
    run(recipe_for(tiny("vit"), flat_data), {"strategy.l2": 0.25}, out=tmp_path / "run", progress=told)
    assert any("L2 strength 0.25" in line for line in told.lines)


# --- faulty images ---------------------------------------------------------------------------------------------------


@pytest.fixture
def faulty(tmp_path):
    """60 images of which one is empty, one no image and one truncated."""
    root = tmp_path / "faulty"
    for split, size in (("train", 20), ("validation", 5), ("test", 5)):
        write_classes(root / split, {"red": size, "blue": size}, first_seed=100 * size)
    (root / "train" / "red" / "000.png").write_bytes(b"")
    (root / "test" / "blue" / "001.png").write_bytes(b"no image")
    whole = encoded(picture(size=(200, 200)))
    (root / "train" / "blue" / "002.png").write_bytes(whole[: len(whole) // 2])
    return root


@pytest.mark.usefixtures("without_figures")
def test_faulty_images_may_be_skipped_and_are_listed(tiny, faulty, tmp_path, silent):
    recipe = recipe_for(tiny("vit"), faulty)
    result = run(recipe, {"data.on_error": "skip"}, out=tmp_path / "run", progress=silent)
    assert result.metrics["examples"] == {"train": 38, "validation": 10, "test": 9}
    assert result.metrics["skipped"] == 3
    with (result.folder / "skipped.csv").open(encoding="utf-8") as file:
        entries = list(csv.DictReader(file))
    assert {(entry["split"], entry["id"]) for entry in entries} == {
        ("train", "train/red/000.png"),
        ("test", "test/blue/001.png"),
        ("train", "train/blue/002.png"),
    }
    assert all(entry["id"] in entry["reason"] for entry in entries)
    assert "unreadable and skipped: 3 (" in (result.folder / "log.txt").read_text()
    assert len(ht.check(recipe, {"data.on_error": "skip"}, progress=silent).skipped) == 3


def test_a_text_model_is_refused_before_the_data_are_read(tmp_path, flat_data, silent, monkeypatch):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    save_file({"x": np.zeros(1)}, tmp_path / "model.safetensors")
    monkeypatch.setattr("hftransfer.jobs.session.find_rows", lambda *_: pytest.fail("read the data"))
    with pytest.raises(ModelError, match="must be an image model"):
        run(recipe_for(tmp_path, flat_data), out=tmp_path / "run", progress=silent)


def test_faulty_headers_stop_a_run_before_the_model_is_loaded(tiny, faulty, tmp_path, silent, monkeypatch):
    monkeypatch.setattr("hftransfer.adapters.loading.load_adapter", lambda *_: pytest.fail("loaded the model"))
    with pytest.raises(DataError) as error:
        run(recipe_for(tiny("vit"), faulty), out=tmp_path / "run", progress=silent)
    assert missing_words(faults_of(error), ("train/red/000.png", "an empty file", "test/blue/001.png")) == []


def test_a_truncated_image_stops_a_run(tiny, faulty, tmp_path, silent):
    (faulty / "train" / "red" / "000.png").unlink()
    (faulty / "test" / "blue" / "001.png").unlink()
    with pytest.raises(DataError) as error:
        run(recipe_for(tiny("vit"), faulty), out=tmp_path / "run", progress=silent)
    assert missing_words(faults_of(error), ("train/blue/002.png must be a complete image", "`hftransfer check`")) == []


def test_a_check_names_every_faulty_image(tiny, faulty, silent):
    (faulty / "train" / "red" / "000.png").unlink()
    (faulty / "test" / "blue" / "001.png").unlink()
    whole = encoded(picture(size=(200, 200)))
    (faulty / "test" / "red" / "003.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError) as error:
        ht.check(recipe_for(tiny("vit"), faulty), progress=silent)
    assert missing_words(faults_of(error), ("train/blue/002.png", "test/red/003.png")) == []


def test_too_many_truncated_images_are_not_skipped(tiny, faulty, tmp_path, silent):
    whole = encoded(picture(size=(200, 200)))
    for number in range(5, 9):
        (faulty / "train" / "red" / f"{number:03d}.png").write_bytes(whole[: len(whole) // 2 + number])
    with pytest.raises(DataError, match="at most 5% of all rows; got 7 of 60"):
        run(recipe_for(tiny("vit"), faulty), {"data.on_error": "skip"}, out=tmp_path / "run", progress=silent)


def test_a_class_whose_images_all_turn_out_truncated_is_told(tiny, faulty, tmp_path, silent):
    (faulty / "train" / "rare").mkdir()
    whole = encoded(picture(size=(200, 200)))
    (faulty / "train" / "rare" / "0.png").write_bytes(whole[: len(whole) // 2 - 7])
    (faulty / "train" / "red" / "000.png").unlink()
    (faulty / "test" / "blue" / "001.png").unlink()
    with pytest.raises(DataError, match="readable images of every class; got none of rare"):
        run(recipe_for(tiny("vit"), faulty), {"data.on_error": "skip"}, out=tmp_path / "run", progress=silent)


# --- data from Python ------------------------------------------------------------------------------------------------


def pairs(count: int, first: int = 0) -> list[tuple[Image.Image, str]]:
    return [(picture(color, first + number), color) for number in range(count) for color in COLORS]


def memory(form: str) -> Any:
    match form:
        case "pairs":
            return pairs(10)
        case "frame":
            return pandas.DataFrame(pairs(10), columns=["image", "label"])
        case "dataset":
            images, names = zip(*pairs(10), strict=True)
            features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(COLORS))})
            ids = [COLORS.index(name) for name in names]
            return datasets.Dataset.from_dict({"image": list(images), "label": ids}, features=features)
        case _:
            return {"train": pairs(8), "validation": pairs(2, 50), "test": pairs(3, 90)}


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("form", ["pairs", "frame", "dataset", "splits"])
def test_data_may_come_from_python(form, tiny, tmp_path, silent):
    recipe = {"task": "image-classification", "model": str(tiny("vit")), "train": {"precision": "fp32"}}
    result = run(recipe, data=memory(form), out=tmp_path / "run", progress=silent)
    assert result.metrics["test"]["accuracy"] > 0.6
    assert set(load_model(result.folder).class_names) == set(COLORS)
    assert "source: memory" in (result.folder / "recipe.yaml").read_text(encoding="utf-8")


@pytest.mark.usefixtures("without_figures")
def test_numbers_as_labels_end_as_names(tiny, tmp_path, silent):
    rows = [(image, COLORS.index(name) * 5) for image, name in pairs(10)]
    result = run(recipe_for(tiny("vit"), "memory"), data=rows, out=tmp_path / "run", progress=silent)
    assert load_model(result.folder).class_names == ("0", "5", "10")


@pytest.mark.usefixtures("without_figures")
def test_a_validation_split_may_lack_a_class(tiny, tmp_path, silent):
    parts = {"train": pairs(8), "validation": [row for row in pairs(4, 50) if row[1] != "red"], "test": pairs(3, 90)}
    result = run(recipe_for(tiny("vit"), "memory"), data=parts, out=tmp_path / "run", progress=silent)
    assert np.shape(result.metrics["validation"]["confusion_matrix"]) == (3, 3)
    assert load_model(result.folder).class_names == ("blue", "green", "red")


@pytest.mark.usefixtures("without_figures")
def test_more_than_five_classes_tell_their_top_five(tiny, tmp_path, silent):
    rows = [(picture(list(COLORS)[i % 3], 10 * i + k), f"kind {i}") for i in range(7) for k in range(8)]
    result = run(
        recipe_for(tiny("vit"), "memory"), {"strategy.l2": 1}, data=rows, out=tmp_path / "run", progress=silent
    )
    assert result.metrics["test"]["top_5_accuracy"] >= result.metrics["test"]["accuracy"]


@pytest.mark.usefixtures("without_figures")
def test_file_names_in_any_encoding_end_well_or_are_told_first(tiny, tmp_path, silent, monkeypatch):
    """A name of bytes that are no UTF-8, as unzipped on another system, must not fail a run at its end."""
    data = write_classes(tmp_path / "data", {"red": 10, "blue": 10})
    try:
        (data / "red" / "000.png").rename(data / "red" / b"caf\xe9.png".decode("utf-8", "surrogateescape"))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    try:
        run(recipe_for(tiny("vit"), data), {"data.test_fraction": 0.5}, out=tmp_path / "run", progress=silent)
    except ht.HftransferError as error:
        assert "caf" in str(error)  # noqa: PT017


# --- checking and the public names -----------------------------------------------------------------------------------


def test_a_check_gives_the_splits_and_writes_nothing(tiny, folder_data, silent, cache_of_its_own):
    splits = ht.check(recipe_for(tiny("vit"), folder_data), progress=silent)
    assert splits.sizes() == {"train": 36, "validation": 15, "test": 18}
    assert splits.class_names == ("blue", "green", "red")
    assert not (cache_of_its_own / "activations").exists()


def test_the_public_names_are_few():
    public = set(ht.__all__)
    assert {"run", "load", "check", "audit", "HftransferError", "__version__"} <= public
    assert len(public - {"__version__"}) <= 48  # a function for each command; each task may bring what it predicts
    assert all(getattr(ht, name) is not None for name in public)
    assert set(dir(ht)) >= public


def test_an_unknown_public_name_is_told():
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        ht.train  # noqa: B018


def test_the_version_is_that_of_the_package():
    from importlib.metadata import version

    assert ht.__version__ == version("hftransfer")
