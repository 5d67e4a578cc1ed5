"""A dual encoder made of a classifier of photos and a sentence encoder, without a single image.

The classifier's last layer holds a vector of image features for each ImageNet class, the sentence encoder gives one for
the class's name. Ridge regression from names to class vectors carries any other text among the image features, as in
zero-shot learning by semantic embeddings (DeViSE, Frome et al. 2013; the closed form as in Romera-Paredes & Torr 2015,
"An embarrassingly simple approach to zero-shot learning").
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from hftransfer.adapters.libraries import quiet_transformers
from hftransfer.adapters.mean_pooling import SMALL, mean_pooled_bert, native_image_processor

if TYPE_CHECKING:
    from transformers import BertModel, PreTrainedTokenizerBase

_ONE, _MANY = ("{}", "a photo of a {}."), ("{}", "a photo of {}.")
# For each wording. Wordings were chosen on 600 photos of cats and dogs, where all strengths from 100 to 1,600 serve; of
# these the strong ones are better at ten classes of CIFAR-10 (0.470 at 1,600, 0.450 at 200).
_RIDGE = 1600.0
# Names say what a whole picture shows: cutting off its edges costs 2 points of 100 on CIFAR-10, and enlarging its 32
# pixels by bicubic interpolation, which overshoots at edges, 2 more. Large photos do not mind.
_PIXELS = {"crop_pct": 1.0, "interpolation": "bilinear"}


def write_dual_encoder(image_folder: Path, text_folder: Path, folder: Path) -> None:
    """Write a native `VisionTextDualEncoderModel` of a TimmWrapper classifier with ImageNet's 1,000 classes
    and a BERT whose mean over tokens is the embedding of a sentence."""
    import transformers
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    # ImageNet's descriptions list synonyms: the first is what people call it.
    names = [info.index_to_description(index).split(",")[0] for index in range(1000)]
    with quiet_transformers():
        classifier = transformers.AutoModelForImageClassification.from_pretrained(image_folder, dtype=torch.float32)
        vision = transformers.AutoModel.from_pretrained(image_folder, dtype=torch.float32).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(text_folder)
        text = mean_pooled_bert(transformers.BertModel.from_pretrained(text_folder, dtype=torch.float32)).eval()
        rows = classifier.timm_model.get_classifier().weight.detach().double().numpy()  # (K, F)
        embedded = [_embed(text, tokenizer, wording) for wording in _wordings(names)]
        # What all classes have in common tells none of them from another.
        mean, to_image, to_text, scale = align(embedded, rows - rows.mean(axis=0))
        vision.config.hidden_size = rows.shape[1]
        config = transformers.VisionTextDualEncoderConfig.from_vision_text_configs(
            vision.config, text.config, projection_dim=len(to_image)
        )
        model = transformers.VisionTextDualEncoderModel(config=config, vision_model=vision, text_model=text)
        with torch.no_grad():
            # Projections have no bias in this class of transformers: the pooler subtracts the mean text instead.
            text.pooler.dense.bias.copy_(torch.from_numpy(-SMALL * mean))
            model.visual_projection.weight.copy_(torch.from_numpy(to_image))
            model.text_projection.weight.copy_(torch.from_numpy(to_text / SMALL))
            model.logit_scale.fill_(float(np.log(scale)))
        for part in (model.config.vision_config, model.config.text_config):
            # Else config.json would name folders of this disk.
            part._name_or_path = ""
        model.save_pretrained(folder)
        processor = transformers.VisionTextDualEncoderProcessor(
            native_image_processor({**vision.config.pretrained_cfg, **_PIXELS}), tokenizer
        )
        processor.save_pretrained(folder)


def align(embedded: Sequence[np.ndarray], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Return what carries texts and images into one space of at most D dimensions, from the texts of K classes in
    several wordings, each (K, D), and their vectors of image features (K, F): the mean text (D,), the projection of
    images (P, F) with orthonormal rows, that of texts less their mean (P, D), and the scale of the logits."""
    texts, mean = _centred(embedded)
    ridge = _ridge(texts, np.concatenate([rows] * len(embedded)), _RIDGE * len(embedded))  # (D, F)
    basis, _ = np.linalg.qr(ridge.T)  # (F, P): the image features that texts can reach
    return mean, basis.T, (ridge @ basis).T, _scale(embedded, rows)


def _centred(embedded: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    texts = np.concatenate(list(embedded))
    mean = texts.mean(axis=0)
    return texts - mean, mean


def _ridge(texts: np.ndarray, wanted: np.ndarray, strength: float) -> np.ndarray:
    """Return the matrix (D, F) with the least squared error of texts @ matrix, its squared entries held down."""
    solution: np.ndarray = np.linalg.solve(texts.T @ texts + strength * np.eye(texts.shape[1]), texts.T @ wanted)
    return solution


def _scale(embedded: Sequence[np.ndarray], rows: np.ndarray, folds: int = 5) -> float:
    """Return the scale at which classes whose names the regression has not seen get the likeliest probabilities, their
    own vectors standing for images."""
    fold = np.arange(len(rows)) % folds
    similarities = np.empty((len(rows), len(rows)))  # (K, K)
    for held in range(folds):
        # Classes whose names the regression has seen would be found too surely: each is scored by a fold that left it
        # out.
        kept = fold != held
        texts, mean = _centred([part[kept] for part in embedded])
        ridge = _ridge(texts, np.concatenate([rows[kept]] * len(embedded)), _RIDGE * len(embedded))
        predicted = (embedded[0] - mean) @ ridge  # (K of this fold, F)
        similarities[~kept] = _unit(rows[~kept]) @ _unit(predicted).T
    scales = np.geomspace(1.0, 100.0, 60)
    likelihoods = [np.diag(_log_softmax(scale * similarities)).mean() for scale in scales]
    return float(scales[int(np.argmax(likelihoods))])


def _unit(vectors: np.ndarray) -> np.ndarray:
    normalised: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return normalised


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs


def _wordings(names: Sequence[str]) -> list[list[str]]:
    """Return the names alone and in a sentence, of one thing and of many."""
    many = [name + ("es" if name.endswith(("s", "x", "ch", "sh")) else "s") for name in names]
    forms = [(template, names) for template in _ONE] + [(template, many) for template in _MANY]
    return [[template.replace("{}", name) for name in form] for template, form in forms]


def _embed(text: BertModel, tokenizer: PreTrainedTokenizerBase, sentences: Sequence[str]) -> np.ndarray:
    """Return sentences as vectors (N, D), in the order given."""
    vectors = []
    with torch.inference_mode():
        for start in range(0, len(sentences), 100):
            tokens = tokenizer(list(sentences[start : start + 100]), padding=True, return_tensors="pt")
            vectors.append(text(**tokens).pooler_output / SMALL)  # (B, D); the pooler had shrunk it by SMALL
    return torch.cat(vectors).double().numpy()
