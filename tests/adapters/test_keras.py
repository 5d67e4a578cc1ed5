"""Models of Keras: their layers in torch, their pixels, their files, and what is refused."""

from __future__ import annotations

import io
import json
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hftransfer.adapters import libraries
from hftransfer.adapters.base import Adapter
from hftransfer.adapters.checkpoint import find_checkpoint
from hftransfer.adapters.heads import IMAGE_CLASSES
from hftransfer.adapters.keras_pixels import APPLICATIONS, Preprocessing, mode_of
from hftransfer.adapters.libraries import keras_on_torch
from hftransfer.adapters.loading import load_adapter
from hftransfer.base.cache import cache_folder
from hftransfer.base.errors import ModelError
from tests.builders import KERAS, picture, save_keras, tiny_keras

pytestmark = pytest.mark.skipif(not KERAS, reason="needs the packages of the extra `keras`")
NAMES = ("cat", "dog", "bird")


def _loaded(file: Path, names: tuple[str, ...] | None = NAMES) -> Adapter:
    checkpoint = find_checkpoint(f"keras:local-dir:{file}")
    assert checkpoint is not None
    return load_adapter(checkpoint, names, head=IMAGE_CLASSES)


def _randomised(model: Any) -> Any:
    random = np.random.default_rng(1)
    for variable in model.weights:
        low, high = (0.5, 1.5) if "variance" in variable.name or variable.name == "gamma" else (-0.6, 0.6)
        variable.assign(random.uniform(low, high, variable.shape))
    return model


def _quietly(call: Callable[[], Any]) -> Any:
    """What Keras computes: it warns of numpy's ways."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call()


# --- layers ----------------------------------------------------------------------------------------------------------


def _layers() -> dict[str, Callable[[Any], Any]]:
    if not KERAS:
        return {}
    keras = keras_on_torch()
    make = keras.layers
    return {
        "same, even kernel, stride 2": lambda x: make.Conv2D(5, (4, 3), strides=2, padding="same")(x),
        "same, kernel 3, stride 3": lambda x: make.Conv2D(5, 3, strides=3, padding="same", use_bias=False)(x),
        "dilated": lambda x: make.Conv2D(5, 3, dilation_rate=2, padding="same", activation="gelu")(x),
        "valid, groups": lambda x: make.Conv2D(6, 3, groups=3, strides=(2, 1), activation="relu6")(x),
        "depthwise, multiplier 2": lambda x: make.DepthwiseConv2D(3, depth_multiplier=2, padding="same", strides=2)(x),
        "separable": lambda x: make.SeparableConv2D(7, 3, padding="same", depth_multiplier=2, activation="silu")(x),
        "transposed, by Keras itself": lambda x: make.Conv2DTranspose(4, 3, strides=2, padding="same")(x),
        "batch norm without scale": lambda x: make.BatchNormalization(scale=False, epsilon=0.01)(x),
        "batch norm without shift": lambda x: make.BatchNormalization(center=False, momentum=0.5)(x),
        "group norm, by Keras itself": lambda x: make.GroupNormalization(3)(x),
        "layer norm of a map": lambda x: make.LayerNormalization(epsilon=0.1)(x),
        "dense on a map": lambda x: make.Dense(4, activation="hard_sigmoid")(x),
        "max pool, same": lambda x: make.MaxPooling2D(3, strides=2, padding="same")(x),
        "max pool": lambda x: make.MaxPooling2D(2)(x),
        "mean pool, same, by Keras itself": lambda x: make.AveragePooling2D(3, strides=2, padding="same")(x),
        "mean pool": lambda x: make.AveragePooling2D((2, 3))(x),
        "padding": lambda x: make.ZeroPadding2D(((1, 2), (3, 0)))(x),
        "relu to 4, by Keras itself": lambda x: make.ReLU(4.0, negative_slope=0.1)(x),
        "softmax of channels": lambda x: make.Activation("softmax")(make.Conv2D(4, 1)(x)),
        "flat": lambda x: make.Dense(5, activation="relu")(make.Flatten()(x)),
        "put beside": lambda x: make.Concatenate()([x, make.Conv2D(4, 1)(x)]),
        "weighed": lambda x: make.Multiply()([x, make.GlobalMaxPooling2D(keepdims=True)(x)]),
        "arithmetic": lambda x: keras.ops.maximum(x / 3.0, 0.2 * x) - 1.5,
        "larger, by Keras itself": lambda x: make.UpSampling2D(2, interpolation="bilinear")(x),
        "attention over places": lambda x: _attended(make, x),
        "one layer called twice": lambda x: _twice(make.Conv2D(3, 3, padding="same", activation="tanh"), x),
        "a model in a model": lambda x: keras.Sequential([make.Conv2D(4, 3), make.BatchNormalization(), make.ReLU()])(
            x
        ),
        "two models whose layers have the same names": lambda x: make.Add()([_named(x, "one"), _named(x, "two")]),
        "two outputs, one of use": lambda x: keras.ops.split(make.Conv2D(6, 1)(x), 2, axis=-1)[1],
    }


def _attended(make: Any, x: Any) -> Any:
    tokens = make.Reshape((-1, 3))(x)
    tokens = make.LayerNormalization()(make.MultiHeadAttention(2, 4)(tokens, tokens))
    return make.GlobalAveragePooling1D()(tokens)


def _named(x: Any, name: str) -> Any:
    keras = keras_on_torch()
    image = keras.Input(x.shape[1:])
    return keras.Model(image, keras.layers.Conv2D(4, 3, name="conv")(image), name=name)(x)


def _twice(layer: Any, x: Any) -> Any:
    return layer(layer(x))


@pytest.mark.parametrize("kind", _layers())
def test_a_layer_gives_what_it_gives_in_keras(kind: str, tmp_path: Path) -> None:
    keras = keras_on_torch()
    image = keras.Input((11, 14, 3))
    model = _quietly(lambda: _randomised(keras.Model(image, _layers()[kind](image), name="mobilenetv2_like")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # numpy's of Keras, as it reads a constant
        adapter = _loaded(save_keras(model, tmp_path / "model.keras"))
        pixels = adapter.encode([picture("red", 1), picture("blue", 2)])["pixel_values"]
        with torch.no_grad():
            ours = adapter.features({"pixel_values": pixels})
    wanted = _quietly(lambda: model.predict(pixels.permute(0, 2, 3, 1).numpy(), verbose=0))
    wanted = wanted.mean(axis=(1, 2)) if wanted.ndim == 4 else wanted
    assert ours.numpy() == pytest.approx(wanted, abs=1e-5, rel=1e-5)


def test_a_shift_that_keras_lacks_never_learns(tmp_path: Path) -> None:
    keras = keras_on_torch()
    image = keras.Input((8, 8, 3))
    x = keras.layers.BatchNormalization(scale=False)(keras.layers.Conv2D(4, 3)(image))
    adapter = _loaded(save_keras(keras.Model(image, x, name="resnet50"), tmp_path / "model.keras"))
    adapter.split.freeze_below(0)
    learning = [name for name, parameter in adapter.model.named_parameters() if parameter.requires_grad]
    assert len(learning) == 2 + 1 + 2  # the convolution, the shift, the head: neither a scale nor statistics


def test_stages_end_where_all_ways_meet(tmp_path: Path) -> None:
    adapter = _loaded(save_keras(tiny_keras(), tmp_path / "model.keras"))
    assert len(adapter.stages) == 2
    # Behind the first sum and its activation; what has no weights (mean, dropout) is of the last stage.
    assert _kinds(adapter, 0)[-3:] == ["Merge", "ReLU", "ZeroPad2d"]
    assert _kinds(adapter, 1)[-2:] == ["GlobalPool", "Dropout"]


def test_a_plain_row_of_layers_is_cut_where_maps_become_smaller(tmp_path: Path) -> None:
    keras = keras_on_torch()
    make = keras.layers
    rows = [make.Conv2D(4, 3, strides=1 + number % 2, padding="same") for number in range(6)]
    model = keras.Sequential([keras.Input((32, 32, 3)), make.Rescaling(1 / 255), *rows, make.Flatten(), make.Dense(2)])
    adapter = _loaded(save_keras(model, tmp_path / "m.keras"))
    assert [len(_kinds(adapter, place)) for place in range(len(adapter.stages))] == [2, 2, 2, 2]


def _kinds(adapter: Adapter, stage: int) -> list[str]:
    """The names of the layers of a stage."""
    return [type(layer).__name__ for layer in adapter.stages[stage].get_submodule("layers").children()]


# --- pixels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["caffe", "tf", "torch"])
def test_pixels_are_those_of_keras_own_preprocessing(mode: Any) -> None:
    keras = keras_on_torch()
    images = [picture("red", 1, (50, 40)), picture("sand", 2, (31, 77))]
    ours = Preprocessing(mode, 24, 28)(images)
    if mode == "caffe":
        ours = ours.flip(1)  # in the network
    for image, pixels in zip(images, ours, strict=True):
        array = np.asarray(image, dtype=np.float32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            there = keras.ops.convert_to_numpy(keras.ops.image.resize(array, (24, 28)))
        wanted = keras.applications.imagenet_utils.preprocess_input(there.copy(), mode=mode)
        assert pixels.permute(1, 2, 0).numpy() == pytest.approx(wanted, abs=2e-4)


def test_resizing_as_pillow_does_looks_at_all_pixels() -> None:
    stripes = picture("red", 1, (64, 64))
    stripes.putdata([(255 * (place % 2),) * 3 for place in range(64 * 64)])
    as_keras, as_pillow = Preprocessing("none", 9, 9, "keras"), Preprocessing("none", 9, 9, "pillow")
    assert as_pillow([stripes]).std() < 10 < 50 < as_keras([stripes]).std()


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *(("resnet50", "caffe"), ("resnet101v2", "tf"), ("mobilenetv2_1.00_160", "tf"), ("MobileNetV3Large", "none")),
        *(("vgg16", "caffe"), ("densenet121", "torch"), ("efficientnetv2-b0", "none"), ("inception_v3", "tf")),
        *(("convnext_tiny", "none"), ("inception_resnet_v2", "tf"), ("my_cnn", None), ("resnet500", None)),
    ],
)
def test_the_range_of_pixels_follows_from_the_name_of_a_network(name: str, mode: str | None) -> None:
    assert mode_of([name]) == mode


@pytest.mark.parametrize("inside", ["layer", "operations"])
def test_pixels_stay_as_they_are_where_the_model_scales_them_itself(tmp_path: Path, inside: str) -> None:
    keras = keras_on_torch()
    image = keras.Input((16, 16, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(image) if inside == "layer" else image / 127.5 - 1
    model = keras.Model(image, keras.layers.Conv2D(4, 3)(x), name="mobilenetv2_mine")
    adapter = _loaded(save_keras(model, tmp_path / "model.keras"))
    assert adapter.processor_settings()["mode"] == "none"


def test_an_unknown_range_of_pixels_is_asked_for(tmp_path: Path) -> None:
    file = save_keras(tiny_keras(named="my_cnn"), tmp_path / "model.keras")
    with pytest.raises(ModelError, match=r"range of pixels .* must be known .* preprocessor_config.json"):
        _loaded(file)
    (tmp_path / "preprocessor_config.json").write_text('{"mode": "unit", "resizing": "pillow"}')
    assert _loaded(file).processor_settings() == {
        "library": "keras",
        "mode": "unit",
        "height": 32,
        "width": 32,
        "resizing": "pillow",
    }


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ('{"mode": "bgr"}', "mode in preprocessor_config.json"),
        ('{"resizing": ["x"]}', "resizing in preprocessor_config.json"),
        ('{"height": 64}', "must be 32, as the model takes; got 64"),
        ('{"height": true}', "1 to 4096 pixels"),
        ("[]", "a file with a JSON object"),
        ("{", "a file with a JSON object"),
    ],
)
def test_settings_of_pixels_that_do_not_fit_are_told(tmp_path: Path, said: str, words: str) -> None:
    file = save_keras(tiny_keras(), tmp_path / "model.keras")
    (tmp_path / "preprocessor_config.json").write_text(said)
    with pytest.raises(ModelError, match=words):
        _loaded(file)


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_finished_classifier_keeps_its_head(tmp_path: Path, suffix: str) -> None:
    model = tiny_keras()
    adapter = _loaded(save_keras(model, tmp_path / f"mine{suffix}"), None)
    assert adapter.class_names == ("LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3", "LABEL_4")
    pixels = adapter.encode([picture("red", 1), picture("blue", 2)])["pixel_values"]
    with torch.no_grad():
        ours = adapter.above({"pixel_values": pixels}, 0).softmax(-1)
    wanted = _quietly(lambda: model.predict(pixels.permute(0, 2, 3, 1).numpy(), verbose=0))
    assert ours.numpy() == pytest.approx(wanted, abs=1e-5)


def test_a_head_in_a_model_inside_is_found(tmp_path: Path) -> None:
    keras = keras_on_torch()
    model = keras.Sequential([keras.Input((32, 32, 3)), tiny_keras()])
    adapter = _loaded(save_keras(model, tmp_path / "model.keras"), None)
    pixels = adapter.encode([picture("red", 1), picture("blue", 2)])["pixel_values"]
    with torch.no_grad():
        ours = adapter.above({"pixel_values": pixels}, 0).softmax(-1)
    wanted = _quietly(lambda: model.predict(pixels.permute(0, 2, 3, 1).numpy(), verbose=0))
    assert ours.numpy() == pytest.approx(wanted, abs=1e-5)
    assert adapter.processor_settings()["mode"] == "tf"  # by the name of the model inside


def test_a_model_without_a_head_is_no_classifier(tmp_path: Path) -> None:
    keras = keras_on_torch()
    image = keras.Input((8, 8, 3))
    file = save_keras(keras.Model(image, keras.layers.Conv2D(4, 3)(image), name="vgg16"), tmp_path / "m.keras")
    with pytest.raises(ModelError, match="all its head weights; got no head"):
        _loaded(file, None)


def test_a_pickle_beside_the_model_is_not_read(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    save_keras(tiny_keras(), tmp_path / "mine.h5")
    (tmp_path / "label_encoder.pkl").write_bytes(pickle.dumps(Trap()))
    assert len(_loaded(tmp_path, None).class_names) == 5
    assert not (tmp_path / "sprung").exists()


def test_a_folder_with_several_models_wants_one_named(tmp_path: Path) -> None:
    model = tiny_keras()
    for name in ("one.keras", "two.h5"):
        save_keras(model, tmp_path / name)
    with pytest.raises(ModelError, match=r"one.keras.*two.h5.*Name the file itself"):
        _loaded(tmp_path)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda folder: None, "got none at"),
        (lambda folder: (folder / "saved_model.pb").touch(), "got a TensorFlow SavedModel"),
        (lambda folder: (folder / "m.keras").write_bytes(b"no archive"), "got a damaged one"),
        (lambda folder: (folder / "m.h5").write_bytes(b"no HDF5"), "got a damaged one"),
        (lambda folder: save_keras(tiny_keras(), folder / "m.h5").write_bytes(b"\x89HDF\r\n\x1a\n"), "a damaged one"),
        (lambda folder: _weights_alone(folder), "got only weights"),
    ],
    ids=["none", "SavedModel", "keras", "h5", "truncated", "weights"],
)
def test_what_is_no_model_is_told(tmp_path: Path, made: Callable[[Path], object], words: str) -> None:
    made(tmp_path)
    with pytest.raises(ModelError, match=words):
        _loaded(tmp_path)


def _weights_alone(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tiny_keras().save_weights(folder / "mine.weights.h5")


def _rewritten(file: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The same file of Keras 3's with another description."""
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    change(config)
    parts["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return file


def _first_layer(**values: object) -> Callable[[dict[str, Any]], object]:
    return lambda config: config["config"]["layers"][1].update(values)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_first_layer(class_name="Lambda"), r"without code of its own; got a layer Lambda"),
        (_first_layer(class_name="TorchModuleWrapper"), r"got a layer TorchModuleWrapper"),
        (_first_layer(module="os", class_name="system"), r"Keras' own layers; got os.system"),
        (_first_layer(module="keras_fake.layers"), r"Keras' own layers; got keras_fake"),
        (_first_layer(registered_name="Mine>Conv"), r"Keras' own layers"),
        (lambda config: config["config"]["layers"][1]["config"].update(filters=10**9), r"filters of 1,000,000,000"),
        (lambda config: config["config"]["layers"][1]["config"].update(kernel_size=[2, 2]), "got something else"),
    ],
    ids=["lambda", "torch", "import", "other package", "registered", "size", "shape"],
)
def test_a_file_that_asks_for_more_than_keras_own_layers_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    file = _rewritten(save_keras(tiny_keras(), tmp_path / "model.keras"), change)
    with pytest.raises(ModelError, match=words):
        _loaded(file)


def test_code_in_an_old_file_is_refused(tmp_path: Path) -> None:
    import h5py

    file = save_keras(tiny_keras(), tmp_path / "mine.h5")
    with h5py.File(file, "r+") as content:
        config = json.loads(content.attrs["model_config"])
        config["config"]["layers"][1]["class_name"] = "Lambda"
        content.attrs["model_config"] = json.dumps(config)
    with pytest.raises(ModelError, match="got a layer Lambda"):
        _loaded(file)


def test_weights_in_another_file_are_not_followed(tmp_path: Path) -> None:
    import h5py

    file = save_keras(tiny_keras(), tmp_path / "model.keras")
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    inside = io.BytesIO(parts["model.weights.h5"])
    with h5py.File(inside, "r+") as content:
        content["elsewhere"] = h5py.ExternalLink("/etc/other.h5", "/secret")
    with zipfile.ZipFile(file, "w") as archive:
        for name, part in {**parts, "model.weights.h5": inside.getvalue()}.items():
            archive.writestr(name, part)
    with pytest.raises(ModelError, match="got a link to another file"):
        _loaded(file)


def test_a_file_that_would_fill_the_memory_is_not_unpacked(tmp_path: Path) -> None:
    file = save_keras(tiny_keras(), tmp_path / "model.keras")
    with zipfile.ZipFile(file) as archive:
        config = archive.read("config.json")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", config)
        archive.writestr("model.weights.h5", bytes(1 << 25))
    with pytest.raises(ModelError, match=r"about as large as its file; got model.weights.h5 of 33,554,432 bytes"):
        _loaded(file)


def test_a_model_of_two_images_is_refused(tmp_path: Path) -> None:
    keras = keras_on_torch()
    images = [keras.Input((8, 8, 3)), keras.Input((8, 8, 3))]
    file = save_keras(keras.Model(images, keras.layers.Add()(images)), tmp_path / "model.keras")
    with pytest.raises(ModelError, match="from one image to one output; got 2 inputs"):
        _loaded(file)


# --- Keras itself ----------------------------------------------------------------------------------------------------


def test_without_the_extra_one_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_keras(tiny_keras(), tmp_path / "model.keras")
    monkeypatch.setattr("hftransfer.base.extras.find_spec", lambda name: None)
    for name in (f"keras:local-dir:{tmp_path}", "keras:ResNet50", str(tmp_path)):
        with pytest.raises(ModelError, match=r"got no keras, h5py. Install them: pip install 'hftransfer\[keras\]'"):
            find_checkpoint(name)


def test_another_backend_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    assert libraries._chosen_keras_backend() is None
    for backend, told in (("tensorflow", None), ("jax", "jax"), ("torch", None)):
        (tmp_path / "keras.json").write_text(json.dumps({"backend": backend}))
        assert libraries._chosen_keras_backend() == told
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert libraries._chosen_keras_backend() == "tensorflow"
    monkeypatch.setattr(libraries, "_OTHER_BACKENDS", ["tensorflow"])
    adapter = _loaded(save_keras(tiny_keras(), tmp_path / "model.keras"))
    assert adapter.notes[-1] == "Keras is set to the backend tensorflow, but it runs on torch here"


def test_keras_that_was_imported_on_another_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    keras = keras_on_torch()
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ModelError, match="must be torch; got jax, on which this process imported it"):
        keras_on_torch()


def test_random_weights_are_said_aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(APPLICATIONS, "MobileNetV3Small", ("none", 32))
    assert find_checkpoint("keras:MobileNetV3Small/none", fetch=False) is None
    checkpoint = find_checkpoint("keras:MobileNetV3Small/none")
    assert checkpoint is not None
    assert find_checkpoint("keras:MobileNetV3Small/none", fetch=False) == checkpoint
    adapter = load_adapter(checkpoint, NAMES, head=IMAGE_CLASSES)
    assert any("random" in note for note in adapter.notes)
    assert adapter.features(adapter.sample_inputs(1)).shape == (1, 576)


def test_weights_are_not_fetched_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    keras_on_torch()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))
    with pytest.raises(ModelError, match=r"in Keras' cache, or fetched; got none \(not fetched: HF_HUB_OFFLINE"):
        find_checkpoint("keras:MobileNetV3Small")
    assert not list(cache_folder("models").glob("keras-MobileNetV3Small-*/model.keras"))


@pytest.mark.parametrize(
    ("name", "words"),
    [("keras:ResNet5", "Did you mean 'ResNet50'"), ("keras:ResNet50/jft", "model.weights must be imagenet or none")],
)
def test_a_network_that_keras_lacks_is_told(name: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        find_checkpoint(name)


# The larger ConvNeXts are ConvNeXtSmall, but wider.
_WIDER = ("ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtXLarge")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name, (_, side) in APPLICATIONS.items() if side <= 300 and name not in _WIDER]
)
def test_every_network_computes_the_same_in_torch(name: str) -> None:
    checkpoint = find_checkpoint(f"keras:{name}/none")
    assert checkpoint is not None
    adapter = load_adapter(checkpoint, NAMES, head=IMAGE_CLASSES)  # compares its features with Keras' own
    assert len(adapter.stages) > 2
    keras = keras_on_torch()
    shape = getattr(keras.applications, name)(weights=None).input_shape
    # Some take images of any size; their weights were learned on these.
    assert shape[1:3] in ((None, None), (adapter.processor.height, adapter.processor.width))
