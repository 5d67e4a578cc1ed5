"""What people get wrong: each told with place, cause and remedy, exit status 2 and no traceback."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hftransfer.cli import app
from tests.builders import bomb, encoded, missing_words, picture, write_classes


class Desk:
    """A sound recipe, model and data set in a folder of a test's own, to be spoiled."""

    def __init__(self, root: Path, model: Path) -> None:
        self.root = root
        self.model = root / "model"
        shutil.copytree(model, self.model)
        self.data = write_classes(root / "data", {"red": 10, "blue": 10})
        self.recipe = root / "mine.yaml"
        self.recipe.write_text(
            f"task: image-classification\nmodel: {self.model}\ndata:\n  source: {self.data}\n"
            "strategy:\n  kind: linear-probe\ntrain:\n  precision: fp32\n"
        )
        self.overrides: list[str] = []
        self.out = root / "run"

    def replace(self, old: str, new: str) -> None:
        text = self.recipe.read_text()
        assert old in text
        self.recipe.write_text(text.replace(old, new))

    def splits(self) -> None:
        """The data in train, validation and test."""
        shutil.rmtree(self.data)
        for name in ("train", "validation", "test"):
            write_classes(self.data / name, {"red": 4, "blue": 4}, first_seed=len(name) * 100)

    def table(self, text: str, name: str = "labels.csv") -> None:
        """A table beside the images as the data."""
        (self.root / name).write_text(text)
        self.overrides.append(f"data.source={self.root / name}")


@pytest.fixture
def desk(tmp_path, tiny):
    return Desk(tmp_path, tiny("vit"))


def _missing_recipe(desk: Desk) -> None:
    desk.recipe = desk.root / "cats_dogs_linear_prob.yaml"


def _unknown_key(desk: Desk) -> None:
    desk.replace("precision", "presision")


def _unknown_task(desk: Desk) -> None:
    desk.replace("task: image-classification", "task: image-clasification")


def _unknown_strategy(desk: Desk) -> None:
    desk.replace("linear-probe", "linear-prob")


def _unknown_model(desk: Desk) -> None:
    desk.overrides.append("model=bundled/efficientnet-lite1")


def _missing_model(desk: Desk) -> None:
    desk.overrides.append("model=./nowhere")


def _unknown_column(desk: Desk) -> None:
    desk.table("image,label\ndata/red/000.png,red\n")
    desk.overrides.append("data.label_column=lable")


def _mixed_labels(desk: Desk) -> None:
    desk.table('{"image": "data/red/000.png", "label": 1}\n{"image": "data/blue/000.png", "label": "b"}\n', "l.jsonl")


def _empty_folder(desk: Desk) -> None:
    shutil.rmtree(desk.data)
    desk.data.mkdir()


def _one_class(desk: Desk) -> None:
    shutil.rmtree(desk.data / "red")


def _class_only_in_test(desk: Desk) -> None:
    desk.splits()
    write_classes(desk.data / "test", {"green": 2})


def _loose_file(desk: Desk) -> None:
    (desk.data / "labels.txt").touch()


def _corrupt_image(desk: Desk) -> None:
    (desk.data / "red" / "003.png").write_bytes(b"no image at all")


def _empty_image(desk: Desk) -> None:
    (desk.data / "red" / "003.png").write_bytes(b"")


def _truncated_image(desk: Desk) -> None:
    content = encoded(picture(size=(200, 200)))
    (desk.data / "red" / "003.png").write_bytes(content[: len(content) // 2])


def _bomb(desk: Desk) -> None:
    (desk.data / "red" / "003.png").write_bytes(bomb())


def _link_out(desk: Desk) -> None:
    picture().save(desk.root / "secret.png")
    (desk.data / "red" / "link.png").symlink_to(desk.root / "secret.png")


def _unwritable_output(desk: Desk) -> None:
    (desk.root / "file").touch()
    desk.out = desk.root / "file" / "run"


def _file_as_output(desk: Desk) -> None:
    desk.out.touch()


def _foreign_output(desk: Desk) -> None:
    desk.out.mkdir()
    (desk.out / "thesis.txt").touch()


def _model_without_weights(desk: Desk) -> None:
    (desk.model / "model.safetensors").unlink()


def _model_of_pickles(desk: Desk) -> None:
    (desk.model / "model.safetensors").rename(desk.model / "pytorch_model.bin")


def _truncated_model(desk: Desk) -> None:
    content = (desk.model / "model.safetensors").read_bytes()
    (desk.model / "model.safetensors").write_bytes(content[:1000])


def _text_model(desk: Desk) -> None:
    (desk.model / "config.json").write_text('{"model_type": "bert"}')


def _fraction_too_small(desk: Desk) -> None:
    desk.overrides.append("data.validation_fraction=0.02")


def _fraction_of_all(desk: Desk) -> None:
    desk.overrides.append("data.test_fraction=1")


def _wrong_type(desk: Desk) -> None:
    desk.overrides.append("train.seed=soon")


def _gone_data(desk: Desk) -> None:
    shutil.rmtree(desk.data)


def _bf16_misspelt(desk: Desk) -> None:
    desk.replace("fp32", "bf61")


Spoil = Callable[[Desk], None]
TOLD: list[tuple[Spoil, tuple[str, ...]]] = [
    (_missing_recipe, ("the recipe must be an existing file", "cats_dogs_linear_prob", "'cats_dogs_linear_probe'?")),
    (_unknown_key, ("mine.yaml:8: train.presision must be a key of train", "Did you mean 'precision'?")),
    (
        _unknown_task,
        (
            "mine.yaml:1: task must be image-classification or text-classification or",
            "Did you mean",
        ),
    ),
    (
        _unknown_strategy,
        (
            "mine.yaml:6: strategy.kind must be linear-probe or fine-tune or lora or contrastive; got 'linear-prob'",
            "Did you mean",
        ),
    ),
    (_unknown_model, ("model must be a bundled model; got 'bundled/efficientnet-lite1'", "Did you mean 'bundled/eff")),
    (_missing_model, ("model must be an existing folder, a Hub id", "got './nowhere'", "The current folder is")),
    (
        _unknown_column,
        ("data.label_column must be a column of", "(image, label); got 'lable'", "Did you mean 'label'?"),
    ),
    (
        _mixed_labels,
        ("l.jsonl:2: column 'label' must be of one type: int", "got 'b' (str)", "Write all labels as names"),
    ),
    (_empty_folder, ("/data must be a folder with a folder of images per class; got an empty folder",)),
    (_one_class, ("the training data must be of two or more classes; got one class, 'blue'", "at least two classes")),
    (_class_only_in_test, ("the class 'green' of the test split (2 examples) must be one of the training", "never")),
    (_loose_file, ("/data must be a folder of class folders; got the file labels.txt", "Move it into the folder")),
    (_corrupt_image, ("red/003.png must be an image that Pillow reads; got something else", "data.on_error: skip")),
    (_empty_image, ("red/003.png must be an image; got an empty file", "Fix or remove the file")),
    (_truncated_image, ("red/003.png must be a complete image; got one that can't be decoded", "data.on_error: skip")),
    (_bomb, ("red/003.png must be an image of at most", "got more (not decoded)", "Scale it down first")),
    (_link_out, ("red/link.png must be inside", "got", "secret.png", "data.allow_outside_paths: true")),
    (_model_without_weights, ("/model' must be a folder with model.safetensors; got none there", "random")),
    (
        _model_of_pickles,
        ("/model' must be a folder with model.safetensors", "pytorch_model.bin is a pickle", "convert"),
    ),
    (_text_model, ("model for task image-classification must be an image model", "(bert)", "Try bundled/eff")),
    (
        _fraction_too_small,
        (
            "data.validation_fraction must be a fraction that leaves examples of each class",
            "got 0.02",
            "Choose one between",
        ),
    ),
    (_fraction_of_all, ("override data.test_fraction must be a number below 1", "got 1")),
    (_wrong_type, ("override train.seed must be a", "number", "got 'soon'")),
    (_gone_data, ("data.source must be an existing folder", "/data'")),
    (
        _bf16_misspelt,
        ("mine.yaml:8: train.precision must be auto or fp32 or bf16 or fp16; got 'bf61'", "Did you mean 'bf16'?"),
    ),
]
ONLY_RUN: list[tuple[Spoil, tuple[str, ...]]] = [
    (_truncated_model, ("/model' must be a folder with complete weights; got weights that are truncated or damaged",)),
    (_unwritable_output, ("the output folder", "/file/run must be writable; got", "--out or output.folder")),
    (_file_as_output, ("the output folder", "/run must be a folder; got a file")),
    (
        _foreign_output,
        ("/run must be new, empty or the folder of an earlier run; got other files", "Choose another folder"),
    ),
]


def name_of(value: object) -> str:
    return getattr(value, "__name__", "").strip("_").replace("_", " ")


def ended(desk: Desk, *command: object) -> str:
    """What a command that must fail wrote to standard error."""
    result = CliRunner().invoke(app, [*map(str, command), *desk.overrides])
    assert result.exit_code == 2, result.stderr or repr(result.exception)
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return str(result.stderr)


@pytest.mark.parametrize(("spoil", "words"), [*TOLD, *ONLY_RUN], ids=name_of)
def test_a_run_tells_what_is_wrong(desk, spoil, words):
    spoil(desk)
    text = ended(desk, "run", desk.recipe, "--out", desk.out)
    assert missing_words(text, ("error: ", *words)) == []


@pytest.mark.parametrize(("spoil", "words"), TOLD, ids=name_of)
def test_a_check_tells_it_too(desk, spoil, words):
    spoil(desk)
    assert missing_words(ended(desk, "check", desk.recipe), ("error: ", *words)) == []


@pytest.mark.usefixtures("without_figures")
def test_what_is_sound_runs(desk):
    """The desk before it is spoiled."""
    result = CliRunner().invoke(app, ["run", str(desk.recipe), "--out", str(desk.out)])
    assert result.exit_code == 0, result.stderr


def test_a_model_without_head_is_told_when_predicting(desk):
    """A backbone alone can be trained on, but predicts nothing."""
    import safetensors.torch

    weights = safetensors.torch.load_file(desk.model / "model.safetensors")
    backbone = {name: tensor for name, tensor in weights.items() if not name.startswith("classifier")}
    safetensors.torch.save_file(backbone, desk.model / "model.safetensors", metadata={"format": "pt"})
    text = ended(desk, "predict", desk.model, desk.data / "red" / "000.png")
    words = ("/model' must be a checkpoint with all its head weights; got no head weights classifier", "random")
    assert missing_words(text, words) == []


def test_faults_of_model_and_data_are_told_together(desk):
    _model_without_weights(desk)
    _gone_data(desk)
    text = ended(desk, "run", desk.recipe, "--out", desk.out)
    assert missing_words(text, ("model.safetensors", "data.source must be an existing folder")) == []
    assert len(text.splitlines()) == 2


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_leave_to_write_is_told(desk):
    desk.out = desk.root / "locked" / "run"
    desk.out.parent.mkdir(mode=0o500)
    text = ended(desk, "run", desk.recipe, "--out", desk.out)
    assert missing_words(text, ("must be writable; got Permission denied",)) == []


def test_an_unwritable_cache_is_told(desk, monkeypatch):
    (desk.root / "file").touch()
    monkeypatch.setenv("HFTRANSFER_CACHE", str(desk.root / "file" / "cache"))
    text = ended(desk, "run", desk.recipe, "--out", desk.out, "--quiet")
    assert missing_words(text, ("the cache folder", "must be writable", "HFTRANSFER_CACHE")) == []


@pytest.mark.parametrize("spoil", [_corrupt_image, _class_only_in_test, _truncated_image], ids=name_of)
def test_what_fails_leaves_no_output(desk, spoil):
    spoil(desk)
    ended(desk, "run", desk.recipe, "--out", desk.out)
    assert not desk.out.exists()
