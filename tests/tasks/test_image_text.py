"""Image-text transfer: pairs of towers, captions, the contrastive loss, and whole runs."""

from __future__ import annotations

import csv
import io
import json
import math
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import hftransfer as ht
from hftransfer.adapters.checkpoint import find_checkpoint
from hftransfer.adapters.dual import DualEncoder, load_dual
from hftransfer.adapters.pairing import pair_towers
from hftransfer.adapters.towers import tower_adapters
from hftransfer.base.errors import DataError, HftransferError, ModelError, RecipeError
from hftransfer.base.progress import Progress
from hftransfer.cli import app
from hftransfer.data.captions import build_captioned, captions_of
from hftransfer.data.pictures import CAPTIONED_IMAGES
from hftransfer.data.settings import DataSettings
from hftransfer.data.sources import find_rows, rows_from_python
from hftransfer.jobs.evaluation import evaluate_model
from hftransfer.jobs.run import check, run
from hftransfer.metrics.retrieval import RETRIEVAL_METRICS, recalls, retrieval_ranks
from hftransfer.report.tables import data_table
from hftransfer.training.contrastive import PairSource, Pooled, ProjectionAdapter, Scores, infonce, sigmoid_loss
from hftransfer.training.devices import Compute
from hftransfer.training.interrupts import Interrupted
from hftransfer.training.loop import TrainingError, _Run
from tests.builders import (
    DUAL_FAMILIES,
    NO_PICTURES,
    RELATED_DUAL_FAMILIES,
    TinyModels,
    faults_of,
    interrupted,
    load_dual_model,
    missing_words,
    picture,
    slowly,
    write_tiny_open_clip,
)

SILENT = Progress(None)
FP32 = Compute(torch.device("cpu"), "fp32", 4)
CAPTIONS = {"red": ("the film was great", "a lovely film"), "blue": ("the story was dull", "an awful story")}


@pytest.fixture(scope="module")
def captions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 40 pictures with two captions each."""
    folder = tmp_path_factory.mktemp("captions")
    (folder / "images").mkdir()
    with (folder / "captions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "caption"])
        for number in range(40):
            color = ("red", "blue")[number % 2]
            picture(color, number).save(folder / "images" / f"{number}.png")
            writer.writerows(
                [f"images/{number}.png", f"{text} {'very ' * (number % 3)}good"] for text in CAPTIONS[color]
            )
    return folder / "captions.csv"


def _recipe(tiny: TinyModels, data: Path, **more: Any) -> dict[str, Any]:
    model = {"image": str(tiny("vit")), "text": str(tiny("bert")), "width": 16}
    train = {"precision": "fp32", "epochs": 6, "batch_size": 16}
    return {
        "task": "image-text",
        "model": model,
        "data": str(data),
        "train": train,
        "output": NO_PICTURES,
        **more,
    }


# --- formulas --------------------------------------------------------------------------------------------------------


def test_ranks_are_those_of_plain_loops() -> None:
    random = np.random.default_rng(0)
    images, texts = random.normal(size=(7, 3)).round(1), random.normal(size=(15, 3)).round(1)
    owners = np.sort(np.concatenate([np.arange(7), random.integers(0, 7, 8)]))
    to_captions, to_images = retrieval_ranks(images, texts, owners)
    scores = images @ texts.T
    for image in range(7):
        best = max(scores[image, text] for text in range(15) if owners[text] == image)
        assert to_captions[image] == sum(scores[image, t] >= best for t in range(15) if owners[t] != image)
    for text in range(15):
        own = scores[owners[text], text]
        assert to_images[text] == sum(scores[i, text] >= own - 1e-12 for i in range(7) if i != owners[text])
    found = recalls(to_captions, "image_to_text", (1, 3))
    assert found["image_to_text_recall_at_3"] == np.mean([rank in (0, 1, 2) for rank in to_captions])


@pytest.mark.parametrize("count", [50, 1500])
def test_a_model_that_finds_everything_alike_finds_nothing(count: int) -> None:
    # Cosines of equal embeddings differ in their last digits by how they are summed.
    random = np.random.default_rng(0)
    one = random.normal(size=(1, 384)).astype(np.float32)
    captions = random.normal(size=(count, 384)).astype(np.float32)
    captions /= np.linalg.norm(captions, axis=1, keepdims=True)
    images = np.repeat(one / np.linalg.norm(one), count, axis=0)
    _, to_images = retrieval_ranks(images, captions, np.arange(count))
    assert (to_images == count - 1).all()
    to_captions, _ = retrieval_ranks(captions, images, np.arange(count))
    assert (to_captions == count - 1).all()


def test_the_loss_is_the_mean_of_both_directions() -> None:
    scores = torch.randn(5, 5, generator=torch.Generator().manual_seed(1))
    loss = infonce(9)
    expected = 0.0
    for own in range(5):
        rows, columns = scores[own].exp(), scores[:, own].exp()
        expected -= float((rows[own] / rows.sum()).log() + (columns[own] / columns.sum()).log()) / 2
    assert float(loss.total(scores, range(5))) == pytest.approx(expected, rel=1e-5)
    assert loss.weight(range(5)) == 5.0


def test_the_sigmoid_loss_asks_of_every_pair_alone() -> None:
    scores = torch.randn(4, 4, generator=torch.Generator().manual_seed(2))
    expected = 0.0
    for image in range(4):
        for text in range(4):
            sign = 1 if image == text else -1
            expected += float((1 + (-sign * scores[image, text]).exp()).log())
    assert float(sigmoid_loss(4).total(scores, range(4))) == pytest.approx(expected, rel=1e-5)


def test_an_image_stands_with_one_of_its_own_captions() -> None:
    owners = np.repeat(np.arange(6), [1, 2, 3, 1, 4, 2])
    pooled = Pooled(np.zeros((6, 2), np.float32), np.arange(13, dtype=np.float32)[:, None], owners)
    seen = set()
    for epoch in range(40):
        source = PairSource(pooled, FP32, 0, epoch)
        texts = source.read(range(6))["text"][:, 0].int().numpy()
        assert owners[texts].tolist() == list(range(6))
        assert PairSource(pooled, FP32, 0, epoch).chosen.tolist() == source.chosen.tolist()
        seen |= set(texts.tolist())
    assert seen == set(range(13))


# --- towers ----------------------------------------------------------------------------------------------------------


def _pair(tiny: TinyModels, image: str = "vit", text: str = "bert") -> Any:
    found = [find_checkpoint(str(tiny(family))) for family in (image, text)]
    assert found[0] is not None
    assert found[1] is not None
    return pair_towers(found[0], found[1], 8)


def _reference(tiny: TinyModels, family: str) -> str:
    return f"open_clip:local-dir:{tiny(family)}" if family == "open_clip" else str(tiny(family))


def _dual(reference: str | Path) -> DualEncoder:
    checkpoint = find_checkpoint(str(reference))
    assert checkpoint is not None
    return load_dual(checkpoint)


@pytest.mark.parametrize("family", [*DUAL_FAMILIES, *RELATED_DUAL_FAMILIES, "open_clip"])
def test_the_parts_of_each_tower_together_give_its_embedding(tiny: TinyModels, family: str) -> None:
    dual = _dual(_reference(tiny, family))
    inputs = [dual.encode_images([picture("red", 1), picture("blue", 2)]), dual.encode_texts(["the film", "a story"])]
    embedded = dual.embed_images(inputs[0]), dual.embed_texts(inputs[1])
    for adapter, own, expected in zip(tower_adapters(dual), inputs, embedded, strict=True):
        assert len(adapter.stages) == (7 if (family, adapter.modality) == ("align-dual", "image") else 2)
        for boundary in range(len(adapter.stages) + 1):
            assert torch.allclose(adapter.above(adapter.below(own, boundary), boundary), expected, atol=1e-5)


def test_towers_that_give_their_tokens_as_well_are_those_of_coca(tmp_path: Path) -> None:
    write_tiny_open_clip(tmp_path / "coca", captions=True)
    dual = _dual(f"open_clip:local-dir:{tmp_path / 'coca'}")
    inputs = [dual.encode_images([picture("red", 1), picture("blue", 2)]), dual.encode_texts(["the film", "a story"])]
    clip: Any = dual.model
    with torch.no_grad():  # normalised, unless asked otherwise
        theirs = clip.encode_image(*inputs[0].values()), clip.encode_text(*inputs[1].values())
    embedded = dual.embed_images(inputs[0]), dual.embed_texts(inputs[1])
    stages = []
    for adapter, own, expected, normal in zip(tower_adapters(dual), inputs, embedded, theirs, strict=True):
        assert torch.allclose(torch.nn.functional.normalize(expected, dim=-1), normal, atol=1e-6)
        stages.append(len(adapter.stages))
        for boundary in range(len(adapter.stages) + 1):
            assert torch.allclose(adapter.above(adapter.below(own, boundary), boundary), expected, atol=1e-5)
    assert stages == [2, 1]  # between its text stages there is one place more than tokens


@pytest.mark.parametrize("family", ["clip-dual", "siglip-dual", "align-dual"])
def test_a_learned_scale_is_written_as_the_model_keeps_it(tiny: TinyModels, tmp_path: Path, family: str) -> None:
    dual = _dual(tiny(family))
    scores = Scores(dual.scale, "infonce", 0.0)
    with torch.no_grad():
        scores.logit_scale.fill_(math.log(7.0))
    scores.write_back(dual)
    assert dual.scale == pytest.approx(7.0, rel=1e-5)
    dual.save(tmp_path)
    assert _dual(tmp_path).scale == pytest.approx(7.0, rel=1e-5)


@pytest.mark.parametrize("scale", [100.01, 117.3])
def test_a_scale_beyond_the_bound_learns_and_is_kept(scale: float) -> None:
    scores = Scores(scale, "sigmoid", -12.9)  # as in CLIP's and SigLIP's own weights
    cosines = torch.rand(4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(scores(cosines), scale * cosines - 12.9, atol=1e-3)
    scores(cosines).sum().backward()
    assert scores.logit_scale.grad is not None
    assert float(scores.logit_scale.grad) == pytest.approx(scale * float(cosines.sum()), rel=1e-4)
    with torch.no_grad():
        scores.logit_scale.add_(1)
    assert torch.allclose(scores(cosines), scale * cosines - 12.9, atol=1e-3)  # no further than it began


def test_embeddings_of_each_patch_are_no_embeddings_of_images(tiny: TinyModels) -> None:
    with pytest.raises(ModelError, match="whose two towers give its embeddings"):
        _dual(tiny("clip-dual"))._embedding(torch.zeros(1, 4, 8))  # type: ignore[attr-defined]


def test_towers_with_projections_of_several_layers_are_told(tiny: TinyModels) -> None:
    dual = _dual(tiny("clip-dual"))
    layers = torch.nn.Sequential(torch.nn.Linear(32, 32), torch.nn.Linear(32, 16))
    dual.model.visual_projection = layers
    dual.require_towers("text")
    with pytest.raises(ModelError, match="whose two towers give its embeddings"):
        dual.require_towers("image")


@pytest.mark.parametrize("text", ["bert", "roberta"])
@pytest.mark.parametrize("image", ["vit", "dinov2", "convnext", "timm_resnet"])
def test_towers_are_paired_into_a_native_model(tiny: TinyModels, tmp_path: Path, image: str, text: str) -> None:
    from transformers import AutoModel, VisionTextDualEncoderModel

    dual = _pair(tiny, image, text)
    images, texts = [picture("red", 1), picture("blue", 2)], ["the film", "a very lovely story was great"]
    tokens = dual.encode_texts(texts)
    with torch.inference_mode():
        pooled = dual.tower("text").pooled(**tokens)
        hidden = AutoModel.from_pretrained(tiny(text)).eval()(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1)
        mean = (hidden * mask).sum(1) / mask.sum(1)
        expected = torch.nn.functional.layer_norm(mean, mean.shape[-1:], eps=0.0)
    assert (pooled * 100 - expected).abs().max() < 2e-2
    dual.save(tmp_path / "model")
    model = VisionTextDualEncoderModel.from_pretrained(tmp_path / "model").eval()
    with torch.inference_mode():
        pixels = dual.encode_images(images)
        theirs = model(**pixels, **tokens)
        assert torch.allclose(dual.embed_images(pixels), model.get_image_features(**pixels).pooler_output, atol=1e-6)
    assert theirs.logits_per_image.shape == (2, 2)


@pytest.mark.parametrize(
    ("image", "text", "words"),
    [
        ("bert", "bert", ("model.image must be an image backbone",)),
        ("vit", "vit", ("model.text must be a text backbone",)),
        ("resnet", "bert", ("an image backbone whose pooled output is one vector",)),
        ("vit", "gpt2", ("a text backbone with a pooler",)),
    ],
)
def test_towers_that_do_not_fit_are_told(tiny: TinyModels, image: str, text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(ModelError) as error:
        _pair(tiny, image, text)
    assert missing_words(faults_of(error), words) == []


@pytest.mark.parametrize("family", ["clip-dual", "vision-text-dual", "siglip-dual", "open_clip", "pair"])
def test_projections_go_back_as_they_came(tiny: TinyModels, family: str) -> None:
    """Standardised, not trained, and written back: the model embeds as before."""
    dual = _pair(tiny) if family == "pair" else _dual(_reference(tiny, family))
    images = dual.encode_images([picture(color, seed) for seed in range(3) for color in ("red", "blue")])
    texts = dual.encode_texts(["the film", "a story was dull", "an actor", "good", "very great", "the actor"])
    with torch.inference_mode():
        features = dual.tower("image").pooled(**images), dual.tower("text").pooled(**texts)
        pooled = Pooled(features[0].numpy(), features[1].numpy(), np.arange(6))
    adapter = ProjectionAdapter(dual, pooled, new=family == "pair", seed=0)
    mine = adapter.embedded(adapter.standardised(pooled), "cpu")
    if family != "pair":
        before = dual.embed_images(images), dual.embed_texts(texts)
    adapter.write_back()
    with torch.inference_mode():
        after = dual.embed_images(images), dual.embed_texts(texts)
    for own, found in zip(mine, after, strict=True):
        assert np.abs(own - torch.nn.functional.normalize(found, dim=-1).numpy()).max() < 1e-3
    if family != "pair":
        assert all(torch.allclose(one, two, atol=1e-5) for one, two in zip(before, after, strict=True))


# --- captions --------------------------------------------------------------------------------------------------------


def test_an_image_is_held_out_with_all_its_captions(captions: Path) -> None:
    settings = DataSettings(source=str(captions), label_column="caption")
    found = build_captioned(find_rows(settings, SILENT, CAPTIONED_IMAGES), settings, 0, SILENT)
    assert found.sizes() == {"train": 27, "validation": 5, "test": 8}
    digests = [digest for _, split in found.items() for digest in split.digests]
    assert len(set(digests)) == 40
    assert all(len(own) == 2 for _, split in found.items() for own in split.targets)
    again = build_captioned(find_rows(settings, SILENT, CAPTIONED_IMAGES), settings, 0, SILENT)
    other = build_captioned(find_rows(settings, SILENT, CAPTIONED_IMAGES), settings, 1, SILENT)
    assert again.fingerprint() == found.fingerprint() != other.fingerprint()


def test_a_pair_of_towers_is_checked(captions: Path, tiny: TinyModels) -> None:
    recipe = _recipe(tiny, captions)
    document = captions.parent / "pair.yaml"
    document.write_text(json.dumps(recipe))
    result = CliRunner().invoke(app, ["check", str(document)])
    assert result.exit_code == 0, result.output
    assert "sound" in result.stdout


def test_captions_are_checked_without_training(captions: Path, tiny: TinyModels, flat_data: Path) -> None:
    splits = check(_recipe(tiny, captions), progress=SILENT)
    assert splits.sizes() == {"train": 27, "validation": 5, "test": 8}
    assert "images     27           5     8" in data_table(splits, "images")
    with pytest.raises(DataError, match=r"must be mostly different from each other; got 2 .*image-classification"):
        check(_recipe(tiny, flat_data), progress=SILENT)


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        (("caption", "text"), "caption"),
        (("Captions", "label"), "Captions"),
        (("title", "text"), "text"),
        (("title", "label"), "title"),
    ],
)
def test_captions_are_found_by_usual_names(columns: tuple[str, ...], wanted: str) -> None:
    rows = [{"image": picture("red", n), **{name: f"{name} {n}" for name in columns}} for n in range(3)]
    found = rows_from_python(rows, DataSettings(source="memory"), CAPTIONED_IMAGES)
    assert [row.target for row in found["all"]] == [f"{wanted} {n}" for n in range(3)]
    bare = [{"image": one["image"], "label": "a"} for one in rows]
    with pytest.raises(DataError, match=r"a table with a column such as caption; got image, label. Name the column"):
        rows_from_python(bare, DataSettings(source="memory"), CAPTIONED_IMAGES)


def test_captions_come_in_the_forms_of_known_data_sets(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for number in range(4):
        picture("red", number).save(tmp_path / "pictures" / f"{number}.png")
    coco = {
        "info": {"year": 2017},
        "images": [{"id": 9 - n, "file_name": f"{n}.png"} for n in range(4)],
        "annotations": [{"id": n, "image_id": 9 - n // 2, "caption": f"caption {n}"} for n in range(6)],
    }
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    sentences = [[{"raw": f"caption {n}"}, {"raw": f"caption {n + 1}"}] for n in (0, 2, 4)]
    splits = ("restval", "val", "test")
    karpathy = [
        {"filepath": "pictures", "filename": f"{n}.png", "sentences": own, "split": split}
        for n, (own, split) in enumerate(zip(sentences, splits, strict=True))
    ]
    (tmp_path / "karpathy.json").write_text(json.dumps({"dataset": "coco", "images": karpathy}))
    lines = [f"{n // 2}.png| {n % 2}| a caption, with a comma, {n} ." for n in range(6)]
    (tmp_path / "results.csv").write_text("\n".join(["image_name| comment_number| comment", *lines, ""]))

    def read(name: str, split: str = "all") -> list[tuple[str, str]]:
        found = find_rows(DataSettings(source=str(tmp_path / name)), SILENT, CAPTIONED_IMAGES)
        return [(Path(str(row.content.path)).name, row.target) for row in found[split]]

    wanted = [(f"{n // 2}.png", f"caption {n}") for n in range(6)]
    assert read("coco.json") == wanted
    assert read("karpathy.json", "train") == wanted[:2]
    assert read("karpathy.json", "validation") == wanted[2:4]
    assert read("karpathy.json", "test") == wanted[4:]
    assert read("results.csv")[3] == ("1.png", "a caption, with a comma, 3 .")
    coco["annotations"].append({"id": 7, "image_id": 1, "caption": "of nothing"})  # type: ignore[attr-defined]
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    with pytest.raises(DataError, match=r"coco.json: the captions must be of images .* got image_id 1"):
        read("coco.json")


def _captions_of(data: Any, **settings: Any) -> list[list[str]]:
    known = DataSettings(source="memory", label_column="caption", caption_column="caption", test_fraction=0, **settings)
    found = rows_from_python(data, known, CAPTIONED_IMAGES) if not isinstance(data, Path) else None
    if found is None:
        found = find_rows(known.model_copy(update={"source": str(data)}), SILENT, CAPTIONED_IMAGES)
    splits = build_captioned(found, known, 0, SILENT)
    return sorted(own for _, split in splits.items() for own in split.targets)


def test_captions_may_come_in_lists_or_numbered_columns(tmp_path: Path) -> None:
    import datasets
    import pandas

    for number in range(4):
        picture("red", number).save(tmp_path / f"{number}.png")
    expected = [[f"first {number}", f"second {number}"] for number in range(4)]
    files = [str(tmp_path / f"{number}.png") for number in range(4)]
    rows = [{"image": file, "caption": own} for file, own in zip(files, expected, strict=True)]
    numbered = [{"image": row["image"], "caption_0": row["caption"][0], "caption_1": row["caption"][1]} for row in rows]
    assert _captions_of(rows) == expected
    assert _captions_of(numbered) == expected
    assert _captions_of([(row["image"], row["caption"]) for row in rows]) == expected
    assert _captions_of(datasets.Dataset.from_list(rows)) == expected
    assert _captions_of(datasets.Dataset.from_list(numbered)) == expected
    (tmp_path / "captions.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert _captions_of(tmp_path / "captions.jsonl", allow_outside_paths=True) == expected
    pandas.DataFrame(numbered).to_csv(tmp_path / "captions.csv", index=False)
    assert _captions_of(tmp_path / "captions.csv", allow_outside_paths=True) == expected
    with pytest.raises(DataError, match=r"train\[1\]: column 'label' must be a label; got nothing|nothing"):
        _captions_of([rows[0], {**rows[1], "caption": []}])


def test_missing_images_are_all_named(captions: Path, tiny: TinyModels, tmp_path: Path) -> None:
    text = captions.read_text() + "images/gone.png,a film\nimages/lost.png,a story\n"
    (captions.parent / "faulty.csv").write_text(text)
    with pytest.raises(DataError) as error:
        run(_recipe(tiny, captions.parent / "faulty.csv"), out=tmp_path / "run", progress=SILENT)
    assert missing_words(faults_of(error), ("gone.png", "lost.png", "faulty.csv:82")) == []


def test_of_several_captions_one_may_be_empty(tmp_path: Path) -> None:
    files = []
    for number in range(4):
        picture("red", number).save(tmp_path / f"{number}.png")
        files.append(str(tmp_path / f"{number}.png"))
    rows = [{"image": file, "caption_0": f"first {n}", "caption_1": f"second {n}"} for n, file in enumerate(files)]
    expected = [[f"first {number}", f"second {number}"] for number in range(4)]
    rows[1]["caption_1"], rows[2]["caption_0"] = "", " "
    assert _captions_of(rows) == [expected[0], ["first 1"], expected[3], ["second 2"]]
    lists = [{"image": row["image"], "caption": [row["caption_0"], row["caption_1"]]} for row in rows]
    assert _captions_of(lists) == [expected[0], ["first 1"], expected[3], ["second 2"]]


def test_unfit_rows_are_left_out_before_anything_is_learned(tiny: TinyModels, captions: Path, tmp_path: Path) -> None:
    file, whole = captions.parent / "unfit.csv", (captions.parent / "images" / "0.png").read_bytes()
    (captions.parent / "images" / "cut.png").write_bytes(whole[: len(whole) // 2])  # a sound header
    file.write_text(captions.read_text() + "images/1.png,\nimages/cut.png,a film\n")
    with pytest.raises(DataError, match=r"unfit.csv:82: column 'caption' .*; got nothing.*on_error=skip"):
        run(_recipe(tiny, file), out=tmp_path / "stopped", progress=SILENT)
    for strategy in ("linear-probe", "fine-tune"):
        recipe = _recipe(tiny, file, strategy=strategy)
        recipe |= {"data": {"source": str(file), "on_error": "skip"}, "train": {**recipe["train"], "epochs": 1}}
        result = run(recipe, out=tmp_path / strategy, progress=SILENT)
        assert result.metrics["examples"] == {"train": 27, "validation": 5, "test": 8}
        assert result.metrics["skipped"] == 2
        left = (result.folder / "skipped.csv").read_text()
        assert missing_words(left, ("unfit.csv:82", "cut.png")) == []


def test_the_range_of_deep_images_is_kept(tiny: TinyModels, tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(0), []
    for number in range(12):
        values = rng.integers(0, 3000 if number else 4000, (24, 24)).astype(np.uint16)  # 12 bits of 16
        Image.fromarray(values).save(tmp_path / f"{number}.png")
        rows.append({"image": str(tmp_path / f"{number}.png"), "caption": f"film number {number}"})
    dim = tmp_path / "dim.png"
    Image.fromarray((np.arange(24 * 24).reshape(24, 24) % 200).astype(np.uint16)).save(dim)
    file = tmp_path / "captions.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    recipe = _recipe(tiny, file) | {"data": {"source": str(file), "allow_outside_paths": True}}
    recipe["train"] |= {"epochs": 1}
    result = run(recipe, out=tmp_path / "run", progress=SILENT)
    model = load_dual_model(result.folder)
    assert model.pixels == (0.0, 4095.0)
    assert "the values 0 to 4,095 became 0 to 255" in (result.folder / "model" / "README.md").read_text()
    by_hand = Image.fromarray((np.asarray(Image.open(dim)) / 4095 * 255).round().astype(np.uint8)).convert("RGB")
    assert model.embed_images(dim) == pytest.approx(model.embed_images(by_hand), abs=1e-5)
    found = ht.search(tmp_path / "1.png", [dim, by_hand], model=result.folder, progress=SILENT)
    assert found[0].similarity == pytest.approx(found[1].similarity, abs=1e-5)
    judged = evaluate_model(str(result.folder), str(file), ["allow_outside_paths=true", "limit=1"], progress=SILENT)
    assert judged["examples"] == 1
    (result.folder / "model" / "hftransfer.json").write_text('{"task": "image-text", "pixels": [4, 1]}')
    with pytest.raises(ModelError, match="a valid file of hftransfer"):
        load_dual_model(result.folder)


# --- whole runs ------------------------------------------------------------------------------------------------------


def test_images_and_captions_find_each_other(
    tiny: TinyModels, captions: Path, folder_data: Path, tmp_path: Path
) -> None:
    names = {
        path.name: word
        for path, word in zip(sorted((folder_data / "test").iterdir()), ("film", "story", "actor"), strict=False)
    }
    recipe = _recipe(tiny, captions, zero_shot_data=str(folder_data), class_names=names, prompts="the {}")
    recipe |= {"output": {}}
    recipe["train"] |= {"epochs": 40}
    recipe["strategy"] = {"kind": "linear-probe", "learning_rate": 0.01}
    result = run(recipe, out=tmp_path / "run", progress=SILENT)
    metrics = result.metrics
    assert metrics["examples"] == {"train": 27, "validation": 5, "test": 8}
    assert metrics["epochs"] == 40
    assert 0 <= metrics["test"]["text_to_image_recall_at_1"] <= metrics["test"]["text_to_image_recall_at_10"] == 1.0
    assert sum(map(sum, metrics["zero_shot"]["confusion_matrix"])) > 0
    names_there = {file.relative_to(result.folder).as_posix() for file in result.folder.rglob("*") if file.is_file()}
    assert {"history.csv", "figures/history.png", "retrieval.parquet", "model/model.safetensors"} <= names_there
    card = (result.folder / "model" / "README.md").read_text()
    assert missing_words(card, ("Image to text recall at 10", "zero-shot-image-classification", "AutoModel")) == []
    assert str(tmp_path) not in card
    page = (result.folder / "report.html").read_text()
    assert (
        missing_words(page, ("images and captions brought together by", "finds late", "image to text recall at 1"))
        == []
    )
    assert str(tiny("vit").parent) not in page
    assert load_dual_model(result.folder).predict(picture("red", 3), ["film", "story"]).label in ("film", "story")
    code = card.split("```python\n")[1].split("```")[0].replace("path/to/this/folder", str(result.folder / "model"))
    picture("red", 3).save(tmp_path / "photo.jpg")
    known: dict[str, Any] = {}
    exec(code.replace("photo.jpg", str(tmp_path / "photo.jpg")), known)
    assert known["probabilities"].shape == (1, 2)
    pictures = [picture(color, seed + 100) for seed in range(6) for color in ("red", "blue")]
    found = ht.zero_shot(result.folder / "model", pictures, ["film", "story"], prompts="the {}")
    right = [one.label == ("film", "story")[index % 2] for index, one in enumerate(found)]
    assert np.mean(right) >= 0.9


def test_a_dual_encoder_is_judged_by_captions(tiny: TinyModels, captions: Path, tmp_path: Path) -> None:
    result = run(_recipe(tiny, captions), out=tmp_path / "run", progress=SILENT)
    own = evaluate_model(str(result.folder), None, progress=SILENT)
    assert (own["examples"], own["captions"]) == (8, 16)
    assert {name: own[name] for name in RETRIEVAL_METRICS} == pytest.approx(
        {name: result.metrics["test"][name] for name in RETRIEVAL_METRICS}
    )
    everything = evaluate_model(str(result.folder), str(captions), progress=SILENT)
    assert (everything["examples"], everything["captions"]) == (40, 80)
    # From embeddings of Python, and ranks that are counted by a loop.
    model = load_dual_model(result.folder)
    images = model.embed_images([captions.parent / f"images/{n}.png" for n in range(40)])
    texts = [f"{text} {'very ' * (n % 3)}good" for n in range(40) for text in CAPTIONS[("red", "blue")[n % 2]]]
    scores = images @ model.embed_texts(texts).T
    ranks = [
        sum(scores[other, m] >= scores[m // 2, m] - 1e-6 for other in range(40) if other != m // 2) for m in range(80)
    ]
    assert everything["text_to_image_recall_at_5"] == pytest.approx(np.mean(np.array(ranks) < 5))
    named = evaluate_model(str(result.folder), str(captions), ["caption_column=caption", "limit=10"], progress=SILENT)
    assert named["examples"] == 10
    bare = CliRunner().invoke(app, ["eval", str(result.folder / "model")])
    assert bare.exit_code == 2
    assert "labels or captions" in bare.stderr


def test_a_resumed_run_is_the_run_that_was_not_interrupted(
    tiny: TinyModels, captions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = _recipe(tiny, captions)
    whole = run(recipe, out=tmp_path / "whole", progress=SILENT)
    with interrupted(monkeypatch, 7):
        run(recipe, out=tmp_path / "run", progress=SILENT)
    resumed = run(recipe, out=tmp_path / "run", resume=True, progress=SILENT)
    files = [(folder / "model" / "model.safetensors").read_bytes() for folder in (whole.folder, resumed.folder)]
    assert files[0] == files[1]
    assert whole.metrics["test"] == resumed.metrics["test"]
    other = run(recipe, {"train.seed": 1}, out=tmp_path / "other", progress=SILENT)
    assert (other.folder / "model" / "model.safetensors").read_bytes() != files[0]


PROBE = pytest.param({"kind": "linear-probe"}, id="probe")
TOWERS = [
    pytest.param({"kind": "fine-tune"}, id="all"),
    pytest.param({"kind": "fine-tune", "unfreeze": 1}, id="last-stage"),
    pytest.param({"kind": "lora", "rank": 2}, id="lora"),
]


@pytest.mark.parametrize("strategy", [PROBE, *TOWERS])
@pytest.mark.parametrize("family", ["pair", "clip-dual", *slowly("timm-pair", "siglip-dual", "open_clip")])
def test_towers_learn_with_their_projections(
    tiny: TinyModels,
    captions: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    strategy: dict[str, Any],
    family: str,
) -> None:
    monkeypatch.setattr(_Run, "judge_start", lambda _: None)  # so that the best model is one that learned
    recipe = _recipe(tiny, captions, strategy=strategy)
    recipe["train"] |= {"epochs": 2, "loss": "sigmoid" if strategy.get("unfreeze") else "infonce"}
    if "pair" not in family:
        recipe["model"] = _reference(tiny, family)
    if family == "timm-pair":
        recipe["model"] |= {"image": str(tiny("timm_resnet"))}
    result = run(recipe, out=tmp_path / "run", progress=SILENT)
    assert result.metrics["epochs"] == 2
    assert result.metrics["strategy"] == strategy["kind"]
    dual = _dual(f"open_clip:local-dir:{result.folder / 'model'}" if family == "open_clip" else result.folder / "model")
    # What is saved embeds as what was judged: the ranks of the test split are the same.
    settings = DataSettings(source=str(captions), label_column="caption")
    test = build_captioned(find_rows(settings, SILENT, CAPTIONED_IMAGES), settings, 0, SILENT).test
    texts, owners = captions_of(test)
    with torch.inference_mode():
        images = dual.embed_images(dual.encode_images([_opened(row) for row in test.rows])).numpy()
        found = dual.embed_texts(dual.encode_texts(texts)).numpy()
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (images, found)]
    ranks, _ = retrieval_ranks(unit[0], unit[1], owners)
    assert recalls(ranks, "image_to_text").items() <= result.metrics["test"].items()
    assert dual.model.training is False
    if strategy["kind"] == "linear-probe":
        _require_same_by_card(result.folder / "model", dual, tmp_path, monkeypatch)
    if "pair" not in family:
        before, after = _dual(recipe["model"]).model.state_dict(), dual.model.state_dict()
        assert before.keys() == after.keys()
        changed = {name for name, weight in after.items() if not torch.equal(weight, before[name])}
        assert changed <= LEARNS[family] if strategy["kind"] == "linear-probe" else changed


def _require_same_by_card(model: Path, dual: DualEncoder, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing, if the code on the card, which knows nothing of hftransfer, gives the same probabilities."""
    picture("red", 1).save(folder / "photo.jpg")
    monkeypatch.chdir(folder)
    card = (model / "README.md").read_text()
    found: dict[str, Any] = {}
    code = card.split("```python\n")[1].split("```")[0].replace("path/to/this/folder", str(model))
    exec(compile(code, "card", "exec"), found)
    with Image.open(folder / "photo.jpg") as photo, torch.no_grad():
        images = dual.embed_images(dual.encode_images([photo.convert("RGB")]))
        texts = dual.embed_texts(dual.encode_texts(["a photo of a cat.", "a photo of a dog."]))
    units = [torch.nn.functional.normalize(part, dim=-1) for part in (images, texts)]
    expected = (dual.scale * units[0] @ units[1].T).softmax(-1)
    assert torch.allclose(found["probabilities"], expected, atol=1e-4)


LEARNS = {
    "clip-dual": {"logit_scale", "visual_projection.weight", "text_projection.weight"},
    "siglip-dual": {"logit_scale", "logit_bias", "text_model.head.weight", "text_model.head.bias"},
    "open_clip": {"logit_scale", "visual.proj", "text_projection"},
}
"""With a linear probe: SigLIP has no projection of images, whose tower is then locked as a whole."""


def _opened(row: Any) -> Any:
    return Image.open(io.BytesIO(row.content.read())).convert("RGB")


def test_what_lies_below_the_boundaries_and_the_mean_over_tokens_stay(
    tiny: TinyModels, captions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Run, "judge_start", lambda _: None)  # so that the best model is one that learned
    recipe = _recipe(tiny, captions, strategy={"kind": "fine-tune", "unfreeze": 1})
    result = run(recipe, out=tmp_path / "run", progress=SILENT)
    loaded = find_checkpoint(str(result.folder / "model"))
    assert loaded is not None
    before = _pair(tiny).model.state_dict()
    after = load_dual(loaded).model.state_dict()
    changed = {name for name, weight in after.items() if not torch.equal(weight, before[name])}
    layers = len(_pair(tiny).model.text_model.encoder.layer)
    assert any(name.startswith(f"text_model.encoder.layer.{layers - 2}.") for name in changed)
    still = (f"text_model.encoder.layer.{layers - 1}.", "text_model.encoder.layer.0.", "text_model.embeddings")
    assert not any(name.startswith(still) for name in changed)
    assert "text_model.pooler.dense.weight" not in changed
    assert any(name.startswith("vision_model.") for name in changed)
    assert not any(name.startswith(("vision_model.embeddings", "vision_model.layers.0.")) for name in changed)


def test_towers_go_on_after_an_interruption_as_if_there_was_none(
    tiny: TinyModels, captions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = _recipe(tiny, captions, strategy={"kind": "fine-tune", "unfreeze": 1})
    recipe["train"] |= {"epochs": 3, "batch_size": 9}
    whole = run(recipe, out=tmp_path / "whole", progress=SILENT)
    part, seen = _Run._part, []

    def stopped(self: _Run, *given: Any) -> float:
        if self.plan.keeping is not None:
            seen.append(self.at.steps)
            if self.at.steps == 4:
                raise Interrupted(signal.SIGTERM)
        return part(self, *given)

    with monkeypatch.context() as patched:
        patched.setattr(_Run, "_part", stopped)
        with pytest.raises(Interrupted):
            run(recipe, out=tmp_path / "run", progress=SILENT)
    assert 4 in seen
    resumed = run(recipe, out=tmp_path / "run", resume=True, progress=SILENT)
    files = [(folder / "model" / "model.safetensors").read_bytes() for folder in (whole.folder, resumed.folder)]
    assert files[0] == files[1]


def test_a_batch_of_pairs_is_never_halved(
    tiny: TinyModels, captions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> float:
        raise MemoryError

    monkeypatch.setattr(_Run, "_part", full)
    with pytest.raises(TrainingError, match=r"train.batch_size must be smaller; got 16, which do not fit into memory"):
        run(_recipe(tiny, captions), out=tmp_path / "run", progress=SILENT)


def test_the_shipped_recipe_runs_on_tiny_stand_ins(
    tiny: TinyModels, captions: Path, folder_data: Path, tmp_path: Path
) -> None:
    stand_ins = {"model.image": str(tiny("vit")), "model.text": str(tiny("bert")), "train.epochs": 2}
    stand_ins |= {"data.source": str(captions), "zero_shot_data": str(folder_data)}
    result = run("image_text_probe", stand_ins, out=tmp_path / "run", progress=SILENT)
    assert set(result.metrics) >= {"test", "validation", "zero_shot"}


def test_a_dual_encoder_learns_on(tiny: TinyModels, captions: Path, tmp_path: Path) -> None:
    recipe = {**_recipe(tiny, captions), "model": str(tiny("clip-dual"))}
    result = run(recipe, out=tmp_path / "run", progress=SILENT)
    again = run(result.folder / "recipe.yaml", out=tmp_path / "again", progress=SILENT)
    assert again.metrics["test"] == result.metrics["test"]
    loaded = find_checkpoint(str(result.folder / "model"))
    assert loaded is not None
    assert load_dual(loaded).scale > 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"strategy": {"kind": "lora", "merge": True}}, ("strategy.merge must be left out for task image-text",)),
        ({"strategy": {"kind": "fine-tune", "unfreeze": ["x"]}}, ("all or a number of stages of each tower",)),
        ({"strategy": {"kind": "fine-tune", "unfreeze": 9}}, ("a number from 1 to", "images")),
        (
            {"train": {"augment": "light", "mixup": 0.2}},
            ("train.augment must be left out", "train.mixup must be left out"),
        ),
        ({"train": {"metric": "accuracy"}}, ("train.metric must be one of image_to_text_recall_at_1",)),
        ({"compare_prompts": True}, ("compare_prompts must be left out",)),
        ({"prompts": "a cat"}, ("prompts must be a template",)),
        ({"model": {"image": "x/y"}}, ("model.name", "must be given")),
    ],
)
def test_faults_are_told(
    tiny: TinyModels, captions: Path, tmp_path: Path, change: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(HftransferError) as error:
        run({**_recipe(tiny, captions), **change}, out=tmp_path / "run", progress=SILENT)
    assert missing_words(faults_of(error), words) == []


def test_pairs_are_for_captions_alone(tiny: TinyModels, flat_data: Path, tmp_path: Path) -> None:
    recipe = {**_recipe(tiny, flat_data), "task": "image-classification"}
    with pytest.raises(RecipeError, match="one model for task image-classification"):
        run(recipe, out=tmp_path / "run", progress=SILENT)
