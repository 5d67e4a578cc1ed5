"""The frozen part, computed once per example and kept."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hftransfer.adapters.checkpoint import find_checkpoint
from hftransfer.adapters.heads import IMAGE_CLASSES
from hftransfer.adapters.images import ImageAdapter
from hftransfer.adapters.loading import load_adapter
from hftransfer.base.errors import DataError, RecipeError
from hftransfer.data.rows import BytesContent, Row
from hftransfer.tasks.items import ImageItems
from hftransfer.training import activations, devices
from hftransfer.training.activations import ActivationStore, StoredActivations, fill_store, key_parts
from hftransfer.training.batches import passes_of
from hftransfer.training.devices import Compute, choose_compute
from tests.builders import FAMILIES, encoded, faults_of, missing_words, picture

FP32 = Compute(torch.device("cpu"), "fp32", 4)
BF16 = Compute(torch.device("cpu"), "bf16", 4)


def rows_of(count: int, first: int = 0) -> list[Row]:
    return [Row(f"{i}.png", BytesContent(encoded(picture(seed=i))), "red") for i in range(first, first + count)]


def digests_of(rows: list[Row]) -> list[bytes]:
    return [hashlib.blake2b(row.content.read(), digest_size=16).digest() for row in rows]


class Counted:
    """Counts the images that go through a model and its copies."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.images = 0
        original = activations._forward

        def forward(adapter: Any, boundary: int, inputs: Any, compute: Any) -> Any:
            self.images += len(inputs["pixel_values"])
            return original(adapter, boundary, inputs, compute)

        monkeypatch.setattr(activations, "_forward", forward)


@pytest.fixture
def counted(monkeypatch) -> Counted:
    return Counted(monkeypatch)


def adapter_of(folder: Path) -> Any:
    checkpoint = find_checkpoint(str(folder))
    assert checkpoint is not None
    return load_adapter(checkpoint, head=IMAGE_CLASSES)


@pytest.fixture(scope="module")
def resnet(tiny) -> Any:
    return adapter_of(tiny("resnet"))


def filled(
    root: Path, adapter: ImageAdapter, rows: list[Row], compute: Compute = FP32, weights: str = "w"
) -> tuple[ActivationStore, np.ndarray]:
    """The store with the features of these rows, and the features (N, D)."""
    boundary = len(adapter.stages)
    store = ActivationStore(root, key_parts(adapter, weights, boundary, compute))
    digests = digests_of(rows)
    assert fill_store(store, adapter, boundary, ImageItems(rows, digests, adapter), compute) == {}
    features = store.activations(digests)
    return store, features.rows(0, len(rows))


# --- computing once --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_stored_features_are_those_of_the_model(family, tiny, tmp_path):
    adapter, rows = adapter_of(tiny(family)), rows_of(7)
    _, features = filled(tmp_path, adapter, rows)
    with torch.no_grad():
        for row, stored in zip(rows, features, strict=True):
            (image,) = [picture(seed=int(row.id.removesuffix(".png")))]
            wanted = adapter.features(adapter.encode([image]))[0].numpy()
            assert np.abs(stored - wanted).max() < 1e-4 * max(1, np.abs(wanted).max())


def test_a_second_pass_computes_nothing(resnet, tmp_path, counted):
    _, first = filled(tmp_path, resnet, rows_of(6))
    assert counted.images == 6
    _, second = filled(tmp_path, resnet, rows_of(6))
    assert counted.images == 6
    assert first.tobytes() == second.tobytes()


def test_one_more_image_computes_one(resnet, tmp_path, counted):
    filled(tmp_path, resnet, rows_of(6))
    _, features = filled(tmp_path, resnet, rows_of(7))
    assert counted.images == 7
    assert features.shape == (7, 24)


def test_images_in_another_order_are_found_again(resnet, tmp_path, counted):
    _, first = filled(tmp_path, resnet, rows_of(6))
    _, second = filled(tmp_path, resnet, rows_of(6)[::-1])
    assert counted.images == 6
    assert np.array_equal(first, second[::-1])


def test_equal_images_are_computed_once(resnet, tmp_path, counted):
    rows = rows_of(3)
    _, features = filled(tmp_path, resnet, [*rows, *rows, rows[0]])
    assert counted.images == 3
    assert np.array_equal(features[:3], features[3:6])


def test_changed_bytes_are_computed_anew(resnet, tmp_path, counted):
    filled(tmp_path, resnet, rows_of(4))
    rows = [*rows_of(3), Row("3.png", BytesContent(encoded(picture("blue"))), "red")]
    filled(tmp_path, resnet, rows)
    assert counted.images == 5


def test_progress_counts_every_row_once(resnet, tmp_path):
    rows = rows_of(6)
    steps: list[int] = []
    store = ActivationStore(tmp_path, {"x": 1})
    for _ in range(2):
        steps.clear()
        fill_store(store, resnet, len(resnet.stages), ImageItems(rows, digests_of(rows), resnet), FP32, steps.append)
        assert sum(steps) == 6


def test_no_rows_give_no_features(resnet, tmp_path):
    store = ActivationStore(tmp_path, {"x": 1})
    assert fill_store(store, resnet, len(resnet.stages), ImageItems([], [], resnet), FP32) == {}
    assert store.activations([]).shape[0] == 0


# --- the key ---------------------------------------------------------------------------------------------------------


def _another_processor(adapter: ImageAdapter, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(adapter, "processor_settings", lambda: {"size": 64})


def _another_library(name: str) -> Callable[[Any, pytest.MonkeyPatch], None]:
    def change(_: Any, patch: pytest.MonkeyPatch) -> None:
        own = importlib.metadata.version
        patch.setattr(activations, "version", lambda asked: "0.0.1" if asked == name else own(asked))

    return change


KEY_CHANGES: dict[str, Callable[[Any, pytest.MonkeyPatch], Any]] = {
    "weights": lambda *_: {"weights": "other"},
    "processor": _another_processor,
    "precision": lambda *_: {"compute": BF16},
    "backend": lambda _, patch: patch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX1024"),
    "torch": lambda _, patch: patch.setattr(torch, "__version__", "1.0"),
    "boundary": lambda *_: {"boundary": 0},
    "code": lambda _, patch: patch.setattr(activations, "code_digest", lambda _: "other"),
    **{name: _another_library(name) for name in ("transformers", "timm", "torchvision", "pillow")},
}


@pytest.mark.parametrize("part", KEY_CHANGES)
def test_any_change_of_what_shapes_activations_is_another_key(part, resnet, tmp_path, monkeypatch):
    values: dict[str, Any] = {"weights": "w", "boundary": len(resnet.stages), "compute": FP32}

    def folder(values: dict[str, Any]) -> Path:
        parts = key_parts(resnet, values["weights"], values["boundary"], values["compute"])
        return ActivationStore(tmp_path, parts).folder

    before = folder(values)
    assert folder(values) == before
    change = KEY_CHANGES[part](resnet, monkeypatch)
    assert folder(values | (change or {})) != before


@pytest.mark.parametrize("setting", ["image_mean", "resample", "size", "do_normalize", "crop_pct", "rescale_factor"])
def test_any_setting_of_the_processor_is_part_of_the_key(setting, tiny, tmp_path):
    changed = {
        "image_mean": [0.1, 0.2, 0.3],
        "resample": 2,
        "size": {"shortest_edge": 40},
        "do_normalize": False,
        "crop_pct": 0.5,
        "rescale_factor": 0.5,
    }
    shutil.copytree(tiny("resnet"), tmp_path / "model")
    file = tmp_path / "model" / "preprocessor_config.json"
    before = key_parts(adapter_of(tmp_path / "model"), "w", 4, FP32)
    file.write_text(json.dumps(json.loads(file.read_text()) | {setting: changed[setting]}))
    assert key_parts(adapter_of(tmp_path / "model"), "w", 4, FP32) != before


@pytest.mark.parametrize("setting", ["mean", "interpolation", "crop_pct", "input_size", "crop_mode"])
def test_any_setting_of_timms_processor_is_part_of_the_key(setting, tiny, tmp_path):
    changed = {
        "mean": [0.1, 0.2, 0.3],
        "interpolation": "bilinear",
        "crop_pct": 0.5,
        "input_size": [3, 32, 32],
        "crop_mode": "squash",
    }
    shutil.copytree(tiny("timm"), tmp_path / "model")
    file = tmp_path / "model" / "config.json"
    before = key_parts(adapter_of(tmp_path / "model"), "w", 4, FP32)
    config = json.loads(file.read_text())
    config["pretrained_cfg"][setting] = changed[setting]
    file.write_text(json.dumps(config))
    assert key_parts(adapter_of(tmp_path / "model"), "w", 4, FP32) != before


def test_weights_are_known_by_their_content(tiny, tmp_path):
    shutil.copytree(tiny("resnet"), tmp_path / "copy")
    original, copy = find_checkpoint(str(tiny("resnet"))), find_checkpoint(str(tmp_path / "copy"))
    assert original is not None
    assert copy is not None
    assert original.weights_sha256 == copy.weights_sha256
    other = find_checkpoint(str(tiny("vit")))
    assert other is not None
    assert other.weights_sha256 != original.weights_sha256


def test_the_key_of_a_checkpoint_is_the_same_in_every_process(resnet):
    text = json.dumps(key_parts(resnet, "w", 4, FP32), sort_keys=True, default=str)
    assert " at 0x" not in text
    assert str(Path.home()) not in text


def test_the_key_does_not_depend_on_the_new_head(tiny):
    checkpoint = find_checkpoint(str(tiny("resnet")))
    assert checkpoint is not None
    two, nine = (
        load_adapter(checkpoint, ["a", "b"], head=IMAGE_CLASSES),
        load_adapter(checkpoint, list("abcdefghi"), head=IMAGE_CLASSES),
    )
    assert key_parts(two, "w", 4, FP32) == key_parts(nine, "w", 4, FP32)


def test_the_code_digest_covers_what_shapes_pixels_and_features():
    package = Path(activations.__file__).parents[1]
    covered = {file for name in activations._CODE for file in [package / name, *(package / name).glob("*.py")]}
    for name in ("adapters/images.py", "adapters/base.py", "data/images.py", "training/devices.py"):
        assert package / name in covered
    for name in activations._CODE:
        assert (package / name).exists()


# --- interruptions and company ---------------------------------------------------------------------------------------


def test_what_was_computed_before_an_interruption_is_kept(resnet, tmp_path, counted, monkeypatch):
    rows = rows_of(20)
    store = ActivationStore(tmp_path, {"x": 1})
    seen = 0

    def advance(steps: int) -> None:
        nonlocal seen
        seen += steps
        if seen >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill_store(store, resnet, len(resnet.stages), ImageItems(rows, digests_of(rows), resnet), FP32, advance)
    again = ActivationStore(tmp_path, {"x": 1})
    assert len(again.missing(digests_of(rows))) == 12
    fill_store(again, resnet, len(resnet.stages), ImageItems(rows, digests_of(rows), resnet), FP32)
    assert counted.images == 20


def test_a_bad_image_stops_the_pass_and_keeps_the_rest(resnet, tmp_path):
    rows = rows_of(8)
    rows[6] = Row("bad.png", BytesContent(encoded(picture(size=(200, 200)), "JPEG")[:2000]), "red")
    store = ActivationStore(tmp_path, {"x": 1})
    with pytest.raises(DataError) as error:
        fill_store(store, resnet, len(resnet.stages), ImageItems(rows, digests_of(rows), resnet), FP32)
    assert missing_words(faults_of(error), ("bad.png must be a complete image", "`hftransfer check` lists all")) == []
    assert len(ActivationStore(tmp_path, {"x": 1}).missing(digests_of(rows))) == 4


def test_bad_images_may_be_passed_over_with_all_their_copies(resnet, tmp_path):
    rows = rows_of(8)
    for place in (1, 5):
        rows[place] = Row(f"bad{place}.png", BytesContent(encoded(picture(size=(99, 99)), "JPEG")[:1000]), "red")
    digests = digests_of(rows)
    store = ActivationStore(tmp_path, {"x": 1})
    faults = fill_store(store, resnet, len(resnet.stages), ImageItems(rows, digests, resnet), FP32, stop_at_fault=False)
    assert sorted(faults) == [1, 5]
    assert store.missing(digests) == [1]


def test_half_written_files_are_passed_over(resnet, tmp_path, counted):
    store, first = filled(tmp_path, resnet, rows_of(4))
    (store.folder / ".abc.tmp").write_bytes(b"half")
    (store.folder / "abcdef.f32").write_bytes(b"rows whose digests were never written")
    _, second = filled(tmp_path, resnet, rows_of(4))
    assert counted.images == 4
    assert np.array_equal(first, second)


@pytest.mark.parametrize("damage", ["no rows", "cut rows", "no digests"])
def test_damaged_files_are_computed_anew(damage, resnet, tmp_path, counted):
    store, first = filled(tmp_path, resnet, rows_of(4))
    (rows_file,), (ids_file,) = store.folder.glob("*.f32"), store.folder.glob("*.ids")
    match damage:
        case "no rows":
            rows_file.unlink()
        case "cut rows":
            rows_file.write_bytes(rows_file.read_bytes()[:-10])
        case "no digests":
            ids_file.write_bytes(b"")
    _, second = filled(tmp_path, resnet, rows_of(4))
    assert counted.images == 8
    assert np.allclose(first, second, atol=1e-5)


def test_a_full_disk_leaves_no_damaged_file(tmp_path):
    """Half a row reaches the disk before the write fails."""
    store = ActivationStore(tmp_path, {"x": 1})
    rows = np.arange(12, dtype=np.float32).reshape(3, 4)

    class Full:
        def __init__(self, file: Any, left: int) -> None:
            self.file, self.left = file, left

        def write(self, content: bytes) -> int:
            self.file.write(content[: self.left])
            self.left -= len(content)
            if self.left < 0:
                raise OSError(28, "No space left on device")
            return len(content)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    own = activations._Shard.__init__

    def on_a_full_disk(self: Any, folder: Path) -> None:
        own(self, folder)
        self._file = Full(self._file, 40 if folder == store.folder else 0)  # and nowhere else is room

    def write() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(activations._Shard, "__init__", on_a_full_disk)
            with store.writing() as take:
                take([b"a" * 16, b"b" * 16], list(rows[:2]))
                take([b"c" * 16], list(rows[2:]))

    with pytest.raises(OSError, match="No space left"):
        write()
    again = ActivationStore(tmp_path, {"x": 1})
    assert again.missing([b"a" * 16, b"b" * 16, b"c" * 16])[-1] == 2
    kept = [digest for digest in (b"a" * 16, b"b" * 16) if not again.missing([digest])]
    assert np.array_equal(again.activations(kept).rows(0, len(kept)), rows[: len(kept)])


def test_a_temporary_file_does_not_outlive_an_empty_pass(tmp_path):
    store = ActivationStore(tmp_path, {"x": 1})
    with store.writing():
        pass
    assert [file.name for file in store.folder.iterdir()] == ["key.json"]


def test_two_that_write_at_once_are_both_read(tmp_path):
    parts = {"x": 1}
    rows = np.arange(40, dtype=np.float32).reshape(10, 4)
    digests = [bytes([number]) * 16 for number in range(10)]
    together = threading.Barrier(2)

    def write(start: int) -> None:
        store = ActivationStore(tmp_path, parts)
        with store.writing() as take:
            together.wait()
            for number in range(start, start + 6):
                take([digests[number]], [rows[number]])

    threads = [threading.Thread(target=write, args=(start,)) for start in (0, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = ActivationStore(tmp_path, parts)
    assert store.missing(digests) == []
    assert np.array_equal(store.activations(digests).rows(0, 10), rows)


def test_what_a_thread_writes_is_not_swept_away_by_another(tmp_path, monkeypatch):
    plain = Path.open

    def opened(path, *args, **options):
        file = plain(path, *args, **options)
        if path.suffix == ".tmp":
            ActivationStore(tmp_path, {"x": 1})  # as another thread may, right then
        return file

    monkeypatch.setattr(Path, "open", opened)
    store = ActivationStore(tmp_path, {"x": 1})
    with store.writing() as take:
        take([bytes(16)], [np.ones(4, dtype=np.float32)])
    assert store.missing([bytes(16)]) == []
    assert not list(store.folder.glob(".*"))


def test_rows_are_gathered_in_order_across_files(tmp_path, monkeypatch):
    monkeypatch.setattr(activations, "_ROWS_PER_SHARD", 3)
    rows = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    digests = [bytes([number]) * 16 for number in range(10)]
    store = ActivationStore(tmp_path, {"x": 1})
    with store.writing() as take:
        for number in range(10):
            take([digests[number]], [rows[number]])
    assert len(list(store.folder.glob("*.f32"))) == 4
    order = [7, 0, 9, 3, 3, 1, 8]
    for reader in (store, ActivationStore(tmp_path, {"x": 1})):
        features = reader.activations([digests[number] for number in order])
        assert features.shape == (7, 4)
        assert np.array_equal(features.rows(0, 7), rows[order])
        assert np.array_equal(features.rows(2, 5), rows[order[2:5]])


def test_features_are_mapped_not_held(resnet, tmp_path):
    store, _ = filled(tmp_path, resnet, rows_of(3))
    features = store.activations(digests_of(rows_of(3)))
    assert isinstance(features, StoredActivations)
    assert all(isinstance(shard, np.memmap) for shard in features.shards)


# --- precision -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [*FAMILIES, "convnext"])
def test_bf16_is_close_to_fp32(family, tiny, tmp_path):
    adapter, rows = adapter_of(tiny(family)), rows_of(6)
    _, exact = filled(tmp_path, adapter, rows)
    _, fast = filled(tmp_path, adapter, rows, BF16)
    cosine = (exact * fast).sum(axis=1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(fast, axis=1)
    assert cosine.min() > 0.99
    assert not np.array_equal(exact, fast)


@pytest.mark.parametrize("compute", [FP32, BF16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_pass_leaves_the_model_alone(family, compute, tiny, tmp_path):
    adapter = adapter_of(tiny(family))
    before = {name: (tensor.clone(), tensor.dtype) for name, tensor in adapter.model.state_dict().items()}
    filled(tmp_path, adapter, rows_of(5), compute)
    for name, tensor in adapter.model.state_dict().items():
        assert tensor.dtype == before[name][1]
        assert torch.equal(tensor, before[name][0])
    assert not adapter.model.training


def test_drafts_are_kept_apart_from_exact_images(resnet, tmp_path):
    large = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)).resize((1200, 800))
    rows = [Row("large.jpg", BytesContent(encoded(large, "JPEG")), "red")]
    boundary = len(resnet.stages)
    store = ActivationStore(tmp_path, key_parts(resnet, "w", boundary, FP32))
    found = {}
    for decode in ("exact", "draft"):
        items = ImageItems(rows, digests_of(rows), resnet, decode=decode)
        assert store.missing(items.digests) == [0]
        fill_store(store, resnet, boundary, items, FP32)
        found[decode] = store.activations(items.digests).rows(0, 1)
    assert not np.array_equal(found["draft"], found["exact"])
    np.testing.assert_allclose(found["draft"], found["exact"], atol=0.05 * np.abs(found["exact"]).max())


def test_activations_that_are_no_numbers_are_told(tiny, tmp_path):
    adapter = adapter_of(tiny("vit"))
    with torch.no_grad():
        adapter.model.vit.layernorm.bias.fill_(float("nan"))
    rows = rows_of(2)
    store = ActivationStore(tmp_path, {"x": 1})
    with pytest.raises(DataError, match=r"activations must be finite; got NaN or infinity.*precision fp32"):
        fill_store(store, adapter, len(adapter.stages), ImageItems(rows, digests_of(rows), adapter), FP32)


def test_auto_precision_is_bf16_only_where_the_hardware_computes_it(monkeypatch):
    for able, wanted in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(devices, "computes_bf16", lambda _, able=able: able)
        assert choose_compute("auto", None).precision == wanted
    assert choose_compute("fp32", None).precision == "fp32"
    assert choose_compute("bf16", 7).batch_size == 7


@pytest.mark.parametrize(
    ("amx", "known", "able"),
    [
        (True, {}, True),
        (False, {"avx512_bf16": True, "cpu_name": "AMD EPYC 9354"}, True),
        (False, {"avx512_bf16": True, "cpu_name": "Intel(R) Xeon(R)"}, False),  # there fp32 is faster
        (False, {"avx512_bf16": False, "cpu_name": "AMD EPYC 7543"}, False),
    ],
)
def test_which_processors_compute_bf16_faster_is_known(monkeypatch, amx, known, able):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert devices.computes_bf16(torch.device("cpu")) is able


def test_bf16_is_refused_on_devices_without_it(monkeypatch):
    class Elsewhere:
        device = torch.device("mps")

    monkeypatch.setattr("accelerate.PartialState", Elsewhere)
    with pytest.raises(
        RecipeError, match=r"train\.precision must be auto, fp32 or fp16 on this device \(mps\); got bf16"
    ):
        choose_compute("bf16", None)


def test_the_device_is_described_in_one_line():
    assert FP32.describe() == "cpu, 1 process of 1 thread, fp32"
    assert "torch" in FP32.backend


def test_short_texts_go_many_at_once_and_long_ones_few():
    lengths = np.array([3, 20, 8, 8, 3, 40])
    order = np.argsort(-lengths, kind="stable").tolist()
    compute = Compute(torch.device("cpu"), "fp32", 2, most_tokens=32)
    assert passes_of(order, lengths, compute) == [[5], [1], [2, 3, 0, 4]]
    assert passes_of(order, lengths, FP32) == [order[:4], order[4:]]
    assert passes_of(list(range(5)), None, compute) == [[0, 1], [2, 3], [4]]
    assert choose_compute("fp32", 7).most_tokens is None
