"""A trained model in other forms: merged, and as a graph of ONNX."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import hftransfer as ht
from hftransfer.base.progress import Progress
from hftransfer.cli import app
from hftransfer.jobs.run import run
from hftransfer.predictors import export
from hftransfer.predictors.export import ExportError, export_merged, export_onnx
from hftransfer.tasks import head_task
from tests.builders import NO_PICTURES, TinyModels, load_model, missing_words, picture, slowly

SILENT = Progress(None)


def call(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def _session(folder: Path) -> Any:
    onnxruntime = pytest.importorskip("onnxruntime")
    return onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])


def _softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    found: np.ndarray = raised / raised.sum(axis=-1, keepdims=True)
    return found


@pytest.mark.parametrize("family", ["vit", "resnet", "timm_resnet"])
@pytest.mark.slow
def test_the_graph_of_an_image_model_predicts_as_it_does(
    tiny: TinyModels, folder_data: Path, tmp_path: Path, without_figures: None, family: str
) -> None:
    recipe = {"task": "image-classification", "model": str(tiny(family)), "data": str(folder_data)}
    folder = run(recipe, {"train.precision": "fp32"}, out=tmp_path / "run", progress=SILENT).folder
    facts = folder / "model" / "hftransfer.json"
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"pixels": [0, 4095]}))  # of deep greyscale images
    found = call("export", folder, "--out", tmp_path / "onnx", "--quiet")
    assert found.exit_code == 0, found.output
    assert "largest logit difference" in found.stdout
    assert "16 examples of its data" in found.stdout
    said = json.loads((tmp_path / "onnx" / "onnx.json").read_text())
    assert said["labels"] == ["blue", "green", "red"]
    assert said["inputs"] == ["pixel_values"]
    assert said["pixels"] == [0, 4095]
    assert said["max_difference"] < 1e-3
    predictor = load_model(folder)
    images = [picture(color, 70 + seed) for seed in range(7) for color in ("red", "green")]
    logits = _session(tmp_path / "onnx").run(
        None, {"pixel_values": predictor.adapter.encode(images)["pixel_values"].numpy()}
    )
    for row, prediction in zip(_softmax(logits[0]).tolist(), predictor.predict(images), strict=True):
        assert dict(zip(said["labels"], row, strict=True)) == pytest.approx(prediction.scores, abs=1e-5)


@pytest.mark.parametrize("of", ["texts", *slowly("images")])
def test_a_batch_is_of_any_size_for_layers_of_our_own_too(tiny: TinyModels, tmp_path: Path, of: str) -> None:
    """The last token of a text, and a ViT's tokens as a map: torch takes len() of a tensor for a constant."""
    if of == "texts":
        task, family, rows = "text-classification", "gpt2", [("good film", "pos"), ("a bad story", "neg")] * 10
        strategy: Any = {"kind": "linear-probe", "pooling": "last"}
    else:
        task, family, rows = "image-segmentation", "vit", head_task("image-segmentation").made_up(12)
        strategy = "linear-probe"
    model = ht.fit(task, model=str(tiny(family)), train=rows, strategy=strategy, progress=SILENT)
    assert export_onnx(model, tmp_path / of, progress=SILENT).max_difference < 1e-3
    inputs = {one.name: one.shape[0] for one in _session(tmp_path / of).get_inputs()}
    assert all(isinstance(size, str) for size in inputs.values()), inputs


@pytest.mark.parametrize("strategy", [{"kind": "linear-probe"}, {"kind": "lora", "rank": 2}], ids=["mean", "lora"])
@pytest.mark.slow
def test_the_graph_of_a_text_model_takes_any_length(
    tiny: TinyModels, text_data: Path, tmp_path: Path, without_figures: None, strategy: dict[str, Any]
) -> None:
    recipe = {"task": "text-classification", "model": str(tiny("bert")), "data": str(text_data), "strategy": strategy}
    folder = run(recipe, {"train.epochs": 1}, out=tmp_path / "run", progress=SILENT).folder
    predictor = load_model(folder)
    found = export_onnx(predictor, tmp_path / "onnx", progress=SILENT)
    assert found.source == "examples that come with the package"
    assert found.max_difference < 1e-3
    assert (tmp_path / "onnx" / "tokenizer.json").is_file()
    session = _session(tmp_path / "onnx")
    whole = predictor.adapter.merged() if predictor.adapter.peft is not None else predictor.adapter
    exact = copy.deepcopy(whole.model).double()
    errors, own_errors = [], []
    for texts in (["the film"], ["the film was great", "an awful story , not a lovely actor", "dull"]):
        inputs = predictor.adapter.encode(texts)
        (logits,) = session.run(["logits"], {name: tensor.numpy() for name, tensor in inputs.items()})
        with torch.no_grad():
            wanted, own = (model(**inputs).logits.numpy() for model in (exact, whole.model))
        errors.append(np.abs(logits - wanted).max())
        own_errors.append(np.abs(own - wanted).max())
        for row, prediction in zip(_softmax(wanted).tolist(), predictor.predict(texts), strict=True):
            assert list(prediction.scores.values()) == pytest.approx(row, abs=1e-4)
    # Rounding in float32 alone: torch's own logits are about as far from those in float64.
    assert max(errors) < 5 * max(own_errors) + 1e-6


@pytest.mark.slow
def test_the_graph_of_a_model_for_questions_has_two_outputs(tiny: TinyModels, squad_data: Path, tmp_path: Path) -> None:
    recipe = {
        "task": "question-answering",
        "model": str(tiny("bert")),
        "data": {"source": str(squad_data), "stride_tokens": 8},
        "strategy": {"kind": "fine-tune"},
        "output": NO_PICTURES,
    }
    folder = run(recipe, {"train.epochs": 1}, out=tmp_path / "run", progress=SILENT).folder
    found = export_onnx(load_model(folder), tmp_path / "onnx", progress=SILENT)
    assert found.max_difference < 1e-3
    assert [output.name for output in _session(found.folder).get_outputs()] == ["start_logits", "end_logits"]


def test_a_classifier_on_an_embedding_is_exported(
    tiny: TinyModels, folder_data: Path, tmp_path: Path, without_figures: None
) -> None:
    recipe = {
        "task": "image-classification",
        "model": str(tiny("clip-dual")),
        "data": str(folder_data),
        "strategy": {"kind": "linear-probe", "head_init": "zero-shot"},
    }
    folder = run(recipe, out=tmp_path / "run", progress=SILENT).folder
    assert export_onnx(load_model(folder), tmp_path / "onnx", progress=SILENT).max_difference < 1e-3


def test_a_graph_that_differs_is_not_kept(finished: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_difference", lambda *_: iter([1e-9, 0.5]))
    with pytest.raises(ExportError, match=r"0\.001 at most; got 0\.5 on 16 examples"):
        export_onnx(load_model(finished("resnet").folder), tmp_path / "onnx", progress=SILENT)
    assert not (tmp_path / "onnx").exists()
    assert list(tmp_path.iterdir()) == []


def test_packages_that_are_missing_are_named(finished: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hftransfer.base.extras.find_spec", lambda name: None if name == "onnxruntime" else name)
    result = call("export", finished("resnet").folder, "--out", tmp_path / "onnx")
    assert result.exit_code == 2
    assert missing_words(result.stderr, ("no onnxruntime", "pip install 'hftransfer[onnx]'")) == []


def test_matrices_are_merged(tiny: TinyModels, folder_data: Path, tmp_path: Path, without_figures: None) -> None:
    recipe = {"task": "image-classification", "model": str(tiny("vit")), "data": str(folder_data), "strategy": "lora"}
    folder = run(recipe, {"train.epochs": 1, "train.precision": "fp32"}, out=tmp_path / "run", progress=SILENT).folder
    result = call("export", folder, "--format", "merged", "--out", tmp_path / "merged")
    assert result.exit_code == 0, result.output
    image = picture("red", 3)
    assert load_model(tmp_path / "merged").predict(image).scores == pytest.approx(
        load_model(folder).predict(image).scores, abs=1e-5
    )
    found = ht.export(load_model(folder), tmp_path / "from-python", format="merged", progress=SILENT)
    assert (found.folder / "model.safetensors").read_bytes() == (tmp_path / "merged" / "model.safetensors").read_bytes()
    again = call("export", folder, "--format", "merged", "--out", tmp_path / "merged")
    assert missing_words(again.stderr, ("must be new or empty",)) == []


def test_what_can_not_be_exported_is_told(finished: Any, tiny: TinyModels, tmp_path: Path) -> None:
    folder = finished("resnet").folder
    whole = call("export", folder, "--format", "merged", "--out", tmp_path / "x")
    assert missing_words(whole.stderr, ("a LoRA adapter", "plain transformers loads its folder")) == []
    rows: Any = [("a photo", "a label")]
    with pytest.raises(ht.RecipeError, match="data must be a path, or a data set by its name; got an object of list"):
        ht.export(folder, tmp_path / "x", data=rows)
    odd = call("export", folder, "--format", "tflite")
    assert missing_words(odd.stderr, ("--format must be merged, onnx or keras; got 'tflite'",)) == []
    dual = call("export", tiny("clip-dual"), "--out", tmp_path / "x")
    assert missing_words(dual.stderr, ("a model with classes of its own", "head_init: zero-shot")) == []
    assert not (tmp_path / "x").exists()
    assert export_merged.__doc__


def test_padding_that_depends_on_the_size_is_constant_for_multiples_of_the_stride() -> None:
    from timm.layers.conv2d_same import Conv2dSame

    class Network(torch.nn.Module):
        def __init__(self, *layers: torch.nn.Module) -> None:
            super().__init__()
            self.layers = torch.nn.Sequential(*layers)

        def forward(self, pixel_values: torch.Tensor) -> SimpleNamespace:
            return SimpleNamespace(logits=self.layers(pixel_values))

    same = Network(Conv2dSame(3, 4, 3, stride=2), Conv2dSame(4, 4, 5, stride=2, dilation=2))
    graph, larger = export._Graph(same, ["pixel_values"]), torch.randn(1, 3, 20, 28)
    (before,) = graph(larger)
    with export._constant_padding(graph, {"pixel_values": torch.randn(2, 3, 16, 24)}) as step:
        assert step == 4
        assert torch.equal(graph(larger)[0], before)
    with export._constant_padding(graph, {"pixel_values": torch.randn(2, 3, 18, 24)}) as step:
        assert step == 0  # 9 places have no half
    assert torch.equal(graph(larger)[0], before)
    plain = export._Graph(Network(torch.nn.Conv2d(3, 4, 3)), ["pixel_values"])
    with export._constant_padding(plain, {"pixel_values": torch.randn(2, 3, 18, 24)}) as step:
        assert step == 1
