"""Image segmentation from rows to predictions: what learns, what is kept, and every command."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

import hftransfer as ht
from hftransfer.adapters.checkpoint import find_checkpoint
from hftransfer.adapters.loading import load_adapter
from hftransfer.adapters.segmenters import SegmenterAdapter
from hftransfer.base.errors import DataError, HftransferError, ModelError, RecipeError
from hftransfer.base.progress import Progress
from hftransfer.cli import app
from hftransfer.tasks import head_task
from hftransfer.tasks.items import Change
from hftransfer.tasks.outcomes import SegmentedImage
from hftransfer.training import probe as training_probe
from tests.builders import NO_PICTURES, TinyModels, interrupted, lively, load_model, missing_words, slowly, write_discs

TASK = head_task("image-segmentation")
SILENT = Progress(None)


def _pairs(count: int) -> list[tuple[Image.Image, np.ndarray]]:
    found: list[tuple[Image.Image, np.ndarray]] = TASK.made_up(count)
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Discs on noise, and the mask of each, in three splits."""
    return write_discs(tmp_path_factory.mktemp("discs"))


def _segmented(model: Any, picture: Any) -> SegmentedImage:
    (found,) = model.predict([picture])
    assert isinstance(found, SegmentedImage)
    return found


def _recipe(tiny: TinyModels, data: Path, family: str = "timm", **more: Any) -> dict[str, Any]:
    settings = {"source": str(data), "size": 64, **more.pop("of_data", {})}
    train = {"precision": "fp32", **more.pop("train", {})}
    document = {"task": "image-segmentation", "model": str(tiny(family)), "data": settings, "train": train}
    return {**document, "output": NO_PICTURES, **more}


def _run(recipe: dict[str, Any], out: Path) -> dict[str, Any]:
    return ht.run(recipe, out=out, progress=SILENT).metrics


def _invoke(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize(
    "family", ["timm", "vit", "open_clip", *slowly("resnet", "dinov2", "convnext", "swin", "clip", "siglip")]
)
def test_a_linear_layer_on_every_backbone_comes_back_as_it_was(
    family: str, tiny: TinyModels, data: Path, tmp_path: Path, without_figures: None
) -> None:
    metrics = _run(_recipe(tiny, data, family), tmp_path / "run")
    assert metrics["test"]["mean_iou"] > 0.75
    model = load_model(tmp_path / "run")
    again = model.evaluate(str(data))
    assert again["mean_iou"] == pytest.approx(metrics["test"]["mean_iou"], abs=2e-3)  # maps were kept in 16 bits
    found = _segmented(model, _pairs(1)[0][0])
    assert (found.mask.shape, set(np.unique(found.mask))) == ((96, 96), {0, 7})
    saved = load_model(model.save(tmp_path / "saved"))
    assert (_segmented(saved, _pairs(1)[0][0]).ids == found.ids).all()


def test_the_card_says_how_to_use_it_without_this_library(
    tiny: TinyModels, data: Path, tmp_path: Path, without_figures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = _pairs(1)[0][0]
    for family in ("timm", "vit", "resnet", "swin", "open_clip"):
        run = tmp_path / family
        _run(_recipe(tiny, data, family), run)
        card = (run / "model" / "README.md").read_text()
        # Who reads the card has no classes.txt.
        assert missing_words(card, ("  classes:\n    ground: 0\n    disc: 7\n",)) == []
        code = card.split("```python\n")[1].split("```")[0]
        picture.save(tmp_path / "photo.jpg", quality=100, subsampling=0)
        monkeypatch.chdir(tmp_path)
        scope: dict[str, Any] = {}
        exec(code.replace("path/to/this/folder", str(run / "model")), scope)
        own = _segmented(load_model(run), str(tmp_path / "photo.jpg"))
        assert (np.asarray(scope["mask"]) == own.ids).mean() > 0.999


@pytest.mark.parametrize("family", ["timm", *slowly("resnet", "convnext")])
def test_fine_tuned_decoders_are_native(
    family: str, tiny: TinyModels, data: Path, tmp_path: Path, without_figures: None
) -> None:
    from transformers import AutoModelForSemanticSegmentation, pipeline

    recipe = _recipe(tiny, data, family, strategy={"kind": "fine-tune", "head_lr": 0.01}, train={"epochs": 6})
    metrics = _run(recipe, tmp_path / "run")
    model = load_model(tmp_path / "run")
    assert type(model.source.model).__name__ == "UperNetForSemanticSegmentation"
    assert model.evaluate(str(data))["mean_iou"] == pytest.approx(metrics["test"]["mean_iou"], abs=1e-6)
    picture = _pairs(1)[0][0]
    own = _segmented(model, picture)
    assert AutoModelForSemanticSegmentation.from_pretrained(tmp_path / "run" / "model").config.id2label[1] == "disc"
    segment = pipeline("image-segmentation", model=str(tmp_path / "run" / "model"))
    for part in segment(picture):
        place = own.names.index(part["label"])
        assert ((np.asarray(part["mask"]) > 0) == (own.ids == place)).mean() > 0.999


def test_lora_and_single_stages_learn_what_they_should(
    tiny: TinyModels, data: Path, tmp_path: Path, without_figures: None
) -> None:
    for place, strategy in enumerate(({"kind": "lora", "rank": 2}, {"kind": "fine-tune", "unfreeze": 1})):
        run = tmp_path / str(place)
        metrics = _run(_recipe(tiny, data, strategy=strategy, train={"epochs": 2, "augment": "strong"}), run)
        assert load_model(run).evaluate(str(data))["mean_iou"] == pytest.approx(metrics["test"]["mean_iou"], abs=1e-6)
    from safetensors.torch import load_file

    before, after = (
        load_file(tiny("timm") / "model.safetensors"),
        load_file(tmp_path / "1" / "model" / "model.safetensors"),
    )
    stem = next(name for name in before if name.endswith("conv_stem.weight"))
    assert torch.equal(before[stem], after[f"backbone._backbone.{stem.split('timm_model.')[1]}"])


@pytest.fixture(scope="module")
def segformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny segmenter of other classes."""
    import transformers as tf

    torch.manual_seed(3)
    config = tf.SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[8, 16],
        patch_sizes=[3, 3],
        strides=[2, 2],
        num_attention_heads=[1, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=16,
        id2label={k: f"thing {k}" for k in range(5)},
    )
    folder = tmp_path_factory.mktemp("segformer")
    tf.SegformerForSemanticSegmentation(config).save_pretrained(folder)
    tf.SegformerImageProcessor(size={"height": 64, "width": 64}, do_reduce_labels=True).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["linear-probe", "fine-tune"])
def test_of_a_segmenter_the_last_layer_is_replaced(
    kind: str, segformer: Path, data: Path, tmp_path: Path, without_figures: None
) -> None:
    train = {"precision": "fp32", **({"epochs": 2} if kind != "linear-probe" else {})}
    recipe = {"task": "image-segmentation", "model": str(segformer), "data": str(data), "strategy": kind}
    metrics = _run({**recipe, "train": train}, tmp_path / "run")
    model = load_model(tmp_path / "run")
    assert (type(model.source.model).__name__, model.class_names) == (
        "SegformerForSemanticSegmentation",
        ("ground", "disc"),
    )
    assert model.evaluate(str(data))["mean_iou"] == pytest.approx(metrics["test"]["mean_iou"], abs=2e-3)
    if kind == "linear-probe":
        assert metrics["test"]["mean_iou"] > 0.6


@pytest.mark.parametrize(
    "strategy", [{"kind": "fine-tune"}, *slowly({"kind": "fine-tune", "unfreeze": 1}, {"kind": "lora"})]
)
@pytest.mark.parametrize("model", ["vit", "open_clip", "segformer"])
def test_what_is_trained_under_a_known_last_layer_begins_as_its_probe(
    model: str,
    strategy: dict[str, Any],
    tiny: TinyModels,
    segformer: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    without_figures: None,
) -> None:
    recipe = _recipe(tiny, data, "vit" if model == "segformer" else model)
    recipe["model"] = str(segformer) if model == "segformer" else recipe["model"]
    wanted = _run(recipe, tmp_path / "probe")["validation"]["mean_iou"]
    still = {"learning_rate": 1e-12, "head_lr": 1e-12}
    monkeypatch.setattr(training_probe, "_MOST_START_NUMBERS", 1)
    monkeypatch.setattr(training_probe, "_LEAST_START_MAPS", 16)
    trained = _recipe(
        tiny, data, strategy={**strategy, **still, "head_init": "solved"}, train={"epochs": 1, "augment": "light"}
    )
    run = ht.run({**trained, "model": recipe["model"]}, out=tmp_path / "run", progress=SILENT)
    with (run.folder / "history.csv").open(encoding="utf-8") as lines:
        start, after = csv.DictReader(lines)
    assert start["epoch"] == "0"
    # The probe's maps are kept in 16 bits.
    assert [float(row["mean_iou"]) for row in (start, after)] == pytest.approx([wanted] * 2, abs=5e-3)
    assert run.metrics["validation"]["mean_iou"] == pytest.approx(wanted, abs=5e-3)


def test_a_new_decoder_begins_at_random(tiny: TinyModels, data: Path, tmp_path: Path, without_figures: None) -> None:
    recipe = _recipe(tiny, data, strategy={"kind": "fine-tune"}, train={"epochs": 1})
    run = ht.run(recipe, out=tmp_path / "run", progress=SILENT)
    assert (run.folder / "history.csv").read_text().splitlines()[1].startswith("1,")
    solved = {**recipe, "strategy": {"kind": "fine-tune", "head_init": "solved"}}
    with pytest.raises(HftransferError, match=r"auto or random where .* gets a new decoder; got solved. Leave it out"):
        ht.run(solved, out=tmp_path / "again", progress=SILENT)


def test_dora_learns_beside_convolutions(tiny: TinyModels, data: Path, tmp_path: Path, without_figures: None) -> None:
    recipe = _recipe(tiny, data, "resnet", strategy={"kind": "lora", "dora": True}, train={"epochs": 1})
    assert _run(recipe, tmp_path / "run")["test"]["mean_iou"] > 0
    assert _segmented(load_model(tmp_path / "run"), _pairs(1)[0][0]).ids.shape == (96, 96)


@pytest.mark.parametrize("more", [{}, *slowly({"ema": 0.9}, {"optimizer": "sgd"})])
def test_a_decoder_goes_on_as_if_it_had_not_been_stopped(
    more: dict[str, Any],
    tiny: TinyModels,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    without_figures: None,
) -> None:
    settings = {"epochs": 3, "batch_size": 4, **more}
    recipe = _recipe(tiny, data, "resnet", strategy={"kind": "fine-tune"}, train=settings)
    whole = ht.run(recipe, out=tmp_path / "whole", progress=SILENT)
    with interrupted(monkeypatch, 6):
        ht.run(recipe, out=tmp_path / "run", progress=SILENT)
    again = ht.run(recipe, out=tmp_path / "run", resume=True, progress=SILENT)
    one, other = (load_file(run.folder / "model" / "model.safetensors") for run in (whole, again))
    assert [name for name, weight in one.items() if not torch.equal(weight, other[name])] == []
    assert whole.metrics["test"] == again.metrics["test"]


def _segmenter(kind: str) -> tuple[Any, Any]:
    """A checkpoint that is a segmenter already, or a backbone whose family has a decoder of its own."""
    import transformers as tf

    square, names = {"height": 64, "width": 64}, {k: f"thing {k}" for k in range(5)}
    tokens: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    tokens["initializer_range"] = 0.2
    stages = {"out_features": [f"stage{n}" for n in range(1, 5)], "depths": [1, 1, 1, 1]}
    swin = tf.SwinConfig(image_size=64, embed_dim=16, num_heads=[1, 2, 2, 4], window_size=2, **stages)
    of_swin = {"backbone_config": swin, "hidden_size": 32, "auxiliary_in_channels": 64, "id2label": names}
    pyramid = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 2, 2, 4]}
    narrow = {"hidden_sizes": [32, 32, 32], "neck_hidden_sizes": [8, 16, 16, 24, 24, 24, 64], "aspp_out_channels": 16}
    plain = tf.SegformerImageProcessor(size=square)
    match kind:
        case "upernet":
            return tf.UperNetForSemanticSegmentation(tf.UperNetConfig(**of_swin)), plain
        case "beit":
            config = tf.BeitConfig(**tokens, image_size=64, patch_size=8, out_indices=[1, 2, 3, 4], id2label=names)
            return tf.BeitForSemanticSegmentation(config), tf.BeitImageProcessor(size=square, do_center_crop=False)
        case "dpt":
            necks = {"neck_hidden_sizes": [8, 8, 16, 16], "fusion_hidden_size": 16, "id2label": names}
            config = tf.DPTConfig(**tokens, **necks, image_size=64, patch_size=8, backbone_out_indices=[0, 1, 2, 3])
            return tf.DPTForSemanticSegmentation(config), tf.DPTImageProcessor(size=square)
        case "segformer":
            config = tf.SegformerConfig(**pyramid, decoder_hidden_size=32, id2label=names)
            return tf.SegformerForImageClassification(config), plain
        case _:
            config = tf.MobileViTConfig(**narrow, image_size=64, id2label=names)
            processor = tf.MobileViTImageProcessor(size={"shortest_edge": 64}, crop_size=square)
            return tf.MobileViTForImageClassification(config), processor


@pytest.mark.parametrize(
    ("kind", "strategy", "kept"),
    [
        ("upernet", "linear-probe", "UperNetForSemanticSegmentation"),
        ("segformer", "fine-tune", "SegformerForSemanticSegmentation"),
        *slowly(
            ("upernet", "fine-tune", "UperNetForSemanticSegmentation"),
            ("beit", "linear-probe", "BeitForSemanticSegmentation"),
            ("dpt", "linear-probe", "DPTForSemanticSegmentation"),
            ("mobilevit", "lora", "MobileViTForSemanticSegmentation"),
        ),
    ],
)
def test_segmenters_and_backbones_with_a_decoder_of_their_own_stay_native(
    kind: str, strategy: str, kept: str, data: Path, tmp_path: Path, without_figures: None
) -> None:
    torch.manual_seed(0)
    model, processor = _segmenter(kind)
    lively(model)
    for part in (model, processor):
        part.save_pretrained(tmp_path / "model")
    train = {"precision": "fp32", **({"epochs": 1} if strategy != "linear-probe" else {})}
    recipe = {"task": "image-segmentation", "model": str(tmp_path / "model"), "strategy": strategy, "train": train}
    metrics = _run({**recipe, "data": {"source": str(data), "size": 64}}, tmp_path / "run")
    trained = load_model(tmp_path / "run")
    assert (type(trained.source.model).__name__, len(trained.source.stages) > 1) == (kept, True)
    assert trained.evaluate(str(data))["mean_iou"] == pytest.approx(metrics["test"]["mean_iou"], abs=0.02)
    if strategy == "linear-probe":
        assert metrics["test"]["mean_iou"] > 0.55  # of a random network


def test_a_class_without_test_pixels_has_no_bar() -> None:
    from hftransfer.metrics.segmentation import Agreement, score_masks
    from hftransfer.tasks.image_segmentation import _plots

    truth = np.zeros((4, 4), dtype=np.int16)
    truth[0] = 2
    names = ["sky", "fence", "pole"]
    bars, _ = _plots(score_masks([Agreement.of(truth, np.zeros_like(truth), 3)], names), names)
    assert (bars.names, bars.lines[0].y.tolist()) == (["sky", "pole"], [0.75, 0.0])


def test_few_images_are_shown_once_and_other_masks_say_how_their_values_are_taken(
    tiny: TinyModels, data: Path, tmp_path: Path
) -> None:
    _run(_recipe(tiny, data, output={"figures": False}), tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text()
    shown = re.findall(r"<span class=\"(?:right|wrong)\">([^<]*): mean IoU", page)
    assert (len(shown), len(set(shown))) == (6, 6)
    assert missing_words(page, ("Worst images", "Best images", ">IoU</th>")) == []
    unnamed = tmp_path / "unnamed"
    for part in ("images", "masks"):
        shutil.copytree(data / part / "test", unnamed / part)
    done = CliRunner().invoke(app, ["eval", str(tmp_path / "run"), "--data", str(unnamed)])
    assert done.exit_code == 0, done.output
    assert "values 0, 7 are taken as ground, disc" in done.stderr
    named = CliRunner().invoke(app, ["eval", str(tmp_path / "run"), "--data", str(data)])
    assert "are taken as" not in named.stderr


@pytest.mark.slow
def test_every_command_goes_through(tiny: TinyModels, data: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "discs.yaml"
    recipe.write_text(json.dumps(_recipe(tiny, data, output={})))
    told = _invoke("check", recipe, "--quiet")
    assert missing_words(told, ("ground", "disc", "mask values:", "sound")) == []
    run = tmp_path / "run"
    shown = _invoke("run", recipe, "--out", run, "--quiet")
    assert missing_words(shown, ("mean IoU", "boundary F1")) == []
    assert missing_words((run / "report.html").read_text(), ("Worst images", '<ul class="key">', "</i>disc</li>")) == []
    pictures = [data / "images" / "test" / f"{n}.png" for n in range(2)]
    line = _invoke("predict", run, *pictures, "--out", tmp_path / "masks", "--overlay", "--tile", 48, "--quiet")
    assert "ground" in line
    with Image.open(tmp_path / "masks" / "0.png") as mask:
        assert (mask.mode, mask.size, set(np.unique(np.asarray(mask)))) == ("P", (96, 96), {0, 7})
    assert (tmp_path / "masks" / "1-overlay.jpg").is_file()
    assert "mean IoU" in _invoke("eval", run, "--quiet")
    drafted = _invoke("init", "--data", data, "--task", "image-segmentation", "--out", tmp_path / "draft.yaml")
    assert drafted
    assert missing_words((tmp_path / "draft.yaml").read_text(), ("task: image-segmentation", "16")) == []
    explained = (
        "explain",
        run,
        pictures[0],
        "--label",
        "disc",
        "--region",
        "0.2,0.2,0.9,0.9",
        "--out",
        tmp_path / "why",
    )
    assert "disc" in _invoke(*explained, "--quiet")
    with pytest.raises(RecipeError, match="shares of the image's sides"):
        ht.explain(str(run), [str(pictures[0])], region=(0.5, 0.0, 0.2, 1.0))
    onnx = _invoke("export", run, "--format", "onnx", "--out", tmp_path / "onnx", "--quiet")
    assert json.loads((tmp_path / "onnx" / "onnx.json").read_text())["any_size"] is True, onnx


def test_an_audit_finds_a_part_of_another_class(tiny: TinyModels, data: Path, tmp_path: Path) -> None:
    rows = [(np.asarray(image), mask.copy()) for image, mask in _pairs(24)]
    rows[5][1][:] = 0  # the disc is not drawn
    audit = ht.audit(_recipe(tiny, data), {"data.test_fraction": 0.2}, data=rows, progress=SILENT)
    worst = next(one for one in audit.findings if one.kind == "label")
    assert ("[5]" in worst.id, worst.label, worst.suggested) == (True, "background", "foreground")
    assert "left, top, right, bottom" in worst.reason
    left, top, right, bottom = map(float, worst.region.split(","))
    disc = np.argwhere(_pairs(24)[5][1])
    (rows_from, columns_from), (rows_to, columns_to) = disc.min(axis=0) / 96, disc.max(axis=0) / 96
    assert (left, top, right, bottom) == pytest.approx((columns_from, rows_from, columns_to, rows_to), abs=0.2)
    # The part is framed where the page shows the image.
    audit.save(tmp_path / "audit")
    page = (tmp_path / "audit" / "audit.html").read_text()
    picture = re.search(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert picture is not None
    with Image.open(io.BytesIO(base64.b64decode(picture[1]))) as image:
        red, green, blue = np.asarray(image.convert("RGB"), dtype=np.int64).transpose(2, 0, 1)
    assert ((red > 200) & (green > 200) & (blue < 110)).sum() > 20
    assert ",region,text" in (tmp_path / "audit" / "audit.csv").read_text().splitlines()[0]


def test_an_image_with_two_masks_is_a_conflict_told_in_words(tiny: TinyModels, data: Path, tmp_path: Path) -> None:
    rows = [(np.asarray(image), mask.copy()) for image, mask in _pairs(12)]
    other = np.roll(rows[0][1], 9, axis=0)  # of the same classes
    rows.append((rows[0][0].copy(), other))
    audit = ht.audit(_recipe(tiny, data), {"data.test_fraction": 0.2}, data=rows, progress=SILENT)
    (found,) = audit.of("conflict")
    assert (found.label, found.other_label) == ("background, foreground", "background, foreground")
    assert "labelled otherwise" in found.reason
    audit.save(tmp_path / "audit")
    assert "Mask(" not in (tmp_path / "audit" / "audit.html").read_text()


def test_a_class_that_a_limit_leaves_out_is_told(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "rare")
    for file in (tmp_path / "rare" / "masks" / "train").glob("*.png"):
        if file.stem != "15":
            Image.fromarray(np.where(np.asarray(Image.open(file)) == 7, 7, 0).astype(np.uint8)).save(file)
    corner = np.asarray(Image.open(tmp_path / "rare" / "masks" / "train" / "15.png")).copy()
    corner[:4, :4] = 9
    Image.fromarray(corner).save(tmp_path / "rare" / "masks" / "train" / "15.png")
    settings = {"source": str(tmp_path / "rare"), "size": 64, "classes": {0: "ground", 7: "disc", 9: "corner"}}
    recipe = {"task": "image-segmentation", "model": "bundled/efficientnet-lite0", "data": settings}
    assert "no test image has 'corner': it has no score there" in ht.check(recipe).notes
    settings["limit"] = 5
    assert any("no training image has 'corner'" in note for note in ht.check(recipe).notes)


def test_predicted_masks_are_labels_again(tiny: TinyModels, data: Path, tmp_path: Path, without_figures: None) -> None:
    _run(_recipe(tiny, data), tmp_path / "run")
    _invoke("predict", tmp_path / "run", data / "images" / "test", "--out", tmp_path / "again" / "masks", "--quiet")
    (tmp_path / "again" / "images").symlink_to(data / "images" / "test")
    (tmp_path / "again" / "classes.txt").write_text("0 ground\n7 disc\n")
    own = load_model(tmp_path / "run").evaluate(str(tmp_path / "again"), allow_outside_paths=True)
    assert own["mean_iou"] == 1.0


def test_colours_of_masks_are_kept(tiny: TinyModels, data: Path, tmp_path: Path, without_figures: None) -> None:
    colored = tmp_path / "colored"
    shutil.copytree(data, colored)
    (colored / "classes.txt").unlink()
    colors = {"ground": (0, 0, 0), "disc": (200, 10, 20)}
    for file in (colored / "masks").glob("*/*.png"):
        mask = np.asarray(Image.open(file)) // 7
        Image.fromarray(np.array(list(colors.values()), dtype=np.uint8)[mask]).save(file)
    metrics = _run(
        _recipe(tiny, colored, of_data={"classes": {k: list(v) for k, v in colors.items()}}), tmp_path / "run"
    )
    model = load_model(tmp_path / "run")
    assert (model.facts.mask_values, model.facts.mask_colors) == ({"ground": 0, "disc": 1}, colors)
    # The colours are those of the model, which nothing beside the new masks names.
    assert model.evaluate(str(colored))["mean_iou"] == pytest.approx(metrics["test"]["mean_iou"], abs=2e-3)
    image = colored / "images" / "test" / "0.png"
    found = _segmented(model, image)
    found.save(tmp_path / "mask.png")
    shown = np.asarray(Image.open(tmp_path / "mask.png").convert("RGB"))
    assert (shown == np.array(list(colors.values()))[found.ids]).all()
    assert found.served()["colors"] == {"ground": "#000000", "disc": "#c80a14"}
    assert model.evaluate([(Image.open(image), tmp_path / "mask.png")])["mean_iou"] == 1.0  # by its indices


def test_tiles_of_a_large_picture_are_put_together(
    tiny: TinyModels, data: Path, tmp_path: Path, without_figures: None
) -> None:
    metrics = _run(_recipe(tiny, data, of_data={"tile": 64}), tmp_path / "run")
    model = load_model(tmp_path / "run")
    assert (model.tile, metrics["test"]["mean_iou"] > 0.7) == (64, True)
    assert model.evaluate(str(data))["mean_iou"] == pytest.approx(metrics["test"]["mean_iou"], abs=2e-3)
    wide = Image.new("RGB", (500, 90), (60, 90, 200))
    assert _segmented(model, wide).ids.shape == (90, 500)
    with pytest.raises(RecipeError, match="32 pixels"):
        model.use_tiles(3)
    # What is explained is the tile that holds most of the class, not the whole picture made small.
    disc = Image.open(sorted((data / "images").rglob("*.png"))[0]).convert("RGB").resize((64, 64))
    wide = Image.new("RGB", (256, 64), (60, 90, 200))
    wide.paste(disc, (144, 0))
    why: Any = ht.explain(model, wide)
    alone: Any = ht.explain(model, wide.crop(why.box))
    assert (why.label, why.box) == ("disc", (144, 0, 208, 64))
    assert (alone.box, alone.score, alone.map) == (None, why.score, pytest.approx(why.map, abs=1e-5))
    assert "in the tile 144, 0 to 208, 64" in why.line("wide.png")
    corner: Any = ht.explain(model, wide, region=(0.9, 0.0, 1.0, 1.0))
    assert corner.box == (192, 0, 256, 64)
    small: Any = ht.explain(model, disc)
    assert small.box is None


def test_a_mask_goes_with_its_image_through_every_change() -> None:
    random = np.random.default_rng(0)
    for seed in range(40):
        ids = (random.random((40, 50)) < 0.5).astype(np.int16)
        image = Image.fromarray((ids * 255).astype(np.uint8)).convert("RGB")
        change = Change.drawn(image.size, np.random.default_rng(seed), strong=False)
        shown = np.asarray(change.image(image))[..., 0] > 128
        assert (shown == (change.mask(ids, -1) == 1)).all()
    turned = Change((0, 0, 50, 40), False, tone=1.4, chosen=(4,))
    assert (turned.mask(np.ones((40, 50), dtype=np.int16), -1)[0, 0], turned.mask(ids, -1)[20, 25] >= 0) == (-1, True)


@pytest.mark.parametrize("loss", ["ce", "dice", "ce+dice", "focal"])
def test_losses_fall_with_better_logits_and_ignore_what_is_void(loss: str) -> None:
    from hftransfer.tasks.pixel_loss import PixelLoss

    class Items:
        tiles = (0,)

        def ids(self, item: int) -> np.ndarray:
            return np.array([[0, 0, 1, 1], [0, 0, 1, -1]] * 2, dtype=np.int16)

    own = PixelLoss(Items(), torch.ones(2), loss)  # type: ignore[arg-type]
    wanted = torch.tensor(np.where(Items().ids(0) == 1, 1.0, -1.0), dtype=torch.float32)
    good, bad = (torch.stack([-sign * wanted, sign * wanted])[None] * 3 for sign in (1, -1))
    assert own.total(good, [0], own.items) < own.total(bad, [0], own.items)
    void = good.clone()
    void[0, :, 1, 3] = torch.tensor([50.0, -50.0])
    assert torch.allclose(own.total(void, [0], own.items), own.total(good, [0], own.items))
    if loss == "ce":
        ids = torch.from_numpy(Items().ids(0)).long()[None]
        plain = torch.nn.functional.cross_entropy(good, ids, ignore_index=-1)
        assert torch.allclose(own.total(good, [0], own.items), plain)


def test_the_loss_that_is_told_of_is_the_tasks_own(tiny: TinyModels, data: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        _run(_recipe(tiny, data, train={"loss": "lovasz"}), tmp_path / "never")
    told = "train.loss must be ce+dice or ce or dice or focal for task image-segmentation; got lovasz"
    assert [fault.rstrip(".") for fault in caught.value.faults] == [told]


def test_what_is_explained_is_not_the_background(tiny: TinyModels, data: Path, tmp_path: Path) -> None:
    from hftransfer.attribution.explaining import _foremost

    _run(_recipe(tiny, data), tmp_path / "run")
    model: Any = ht.load(tmp_path / "run")
    assert model.facts.background == "ground"
    image = data / "images" / "test" / "0.png"
    shares = model(image).shares
    assert shares["ground"] > shares["disc"] > 0
    why: Any = ht.explain(model, image)
    corner: Any = ht.explain(model, image, region=(0.0, 0.0, 0.1, 0.1))
    assert (why.label, corner.label) == ("disc", "ground")
    names = ["ground", "disc", "bird"]
    for scores, background, label in (
        ((0.7, 0.1, 0.2), "ground", "bird"),
        ((1.0, 0.0, 0.0), "ground", "ground"),
        ((0.7, 0.1, 0.2), None, "ground"),
    ):
        assert names[_foremost(torch.tensor(scores), names, background)] == label


def test_what_does_not_go_is_told_in_words(tiny: TinyModels, data: Path, tmp_path: Path) -> None:
    def told(recipe: dict[str, Any], kind: type[HftransferError]) -> str:
        with pytest.raises(kind) as caught:
            _run(recipe, tmp_path / "never")
        return " ".join(caught.value.faults)

    many = told(_recipe(tiny, data, train={"mixup": 0.2, "loss": "mse"}, of_data={"shots": 2}), RecipeError)
    assert missing_words(many, ("train.mixup", "train.loss", "ce+dice", "data.shots")) == []
    assert (
        missing_words(
            told(_recipe(tiny, data, "vit", of_data={"size": [60, 64]}), ModelError), ("data.size", "[64, 64]")
        )
        == []
    )
    single = [(image, np.zeros_like(mask)) for image, mask in _pairs(8)]
    with pytest.raises(DataError, match="two classes"):
        ht.fit("image-segmentation", model=str(tiny("timm")), train=single)
    model = ht.fit("image-segmentation", model=str(tiny("timm")), train=_pairs(12), data={"size": 64})
    assert model.class_names == ("background", "foreground")
    with pytest.raises(DataError, match="an image"):
        model.predict([b"nothing"])
    assert _segmented(model, Image.new("RGB", (1, 1))).ids.shape == (1, 1)


@pytest.mark.parametrize(("family", "pooling"), [("resnet", "native"), ("clip", "dense"), ("vit", "dense")])
def test_a_configuration_of_a_far_larger_backbone_is_refused(
    tiny: TinyModels, tmp_path: Path, family: str, pooling: Any
) -> None:
    folder = Path(shutil.copytree(tiny(family), tmp_path / family))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    of_images = config.get("vision_config", config)
    for key in ("hidden_size", "embedding_size", "intermediate_size"):
        if key in of_images:
            of_images[key] *= 256
    if "hidden_sizes" in of_images:
        of_images["hidden_sizes"] = [256 * size for size in of_images["hidden_sizes"]]
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    checkpoint = find_checkpoint(str(folder))
    assert checkpoint is not None
    with pytest.raises(ModelError, match="must be about as large as its weights"):
        load_adapter(checkpoint, ("a", "b"), head=head_task("image-segmentation").head, pooling=pooling)


def test_a_backbone_without_maps_is_told(tmp_path: Path) -> None:
    """LeViT's features are those of whole images, and its attention is made for one size."""
    import transformers as tf

    small: dict[str, Any] = {"hidden_sizes": [16, 24, 32], "depths": [1, 1, 1], "num_attention_heads": [1, 1, 1]}
    tf.LevitModel(tf.LevitConfig(image_size=64, key_dim=[8, 8, 8], **small)).save_pretrained(tmp_path)
    tf.LevitImageProcessor(size={"height": 64, "width": 64}, do_center_crop=False).save_pretrained(tmp_path)
    told = r"one whose features are maps, of images of 96 × 96 pixels; got levit .*leave data\.size out"
    with pytest.raises(ModelError, match=told):
        ht.fit("image-segmentation", model=tmp_path, train=_pairs(8), data={"size": 96})


def test_stages_of_a_decoders_network_are_its_parts_by_name() -> None:
    """timm's HRNet has a method `stages`."""

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer1, self.stage2, self.fuse = (torch.nn.Linear(2, 2) for _ in range(3))

        def stages(self) -> None: ...

    network, adapter = Network(), object.__new__(SegmenterAdapter)
    adapter.model = cast(Any, SimpleNamespace(backbone=SimpleNamespace(_backbone=network)))
    assert adapter._find_stages() == [network.layer1, network.stage2]


def test_a_backbone_with_channels_last_gets_a_linear_layer(tmp_path: Path, without_figures: None) -> None:
    """timm's Swin and MambaOut give maps (B, h, w, D), which transformers' decoder can't read."""
    import transformers as tf

    torch.manual_seed(0)
    settings = {"input_size": [3, 64, 64], "mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 1.0, "num_classes": 2}
    config = tf.TimmWrapperConfig(architecture="test_mambaout", num_labels=2, pretrained_cfg=settings)
    tf.TimmWrapperForImageClassification(config).save_pretrained(tmp_path / "backbone")
    learned = ht.fit(
        "image-segmentation",
        model=tmp_path / "backbone",
        train=_pairs(12),
        data={"size": 64},
        strategy="fine-tune:1",
        epochs=1,
        progress=SILENT,
    )
    pictures = [picture for picture, _ in _pairs(3)]
    again = load_model(learned.save(tmp_path / "saved"))
    for picture in pictures:
        assert np.array_equal(_segmented(learned, picture).ids, _segmented(again, picture).ids)
