"""Zero-shot classification: prompts, embeddings and logits as other libraries compute them, and whole runs."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

import hftransfer as ht
from hftransfer.adapters.checkpoint import Checkpoint, find_checkpoint
from hftransfer.adapters.dual import DualEncoder, load_dual
from hftransfer.base.errors import DataError, HftransferError, ModelError, RecipeError
from hftransfer.base.progress import Progress
from hftransfer.cli import app
from hftransfer.jobs.run import check, run
from hftransfer.tasks.prompts import PROMPT_SETS, require_labels, templates_of, words_for, words_of
from hftransfer.training.devices import Compute
from hftransfer.training.embeddings import embed_prompts, ensemble, logits
from tests.builders import (
    DUAL_FAMILIES,
    NO_PICTURES,
    RELATED_DUAL_FAMILIES,
    TinyModels,
    faults_of,
    missing_words,
    picture,
    slowly,
)
from tests.real import PHOTOS, bundled, shared

SILENT = Progress(None)
FP32 = Compute(torch.device("cpu"), "fp32", 4)
NAMES = ["film", "story", "actor"]
KINDS = [*DUAL_FAMILIES, "open_clip"]


def _checkpoint(tiny: TinyModels, family: str) -> Checkpoint:
    folder = tiny(family)
    found = find_checkpoint(f"open_clip:local-dir:{folder}" if family == "open_clip" else str(folder))
    assert found is not None
    return found


def _logits(dual: DualEncoder, images: list[Image.Image], templates: tuple[str, ...]) -> np.ndarray:
    classes = ensemble(embed_prompts(dual, NAMES, templates, "sha", FP32))
    with torch.inference_mode():
        embedded = dual.embed_images(dual.encode_images(images)).numpy()
    return logits(embedded, classes, dual)


def _images() -> list[Image.Image]:
    return [picture(color, seed, (40, 48)) for seed in range(3) for color in ("red", "blue")]


# --- prompts ---------------------------------------------------------------------------------------------------------


def test_the_sets_for_imagenet_are_those_that_open_clip_has() -> None:
    assert PROMPT_SETS["openai-80"] == tuple(template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES)
    assert PROMPT_SETS["openai-7"] == tuple(template("{}") for template in open_clip.SIMPLE_IMAGENET_TEMPLATES)


def test_the_sets_have_the_published_counts() -> None:
    counts = {name: len(templates) for name, templates in PROMPT_SETS.items()}
    expected = {"simple": 1, "openai-7": 7, "openai-80": 80, "cifar": 18, "pets": 1, "food": 1, "flowers": 1}
    assert counts == expected
    assert all(template.count("{}") == 1 for templates in PROMPT_SETS.values() for template in templates)


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        ("openai7", ("prompts must be a template", "'openai7'. Did you mean 'openai-7'?")),
        (["a photo of a cat"], ("templates with one {}", "'a photo of a cat'")),
        (["a {} and a {}"], ("templates with one {}",)),
        (["a {} of {style}"], ("templates with one {}",)),
        ([], ("at least one template; got none",)),
        (["a {}", "a {}"], ("templates that differ; got 'a {}' twice",)),
    ],
)
def test_faulty_prompts_are_told(prompts: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(RecipeError) as error:
        templates_of(prompts)
    assert missing_words(faults_of(error), words) == []


def test_settings_of_training_are_refused(tmp_path: Path) -> None:
    train = {"mixup": 0.2, "epochs": 3, "class_weights": "auto", "metric": "f1"}
    data = {"source": "bundled/drawn-pets", "folds": 2, "labels": "multi", "tile": 64}
    recipe = {"task": "zero-shot-image-classification", "model": "bundled/dual-encoder", "data": data, "train": train}
    with pytest.raises(RecipeError) as error:
        ht.run(recipe, out=tmp_path / "never", progress=Progress(None))
    told = faults_of(error)
    named = [f"train.{name} must be left out for task zero-shot-image-classification" for name in train]
    assert missing_words(told, (*named, "data.folds must be", "data.labels must be", "data.tile must be")) == []


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([], ("two or more, to choose between; got 0",)),
        (["cat"], ("two or more",)),
        ("cat", ("two or more",)),
        (["cat", " "], ("an empty one",)),
        (["cat", "dog", "cat "], ("different from each other; got cat more than once",)),
    ],
)
def test_faulty_labels_are_told(labels: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(RecipeError) as error:
        require_labels(labels)
    assert missing_words(faults_of(error), words) == []


def test_names_of_folders_become_words() -> None:
    assert words_of(["great_white_shark", "Cat", "__"]) == ["great white shark", "Cat", "__"]
    assert words_for(["cats", "dogs"], {"cats": "cat"}) == ["cat", "dogs"]
    assert words_for(["cats", "dogs"], ["cat", "dog"]) == ["cat", "dog"]
    with pytest.raises(RecipeError, match="names for classes of the data"):
        words_for(["cats", "dogs"], {"bird": "bird"})
    with pytest.raises(RecipeError, match="one name for each of the 2 classes"):
        words_for(["cats", "dogs"], ["cat"])


# --- the same numbers as other libraries -----------------------------------------------------------------------------


@pytest.mark.parametrize("family", [*DUAL_FAMILIES, *RELATED_DUAL_FAMILIES])
def test_logits_are_those_of_plain_transformers(tiny: TinyModels, family: str) -> None:
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    dual = load_dual(_checkpoint(tiny, family))
    model = AutoModel.from_pretrained(tiny(family)).eval()
    texts = [f"the {name} was great ." for name in NAMES]
    padding = "max_length" if family.startswith("siglip") else True
    tokens = AutoTokenizer.from_pretrained(tiny(family))(
        texts, padding=padding, truncation=True, max_length=16, return_tensors="pt"
    )
    pixels = AutoImageProcessor.from_pretrained(tiny(family))(images=_images(), return_tensors="pt")
    of_bert = ("input_ids", "attention_mask", "token_type_ids")
    taken = {"clip-dual": of_bert[:2], "siglip-dual": of_bert[:1], "siglip2-dual": of_bert[:1]}.get(family, of_bert)
    with torch.inference_mode():
        theirs = model(**pixels, **{name: tokens[name] for name in taken if name in tokens})
    ours = _logits(dual, _images(), ("the {} was great .",))
    assert np.abs(ours - theirs.logits_per_image.numpy()).max() < 1e-4


def test_logits_are_those_of_plain_open_clip(tiny: TinyModels) -> None:
    folder = tiny("open_clip")
    dual = load_dual(_checkpoint(tiny, "open_clip"))
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}", require_pretrained=True)
    model.eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    templates = tuple(PROMPT_SETS["openai-7"])
    with torch.inference_mode():
        images = model.encode_image(torch.stack([transform(image) for image in _images()]), normalize=True)
        classes = open_clip.build_zero_shot_classifier(
            model, tokenizer, NAMES, [lambda name, t=template: t.format(name) for template in templates], device="cpu"
        )
        theirs = model.logit_scale.exp() * images @ classes
    assert np.abs(_logits(dual, _images(), templates) - theirs.numpy()).max() < 1e-4


def test_open_clip_and_transformers_agree_on_the_same_weights(tiny: TinyModels, tmp_path: Path) -> None:
    """A CLIP saved by open_clip, its tensors renamed for transformers; both tokenise as CLIP does."""
    from transformers import CLIPConfig, CLIPModel

    theirs = load_dual(_checkpoint(tiny, "open_clip"))
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    vision = {**sizes, "image_size": 32, "patch_size": 8, "hidden_act": "gelu"}
    text = {**sizes, "vocab_size": 49408, "max_position_embeddings": 16, "hidden_act": "gelu"}
    model = CLIPModel(CLIPConfig(vision_config=vision, text_config={**text, "eos_token_id": 49407}, projection_dim=16))
    model.load_state_dict(_renamed(load_file(tiny("open_clip") / "open_clip_model.safetensors")), strict=False)
    pixels = theirs.encode_images(_images())["pixel_values"]
    tokens = theirs.encode_texts([f"a photo of a {name}." for name in NAMES])["input_ids"]
    with torch.inference_mode():
        found = model.eval()(pixel_values=pixels, input_ids=tokens).logits_per_image.numpy()
    ours = _logits(theirs, _images(), ("a photo of a {}.",))
    assert np.abs(ours - found).max() < 1e-4
    assert (ours.argmax(axis=1) == found.argmax(axis=1)).all()


def _renamed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for side, before in (("vision_model", "visual."), ("text_model", "")):
        for layer in range(2):
            old, new = f"{before}transformer.resblocks.{layer}.", f"{side}.encoder.layers.{layer}."
            for end in ("weight", "bias"):
                parts = tensors[f"{old}attn.in_proj_{end}"].chunk(3)
                found |= {f"{new}self_attn.{n}_proj.{end}": part for n, part in zip("qkv", parts, strict=True)}
                pairs = {"attn.out_proj": "self_attn.out_proj", "ln_1": "layer_norm1", "ln_2": "layer_norm2"}
                pairs |= {"mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
                found |= {f"{new}{theirs}.{end}": tensors[f"{old}{own}.{end}"] for own, theirs in pairs.items()}
    for end in ("weight", "bias"):
        found[f"vision_model.pre_layrnorm.{end}"] = tensors[f"visual.ln_pre.{end}"]
        found[f"vision_model.post_layernorm.{end}"] = tensors[f"visual.ln_post.{end}"]
        found[f"text_model.final_layer_norm.{end}"] = tensors[f"ln_final.{end}"]
    return found | {
        "vision_model.embeddings.class_embedding": tensors["visual.class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": tensors["visual.conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": tensors["visual.positional_embedding"],
        "visual_projection.weight": tensors["visual.proj"].T,
        "text_model.embeddings.token_embedding.weight": tensors["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": tensors["positional_embedding"],
        "text_projection.weight": tensors["text_projection"].T,
        "logit_scale": tensors["logit_scale"],
    }


@pytest.mark.parametrize("family", KINDS)
def test_an_ensemble_is_the_normalised_mean_of_normalised_embeddings(tiny: TinyModels, family: str) -> None:
    dual = load_dual(_checkpoint(tiny, family))
    templates = ("the {}", "a {} was very good .", "{}")
    found = ensemble(embed_prompts(dual, NAMES, templates, "sha", FP32))
    for index, name in enumerate(NAMES):
        total = torch.zeros(found.shape[1])
        for template in templates:
            with torch.inference_mode():
                one = dual.embed_texts(dual.encode_texts([template.replace("{}", name)]))[0]
            total += one / one.norm()
        assert np.abs(found[index] - (total / total.norm()).numpy()).max() < 1e-5


def test_a_text_is_embedded_once(tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    dual = load_dual(_checkpoint(tiny, "clip-dual"))
    first = embed_prompts(dual, NAMES, ("the {}", "a {}"), "sha", FP32)

    def refuse(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(type(dual), "embed_texts", refuse)
    again = embed_prompts(dual, NAMES[::-1], ("a {}",), "sha", FP32)
    assert np.array_equal(again[0], first[1][::-1])
    with pytest.raises(AssertionError):
        embed_prompts(dual, NAMES, ("the {}",), "other weights", FP32)


# --- whole runs ------------------------------------------------------------------------------------------------------


def _recipe(tiny: TinyModels, data: Path, family: str = "clip-dual", **more: Any) -> dict[str, Any]:
    model = f"open_clip:local-dir:{tiny(family)}" if family == "open_clip" else str(tiny(family))
    document = {"task": "zero-shot-image-classification", "model": model, "data": str(data)}
    return {**document, "train": {"precision": "fp32"}, "output": NO_PICTURES, **more}


@pytest.mark.parametrize("family", [KINDS[0], "open_clip", *slowly(*KINDS[1:-1])])
def test_a_run_judges_the_test_split_and_leaves_tables(
    tiny: TinyModels, folder_data: Path, tmp_path: Path, family: str
) -> None:
    recipe = _recipe(tiny, folder_data, family, prompts=["a {}", "the {}", "{}"], compare_prompts=True, output={})
    result = run(recipe, out=tmp_path / "run", progress=SILENT)
    names = {file.relative_to(result.folder).as_posix() for file in result.folder.rglob("*") if file.is_file()}
    assert names == {
        *("metrics.json", "recipe.yaml", "environment.json", "predictions.parquet", "classes.csv", "prompts.csv"),
        *("log.txt", ".hftransfer.json", "report.html"),
        *(f"figures/{name}.png" for name in ("confusion_matrix", "mistakes", "prompts")),
    }
    metrics = result.metrics
    assert metrics["examples"]["train"] == 0
    assert metrics["parameters"]["trainable"] == 0
    assert sum(map(sum, metrics["test"]["confusion_matrix"])) == metrics["examples"]["test"]
    assert len((result.folder / "prompts.csv").read_text().splitlines()) == 4
    again = run(result.folder / "recipe.yaml", out=tmp_path / "again", progress=SILENT)
    assert again.metrics["test"] == metrics["test"]


def test_accuracy_is_that_of_a_plain_loop(tiny: TinyModels, folder_data: Path, tmp_path: Path) -> None:
    names = {"blue": "story", "red": "actor", "green": "film"}
    recipe = _recipe(tiny, folder_data, prompts=["the {} was great .", "{}"])
    classes = [row.name for row in sorted((folder_data / "test").iterdir())]
    recipe["class_names"] = {name: names.get(name, name) for name in classes}
    result = run(recipe, out=tmp_path / "run", progress=SILENT)
    images = [image for name in classes for image in sorted((folder_data / "test" / name).iterdir())]
    words = [recipe["class_names"][name] for name in classes]
    found = ht.zero_shot(recipe["model"], [str(image) for image in images], words, prompts=recipe["prompts"])
    right = [
        outcome.label == recipe["class_names"][image.parent.name] for outcome, image in zip(found, images, strict=True)
    ]
    assert result.metrics["test"]["accuracy"] == pytest.approx(np.mean(right))


def test_what_a_template_adds_is_told(tiny: TinyModels, folder_data: Path, tmp_path: Path) -> None:
    prompts = ["a {}", "the {} was great .", "{} or story"]
    recipe = _recipe(tiny, folder_data, prompts=prompts, compare_prompts=True)
    whole = run(recipe, out=tmp_path / "whole", progress=SILENT)
    with (whole.folder / "prompts.csv").open() as file:
        rows = {row["template"]: row for row in csv.DictReader(file)}
    assert list(rows) == sorted(rows, key=lambda name: -float(rows[name]["log_loss_gain"]))
    score = whole.metrics["test"]
    for index, prompt in enumerate(prompts):
        others = [other for other in prompts if other != prompt]
        alone, without = (
            run({**recipe, "prompts": chosen, "compare_prompts": False}, out=tmp_path / f"{index}{n}", progress=SILENT)
            for n, chosen in enumerate((prompt, others))
        )
        found = {name: float(value) for name, value in rows[prompt].items() if name != "template"}
        rest = without.metrics["test"]
        assert found["accuracy_alone"] == pytest.approx(alone.metrics["test"]["accuracy"])
        assert found["accuracy_gain"] == pytest.approx(score["accuracy"] - rest["accuracy"])
        assert found["log_loss_gain"] == pytest.approx(rest["log_loss"] - score["log_loss"], abs=1e-6)


def test_data_without_splits_are_judged_whole(tiny: TinyModels, flat_data: Path, tmp_path: Path) -> None:
    images = sum(1 for file in flat_data.rglob("*") if file.is_file())
    result = run(_recipe(tiny, flat_data), out=tmp_path / "run", progress=SILENT)
    assert result.metrics["examples"] == {"train": 0, "validation": 0, "test": images}
    limited = run(_recipe(tiny, flat_data), {"data.limit": 2}, out=tmp_path / "limited", progress=SILENT)
    assert limited.metrics["examples"]["test"] < images


def test_one_image_is_enough(tiny: TinyModels, tmp_path: Path) -> None:
    (tmp_path / "pets" / "film").mkdir(parents=True)
    picture("red", 1).save(tmp_path / "pets" / "film" / "a.png")
    with pytest.raises(RecipeError, match="two or more"):
        run(_recipe(tiny, tmp_path / "pets"), out=tmp_path / "none", progress=SILENT)
    prediction = ht.zero_shot(tiny("clip-dual"), tmp_path / "pets" / "film" / "a.png", ["film", "story"])
    assert sum(prediction.scores.values()) == pytest.approx(1.0)


def test_unreadable_images_are_told_or_skipped(tiny: TinyModels, flat_data: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(flat_data, tmp_path / "data")
    folder = sorted(path for path in (tmp_path / "data").iterdir() if path.is_dir())[0]
    first = sorted(folder.iterdir())[0]
    first.write_bytes(first.read_bytes()[:-40])
    recipe = _recipe(tiny, tmp_path / "data")
    for act in (lambda: run(recipe, out=tmp_path / "run", progress=SILENT), lambda: check(recipe, progress=SILENT)):
        with pytest.raises(DataError, match=first.name):
            act()
    recipe["data"] = {"source": str(tmp_path / "data"), "on_error": "skip"}
    if len(check(_recipe(tiny, flat_data), progress=SILENT).test) >= 20:
        result = run(recipe, out=tmp_path / "run", progress=SILENT)
        assert first.name in (result.folder / "skipped.csv").read_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"strategy": "lora"}, ("strategy must be left out", "lora")),
        ({"prompts": ["a cat"], "strategy": "lora"}, ("templates with one {}", "strategy must be left out")),
        ({"prompts": "openai7"}, ("Did you mean 'openai-7'?",)),
        ({"compare_prompts": True}, ("compare_prompts must be left out when there is only one template",)),
        ({"class_names": ["cat"]}, ("class_names must be one name for each",)),
        ({"class_names": {"bird": "bird"}}, ("class_names must be names for classes of the data",)),
    ],
)
def test_faults_are_told(
    tiny: TinyModels, flat_data: Path, tmp_path: Path, change: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(HftransferError) as error:
        run({**_recipe(tiny, flat_data), **change}, out=tmp_path / "run", progress=SILENT)
    assert missing_words(faults_of(error), words) == []


@pytest.mark.parametrize("family", ["vit", "bert"])
def test_a_model_of_one_tower_is_refused(tiny: TinyModels, flat_data: Path, tmp_path: Path, family: str) -> None:
    recipe = {**_recipe(tiny, flat_data), "model": str(tiny(family))}
    with pytest.raises(ModelError, match="one with an image tower and a text tower"):
        run(recipe, out=tmp_path / "run", progress=SILENT)
    with pytest.raises(ModelError, match="one with an image tower and a text tower"):
        ht.zero_shot(tiny(family), [picture("red", 1)], ["film", "story"])


def test_prompts_are_for_zero_shot_alone(tiny: TinyModels, flat_data: Path, tmp_path: Path) -> None:
    recipe = {"task": "image-classification", "model": str(tiny("vit")), "data": str(flat_data), "prompts": "simple"}
    with pytest.raises(RecipeError, match="prompts must be left out for task image-classification"):
        run(recipe, out=tmp_path / "run", progress=SILENT)


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_tells_a_label_for_each_image(tiny: TinyModels, tmp_path: Path) -> None:
    for name, color in (("a.png", "red"), ("b.png", "blue")):
        picture(color, 1).save(tmp_path / name)
    (tmp_path / "c.png").write_bytes(b"none")
    images = [str(tmp_path / f"{name}.png") for name in "acb"]
    words = ["zero-shot", str(tiny("clip-dual")), *images, "--labels", "film, story", "--prompt", "the {}"]
    outcome = CliRunner().invoke(app, [*words, "--json"])
    assert outcome.exit_code == 2
    assert "c.png" in outcome.stderr
    told = json.loads(outcome.stdout)["predictions"]
    assert [entry["input"] for entry in told] == [images[0], images[2]]
    assert set(told[0]["scores"]) == {"film", "story"}
    wrong = CliRunner().invoke(app, [*words[:3], "--labels", "film,,film"])
    assert wrong.exit_code == 2
    assert missing_words(wrong.stderr, ("an empty one", "film more than once")) == []


# --- the bundled dual encoder ----------------------------------------------------------------------------------------


@pytest.mark.bundled
@bundled
class TestBundled:
    @pytest.fixture(autouse=True)
    def _one_cache_for_all(self, cache_of_all: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HFTRANSFER_CACHE", str(cache_of_all))

    @pytest.mark.slow
    def test_the_text_tower_gives_the_mean_over_tokens(self) -> None:
        from transformers import AutoModel, AutoTokenizer

        checkpoint, base = find_checkpoint("bundled/dual-encoder"), find_checkpoint("bundled/minilm-l6")
        assert checkpoint is not None
        assert base is not None
        dual = load_dual(checkpoint)
        texts = ["a photo of a cat", "two dogs run over the green field in summer", "x"]
        tokens = AutoTokenizer.from_pretrained(base.folder)(texts, padding=True, return_tensors="pt")
        with torch.inference_mode():
            hidden = AutoModel.from_pretrained(base.folder).eval()(**tokens).last_hidden_state
            pooled = torch.atanh(dual.model.text_model(**tokens).pooler_output)
        pooled = pooled - dual.model.text_model.pooler.dense.bias
        mask = tokens["attention_mask"].unsqueeze(-1)
        mean = (hidden * mask).sum(1) / mask.sum(1)
        assert torch.cosine_similarity(pooled, mean - mean.mean(1, keepdim=True)).min() > 0.9999

    @pytest.mark.slow
    def test_it_is_a_native_checkpoint_without_paths(self) -> None:
        from transformers import VisionTextDualEncoderModel, VisionTextDualEncoderProcessor

        checkpoint = find_checkpoint("bundled/dual-encoder")
        assert checkpoint is not None
        assert "/" not in (checkpoint.folder / "config.json").read_text().replace("and/or", "")
        model = VisionTextDualEncoderModel.from_pretrained(checkpoint.folder).eval()
        processor = VisionTextDualEncoderProcessor.from_pretrained(checkpoint.folder)
        texts = ["a photo of a cat.", "a photo of a dog."]
        inputs = processor(text=texts, images=_images(), return_tensors="pt", padding=True, truncation=True)
        with torch.inference_mode():
            theirs = model(**inputs).logits_per_image.softmax(dim=1).numpy()
        found = ht.zero_shot("bundled/dual-encoder", _images(), ["cat", "dog"])
        assert np.abs(theirs - [list(one.scores.values()) for one in found]).max() < 1e-4

    @pytest.mark.slow
    @pytest.mark.shared
    @shared
    def test_cats_and_dogs_are_told_apart_without_training(self, tmp_path: Path) -> None:
        recipe = {"task": "zero-shot-image-classification", "model": "bundled/dual-encoder", "data": str(PHOTOS)}
        recipe |= {"class_names": {"cats": "cat", "dogs": "dog"}}  # type: ignore[dict-item]
        metrics = run(recipe, out=tmp_path / "run", progress=SILENT).metrics
        assert metrics["test"]["accuracy"] >= 0.96
        assert metrics["test"]["expected_calibration_error"] < 0.05
