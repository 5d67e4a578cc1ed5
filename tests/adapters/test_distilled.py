"""timm's networks with two heads, or with tensors that several of their layers share: what others train, we train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import hftransfer as ht
from hftransfer.adapters.distilled import with_one_head
from hftransfer.adapters.libraries import quiet_transformers
from hftransfer.base.errors import ModelError
from hftransfer.base.progress import Progress
from tests.builders import load_model, picture, slowly

SILENT = Progress(None)
ROWS = [(picture(color, seed), color) for seed in range(6) for color in ("red", "blue")]
PHOTOS = [picture(color, 50 + seed) for seed in range(2) for color in ("red", "blue")]
TWO_HEADS: dict[str, dict[str, Any]] = {
    "deit_tiny_distilled_patch16_224": {"embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 32, "patch_size": 8},
    "levit_128s": {"embed_dim": (16, 24), "num_heads": (2, 2), "depth": (1, 1), "img_size": 64},
    "repvit_m1": {"embed_dim": (8, 8, 8, 16), "depth": (1, 1, 1, 1)},
    "efficientformer_l1": {"embed_dims": (8, 8, 8, 16), "depths": (1, 1, 1, 1)},
    "pit_ti_distilled_224": {"base_dims": [8, 8, 8], "depth": [1, 1, 1], "heads": [1, 2, 2], "img_size": 64},
    "swiftformer_xs": {"layers": [1, 1, 1, 1], "embed_dims": [8, 8, 8, 16]},
}
CONVOLVED: dict[str, dict[str, Any]] = {
    "resnetv2_18": {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 16], "stem_chs": 8},
    "dpn48b": {"k_sec": [1, 1, 1, 1], "inc_sec": [4, 4, 4, 4], "k_r": 8, "groups": 2, "num_init_features": 8},
    "dla34": {"levels": [1, 1, 1, 1, 1, 1], "channels": [8, 8, 8, 8, 8, 16]},
}
OTHERS: dict[str, dict[str, Any]] = {
    "coat_tiny": {
        **{"embed_dims": [16, 16, 16, 16], "serial_depths": [1, 1, 1, 1], "mlp_ratios": [2, 2, 2, 2]},
        **{"parallel_depth": 1, "num_heads": 8, "img_size": 32},
    },
    "crossvit_tiny_240": {"embed_dim": [8, 16], "num_heads": [2, 2], "depth": [[1, 1, 0]]},
}


SLOW_TUNE = {"kind": "fine-tune", "learning_rate": 1e-6}
"""Random networks end where softmax is 0 or 1, otherwise."""


def _written(name: str, folder: Path, classes: int = 5) -> Path:
    """A checkpoint as timm's are: tensors that layers share are there under each of their names."""
    arguments = (TWO_HEADS | CONVOLVED | OTHERS)[name]
    side = arguments.get("img_size", 240 if name.startswith("crossvit") else 224)
    settings = {"input_size": [3, side, side], "mean": [0.5] * 3, "std": [0.5] * 3, "num_classes": classes}
    labels = {number: f"c{number}" for number in range(classes)}
    torch.manual_seed(3)
    with quiet_transformers():
        config = transformers.TimmWrapperConfig(
            architecture=name, model_args=arguments, id2label=labels, pretrained_cfg=settings
        )
        model = transformers.TimmWrapperForImageClassification(config).eval()
        state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
        model.save_pretrained(folder, state_dict=state)
    return folder


def _plain(folder: Path) -> np.ndarray:
    """Probabilities (N, C) of plain transformers."""
    with quiet_transformers(), torch.no_grad():
        model = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
        pixels = transformers.AutoImageProcessor.from_pretrained(folder)(PHOTOS, return_tensors="pt")
        found: np.ndarray = model(**pixels).logits.softmax(-1).numpy()
    return found


def _scores(model: ht.Predictor) -> np.ndarray:
    return np.array([list(one.scores.values()) for one in model.predict(PHOTOS)])


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
@pytest.mark.parametrize(
    ("name", "strategy"),
    [
        ("deit_tiny_distilled_patch16_224", "linear-probe"),
        ("deit_tiny_distilled_patch16_224", "lora:2"),
        ("levit_128s", "linear-probe"),
        ("repvit_m1", "linear-probe"),
        *slowly(
            *((name, strategy) for name in list(TWO_HEADS)[3:] for strategy in ("linear-probe", SLOW_TUNE)),
            *(("levit_128s", "lora:2"), ("repvit_m1", "lora:2"), ("deit_tiny_distilled_patch16_224", SLOW_TUNE)),
            *(("coat_tiny", "linear-probe"), ("coat_tiny", SLOW_TUNE)),
            *((name, strategy) for name in list(CONVOLVED)[:2] for strategy in (SLOW_TUNE, "lora:2")),
            *((name, "linear-probe") for name in list(CONVOLVED)[1:]),
        ),
        ("resnetv2_18", "linear-probe"),
    ],
)
def test_heads_are_written_as_timm_has_them(name: str, strategy: Any, tmp_path: Path) -> None:
    folder = _written(name, tmp_path / "base")
    more: dict[str, Any] = {} if strategy == "linear-probe" else {"epochs": 2, "batch_size": 4}
    model = ht.fit("image-classification", model=folder, train=ROWS, strategy=strategy, progress=SILENT, **more)
    expected = _scores(model)
    saved = model.save(tmp_path / "saved")
    assert _scores(load_model(saved)) == pytest.approx(expected, abs=1e-6)
    native = ht.export(model, tmp_path / "merged", format="merged").folder if strategy == "lora:2" else saved
    assert _plain(native) == pytest.approx(expected, abs=1e-5)
    assert np.ptp(expected[:, 0]) > 1e-3


@pytest.mark.slow
def test_a_network_that_peft_takes_for_its_own_layer_is_not_merged(tmp_path: Path) -> None:
    """DLA has a `base_layer`, as peft's layers do."""
    folder = _written("dla34", tmp_path / "base")
    model = ht.fit("image-classification", model=folder, train=ROWS, strategy="lora:2", epochs=1, progress=SILENT)
    with pytest.raises(ModelError, match="one whose matrices peft merges"):
        ht.export(model, tmp_path / "merged", format="merged")


def test_heads_that_differ_are_left_to_the_network(tmp_path: Path) -> None:
    folder = _written("deit_tiny_distilled_patch16_224", tmp_path / "base", 3)
    with quiet_transformers():
        model = transformers.AutoModelForImageClassification.from_pretrained(folder)
    assert with_one_head(model, is_new=False) == set()
    with pytest.raises(ModelError, match="VisionTransformerDistilled, which makes its logits in another way"):
        ht.load(folder)


def test_blocks_that_are_given_lists_of_tensors_are_told(tmp_path: Path) -> None:
    folder = _written("crossvit_tiny_240", tmp_path / "base")
    with pytest.raises(ModelError, match="CrossVit, which makes its logits in another way than by one linear layer"):
        ht.fit("image-classification", model=folder, train=ROWS, progress=SILENT)
