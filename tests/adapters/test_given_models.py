"""Models that are given as objects: of transformers, timm and open_clip in their own layout, of torch as they are."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

import hftransfer as ht
from hftransfer.adapters.checkpoint import find_checkpoint
from hftransfer.adapters.given import given_checkpoint
from hftransfer.adapters.heads import IMAGE_CLASSES
from hftransfer.adapters.loading import load_adapter
from hftransfer.base.errors import ModelError
from hftransfer.base.progress import Progress
from tests.builders import TinyModels, picture

SILENT = Progress(None)
ROWS = [(picture(colour, number), colour) for number in range(10) for colour in ("red", "blue")]


def pixels(image: Image.Image) -> torch.Tensor:
    """The pixels (3, 32, 32) of an image, as torchvision's transforms make them."""
    from torchvision.transforms.v2 import functional as F

    found: torch.Tensor = F.to_dtype(F.to_image(image.resize((32, 32))), torch.float32, scale=True)
    return found


class Sequential(nn.Module):
    """Convolutions in a list, a classifier of two layers: torchvision's VGG, small."""

    def __init__(self, classes: int = 7, activation: Callable[[], nn.Module] = nn.ReLU) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), activation(), nn.Conv2d(8, 8, 3, 2), activation()
        )
        self.classifier = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Dropout(), nn.Linear(12, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.classifier(self.features(x).mean((2, 3)))
        return found


class Headless(nn.Module):
    """A network that gives a map."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 3, 2), nn.Conv2d(8, 16, 3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.second(torch.relu(self.first(x)))
        return found


class Auxiliary(Headless):
    """A network whose output is a tuple, and whose classes are Inception's: logits first."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> Any:
        logits = self.fc(super().forward(x).mean((2, 3)))
        return logits, logits * 0


def _fit(model: object, processor: object = pixels, strategy: Any = "linear-probe", **more: Any) -> ht.Predictor:
    given: dict[str, Any] = {"model": model, "processor": processor, **more}
    return ht.fit("image-classification", train=ROWS, strategy=strategy, epochs=1, progress=SILENT, **given)


@pytest.mark.parametrize("strategy", ["linear-probe", "fine-tune:1"])
@pytest.mark.parametrize("kind", [Sequential, Headless, Auxiliary])
def test_a_network_of_torch_learns_and_is_loaded_with_the_network(
    kind: Callable[[], nn.Module], strategy: str, tmp_path: Path
) -> None:
    network = kind()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    model = _fit(network, strategy=strategy)
    assert model.evaluate(ROWS)["accuracy"] > 0.9
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items()), "it was changed"
    again = ht.load(model.save(tmp_path / "model"), module=network, processor=pixels)
    assert isinstance(again, ht.Predictor)
    assert again.predict(ROWS[0][0]) == model.predict(ROWS[0][0])
    assert pickle.loads(pickle.dumps(model)).predict(ROWS[0][0]) == model.predict(ROWS[0][0])


def test_its_weights_are_read_without_this_library_as_the_card_says(tmp_path: Path) -> None:
    model = _fit(Sequential())
    card = (model.save(tmp_path / "model") / "README.md").read_text()
    code = card.split("```python\n")[1].split("```")[0].replace("path/to/this/folder", str(tmp_path / "model"))
    network = Sequential()
    space: dict[str, Any] = {"network": network, "pixels": pixels(ROWS[0][0])[None]}
    code = "\n".join(line for line in code.splitlines() if not line.startswith("network = ..."))
    exec(code, space)
    wanted = list(model.predict(ROWS[0][0]).scores.values())
    assert space["probabilities"][0].tolist() == pytest.approx(wanted, abs=1e-5)
    assert "torch.nn.Linear(12, 2)" in code
    assert "library_name: pytorch" in card


def test_what_lies_below_the_boundary_stays(tmp_path: Path) -> None:
    network = Sequential()
    saved = _fit(network, strategy="fine-tune:1").save(tmp_path / "model")
    learned = load_file(saved / "model.safetensors")
    changed = {
        n
        for n, t in network.state_dict().items()
        if t.shape == learned[f"network.{n}"].shape and not torch.equal(t, learned[f"network.{n}"])
    }
    assert "features.3.weight" in changed
    assert not {name for name in changed if name.startswith(("features.0", "features.1"))}


def test_networks_of_the_same_weights_and_other_code_share_no_activations() -> None:
    first, second = Sequential(), Sequential(activation=nn.Tanh)
    hashes = [given_checkpoint(one, pixels).weights_sha256 for one in (first, second, Sequential())]
    assert hashes[0] != hashes[1]
    assert hashes[0] == hashes[2]


def test_what_python_cannot_pickle_is_told_in_words() -> None:
    import dill  # type: ignore[import-untyped]

    class Local(Auxiliary):
        pass

    allowed = "must be picklable: define its classes and functions at the top level of a module; got Can't pickle"
    with pytest.raises(ModelError, match=f"the network {allowed}") as error:
        pickle.dumps(_fit(Local()))
    assert "ht.load(folder, module=network, processor=transform)" in str(error.value)
    with pytest.raises(ModelError, match=f"the processor {allowed}"):
        pickle.dumps(_fit(Auxiliary(), lambda image: pixels(image)))
    local = _fit(Local(), lambda image: pixels(image))
    again = dill.loads(dill.dumps(local))
    assert again(ROWS[0][0]).scores == pytest.approx(local(ROWS[0][0]).scores, abs=1e-6)


def test_what_was_saved_asks_for_its_network(tmp_path: Path) -> None:
    saved = _fit(Sequential()).save(tmp_path / "model")
    with pytest.raises(ModelError, match=r"given as an object \(.*Sequential\); got none\. Give it again: ht\.load"):
        ht.load(saved)
    with pytest.raises(ModelError, match="module must be the network that was trained"):
        ht.load(saved, module=Headless(), processor=pixels)
    with pytest.raises(ModelError, match="processor must be the one used in training"):
        ht.load(saved, module=Sequential(), processor=lambda image: pixels(image) * 2)
    with pytest.raises(ModelError, match="processor must be given with a network of torch"):
        ht.load(saved, module=Sequential())


@pytest.mark.parametrize(
    ("model", "processor", "told"),
    [
        (3, None, "model must be a Hub id, a folder, bundled/<name>, or a model of transformers"),
        (Sequential(), None, r"processor must be given with a network of torch.*weights\.transforms\(\)"),
        (Sequential(), lambda image: image, r"such as weights\.transforms\(\); got one that gives Image\. End it with"),
        (Sequential(), lambda image: pixels(image)[:1], r"got one that gives \(1, 32, 32\)"),
        (Sequential(), lambda image: 1 / 0, r"got one that fails \(division by zero\)"),
        (nn.Conv2d(3, 4, 64), pixels, "one that takes pixels"),
        ("some/model", pixels, "processor must be left out when the model is given by name"),
    ],
)
def test_what_is_no_model_is_told(model: object, processor: object, told: str) -> None:
    with pytest.raises(ModelError, match=told):
        _fit(model, processor)


def test_lora_is_refused_in_words() -> None:
    with pytest.raises(ModelError, match="must be linear-probe or fine-tune; got lora"):
        _fit(Sequential(), strategy="lora")


@pytest.mark.parametrize("strategy", ["linear-probe", "lora"])
def test_a_model_of_transformers_is_saved_in_its_own_layout(tiny: TinyModels, tmp_path: Path, strategy: str) -> None:
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    folder = str(tiny("vit"))
    network, processor = (
        AutoModelForImageClassification.from_pretrained(folder),
        AutoImageProcessor.from_pretrained(folder),
    )
    model, named = _fit(network, processor, strategy), _fit(folder, None, strategy)
    assert model.predict(ROWS[0][0]) == named.predict(ROWS[0][0])
    again = ht.load(model.save(tmp_path / "model"))
    assert isinstance(again, ht.Predictor)
    assert again.predict(ROWS[0][0]).scores == pytest.approx(model.predict(ROWS[0][0]).scores, abs=1e-6)
    with pytest.raises(ModelError, match="processor must be given with a ViTForImageClassification"):
        _fit(network, None)
    with pytest.raises(ModelError, match="an image processor or tokenizer of transformers"):
        _fit(network, pixels)


def test_a_model_of_texts_is_given_with_its_tokenizer(tiny: TinyModels) -> None:
    from transformers import AutoModel, AutoTokenizer

    folder = str(tiny("bert"))
    rows = [("a good film", "pos"), ("a bad film", "neg")] * 6
    given: dict[str, Any] = {
        "model": AutoModel.from_pretrained(folder),
        "processor": AutoTokenizer.from_pretrained(folder),
    }
    model = ht.fit("text-classification", train=rows, progress=SILENT, **given)
    assert model("a good film").label == "pos"


@pytest.mark.parametrize(
    "arguments", [{"num_classes": 7}, {"num_classes": 0}, {"num_classes": 5, "global_pool": "max"}]
)
def test_a_model_of_timm_is_made_again_with_its_arguments(arguments: dict[str, Any], tmp_path: Path) -> None:
    import timm

    network = timm.create_model("test_resnet", **arguments).eval()
    checkpoint = given_checkpoint(network)
    adapter = load_adapter(checkpoint, ("a", "b"), head=IMAGE_CLASSES)
    inputs = adapter.sample_inputs(2)
    with torch.no_grad():
        wanted = network.forward_head(network.forward_features(inputs["pixel_values"]), pre_logits=True)
    assert torch.allclose(adapter.features(inputs), wanted, atol=1e-5)
    adapter.save(tmp_path)
    assert find_checkpoint(str(tmp_path)) is not None


def test_a_model_of_open_clip_is_known_by_what_it_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import open_clip

    vision = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
    text = {"context_length": 16, "vocab_size": 100, "width": 32, "heads": 2, "layers": 2}
    settings = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}
    named = {"quick": {**settings, "quick_gelu": True}, "plain": settings}
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", named)
    torch.manual_seed(1)
    clip, _, transform = open_clip.create_model_and_transforms("plain")
    clip.visual.conv1.weight.data *= 20  # so that the two activations are told apart
    adapter = load_adapter(given_checkpoint(clip), ("a", "b"), head=IMAGE_CLASSES)
    pixels_of_both = torch.stack([transform(picture("red")), transform(picture("blue"))])
    assert torch.equal(adapter.encode([picture("red"), picture("blue")])["pixel_values"], pixels_of_both)
    with torch.no_grad():
        assert torch.allclose(
            adapter.features({"pixel_values": pixels_of_both}), clip.visual(pixels_of_both), atol=1e-5
        )
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", {})
    other = _fit(clip, None)  # of no name: the tower alone, as a network of torch
    assert other.source.family == "torch_module"


def test_a_run_takes_a_model_as_an_object(tmp_path: Path, without_figures: None) -> None:
    recipe = {"task": "image-classification", "output": {"report": False}}
    result = ht.run(recipe, data=ROWS, model=Sequential(), processor=pixels, out=tmp_path / "run", progress=SILENT)
    assert result.metrics["model"].endswith("test_given_models.Sequential")
    model = ht.load(result, module=Sequential(), processor=pixels)
    assert isinstance(model, ht.Predictor)
    assert model.predict(ROWS[0][0]).label == "red"
