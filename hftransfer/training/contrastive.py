"""Projections of two frozen towers, trained so that an image and its captions lie together.

The towers are locked, as in LiT (Zhai et al., arXiv 2111.07991): their outputs are computed once, and what is trained
are two linear maps and a temperature, with the symmetric InfoNCE loss over large batches (CLIP, arXiv 2103.00020,
figure 3). In each epoch an image stands with one of its captions, so that others of its own never count as wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, logsigmoid, normalize

from hftransfer.adapters.base import Activations, Adapter
from hftransfer.adapters.dual import DualEncoder
from hftransfer.adapters.libraries import seeded
from hftransfer.adapters.projections import SIDES, Side, Unprojected
from hftransfer.adapters.towers import TextTowerAdapter
from hftransfer.base.errors import ModelError, must_be
from hftransfer.tasks.contract import Loss
from hftransfer.training.activations import Source
from hftransfer.training.devices import Compute
from hftransfer.training.settings import LossName
from hftransfer.training.solver import varying

# Of what enters the projections, while they are trained: on 2,000 photos with captions recall at 10 rose by 0.04.
_DROPOUT = 0.3
_START_SCALES: dict[LossName, float] = {"infonce": 14.3, "sigmoid": 10.0}  # CLIP's: a temperature of 0.07; SigLIP's
_START_BIAS = -10.0  # SigLIP's: most pairs do not belong together
# CLIP's bound, without which its training was not stable (Radford et al., arXiv 2103.00020, section 2.5).
_MOST_SCALE = 100.0


def start_scale(loss: LossName) -> float:
    """Return what similarities are multiplied by in the beginning, where no training went before."""
    return _START_SCALES[loss]


@dataclass(frozen=True)
class Pooled:
    """The inputs of the projections, of one split: images (N, F), captions (M, G), and each caption's image (M,)."""

    images: np.ndarray
    captions: np.ndarray
    owners: np.ndarray


def captions_of_epoch(owners: np.ndarray, images: int, seed: int, epoch: int) -> np.ndarray:
    """Return one of each image's own captions (N,), by the owners (M,) of all captions, which stand in their order."""
    random = np.random.default_rng([seed, epoch])
    count = np.bincount(owners, minlength=images)  # (N,)
    # Captions stand image by image: the first of each, and a random step within its own.
    chosen: np.ndarray = np.cumsum(count) - count + (random.random(images) * count).astype(np.int64)
    return chosen


class PairSource:
    """The images of a split in one epoch, each with one of its captions."""

    lengths: None = None
    items: None = None

    def __init__(self, pooled: Pooled, compute: Compute, seed: int, epoch: int) -> None:
        self.pooled, self.compute = pooled, compute
        self.chosen = captions_of_epoch(pooled.owners, len(pooled.images), seed, epoch)

    def __len__(self) -> int:
        return len(self.pooled.images)

    def read(self, chosen: Sequence[int], tokens: int = 0) -> Activations:
        """Return `image` (B, F) and `text` (B, G) of these images."""
        del tokens
        places = list(chosen)
        return {
            "image": torch.from_numpy(self.pooled.images[places]),
            "text": torch.from_numpy(self.pooled.captions[self.chosen[places]]),
        }

    def activations(self, read: Activations) -> Activations:
        """Return the same on the device, in float32."""
        return {name: tensor.to(self.compute.device, torch.float32) for name, tensor in read.items()}


class Scores(nn.Module):
    """The scale of cosines (B, B), and of the sigmoid loss the term added to them."""

    def __init__(self, scale: float, loss: LossName, bias: float) -> None:
        super().__init__()
        # The logarithm learns: the scale itself stays positive.
        self.logit_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.bound = math.log(max(scale, _MOST_SCALE))
        self.logit_bias = nn.Parameter(torch.tensor(bias or _START_BIAS)) if loss == "sigmoid" else None

    def forward(self, cosines: Tensor) -> Tensor:
        """Return the scores (B, B)."""
        with torch.no_grad():
            # The parameter itself, as in CLIP's training: a bound on what is computed from it would stop its gradient,
            # and CLIP's own weights begin a little above 100.
            self.logit_scale.clamp_(max=self.bound)
        scores: Tensor = self.logit_scale.exp() * cosines  # (B, B)
        return scores if self.logit_bias is None else scores + self.logit_bias

    def write_back(self, dual: DualEncoder) -> None:
        """Give the dual encoder the scale, and the bias where it has a place for one (a choice between classes
        does not depend on it)."""
        with torch.no_grad():
            # The last step may have gone beyond the bound that the scores were held to.
            dual.set_log_scale(float(self.logit_scale.detach().clamp(max=self.bound)))
            bias = getattr(dual.model, "logit_bias", None)
            if bias is not None and self.logit_bias is not None:
                bias.copy_(self.logit_bias.detach().cpu().reshape(bias.shape))


class Projections(nn.Module):
    """Two linear maps of standardised features into one space, and the scale of similarities."""

    def __init__(self, image: nn.Linear, text: nn.Linear, scores: Scores) -> None:
        super().__init__()
        self.image, self.text, self.scores = image, text, scores
        self.dropout = nn.Dropout(_DROPOUT)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """Return the scores (B, B) of images, in rows, and texts."""
        images, texts = self._projected(self.image, image), self._projected(self.text, text)  # (B, D)
        scores: Tensor = self.scores(images @ texts.T)  # (B, B)
        return scores

    def _projected(self, projection: nn.Linear, features: Tensor) -> Tensor:
        # An identity that stays as it is gains nothing from dropout.
        learns = projection.weight.requires_grad
        return normalize(projection(self.dropout(features) if learns else features), dim=-1)


def _deviations(features: np.ndarray) -> np.ndarray:
    """Return the standard deviation (D,) of each of the features (N, D); of those that hardly vary, that of all, so
    that they stay small instead of becoming noise of the size of the others."""
    own, usual = features.std(axis=0), float(features.std()) + 1e-12
    return np.asarray(np.where(varying(features.mean(axis=0), own), own, usual))


class ProjectionAdapter:
    """The projections of a dual encoder as that which the loop trains: all of it the head."""

    stages: Sequence[nn.Module] = ()

    def __init__(self, dual: DualEncoder, train: Pooled, *, new: bool, seed: int, loss: LossName = "infonce") -> None:
        self.dual = dual
        self.layers = dual.projections()
        if all(isinstance(layer, Unprojected) for layer in self.layers.values()):
            allowed = "one with a linear projection, for strategy linear-probe"
            raise ModelError(
                must_be(f"model '{dual.name}'", allowed, "none", "Use fine-tune or lora, which train its towers.")
            )
        poolers = dual.poolers()
        self.poolers = {name: poolers.get(name) for name in self.layers}
        features: dict[Side, np.ndarray] = {"image": train.images, "text": train.captions}
        self.means: dict[Side, Tensor] = {
            # Means can be taken off only where a pooler can carry them afterwards.
            name: torch.from_numpy(values.mean(axis=0)) if self.poolers[name] is not None else torch.zeros(1)
            for name, values in features.items()
        }
        self.deviations: dict[Side, Tensor] = {
            name: torch.from_numpy(_deviations(values)) for name, values in features.items()
        }
        with seeded(seed):
            made = {name: self._starting(name, new=new) for name in self.layers}
        scores = Scores(start_scale(loss) if new else dual.scale, loss, dual.bias)
        self.model = Projections(made["image"], made["text"], scores)

    def _starting(self, name: Side, *, new: bool) -> nn.Linear:
        """Return a projection of standardised features: a new one, or that of the model, which may have a bias."""
        layer = self.layers[name]
        made = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
        if not new:
            with torch.no_grad():
                made.weight.copy_(layer.weight.cpu() * self.deviations[name])
                if layer.bias is not None:
                    made.bias.copy_(layer.bias.cpu())
        return made.requires_grad_(not isinstance(layer, Unprojected))

    def standardised(self, pooled: Pooled) -> Pooled:
        """Return the same features in the units of the projections."""
        features: dict[Side, np.ndarray] = {"image": pooled.images, "text": pooled.captions}
        images, captions = (
            ((values - self.means[name].numpy()) / self.deviations[name].numpy()).astype(np.float32)
            for name, values in features.items()
        )
        return Pooled(images, captions, pooled.owners)

    def write_back(self) -> None:
        """Give the dual encoder's own layers the weights of the projections."""
        with torch.no_grad():
            for name, layer in self.layers.items():
                if isinstance(layer, Unprojected):
                    continue
                made: nn.Linear = getattr(self.model, name)
                if layer.bias is not None:
                    layer.bias.copy_(made.bias.cpu())
                # The projection takes features as they are, not divided by their deviation.
                layer.weight.copy_(made.weight.cpu() / self.deviations[name])
                pooler = self.poolers[name]
                if pooler is not None:
                    # Features were trained on less their mean: the pooler now subtracts it.
                    pooler.bias.sub_(self.means[name])
        self.model.scores.write_back(self.dual)

    # --- what the loop asks of an adapter ---

    def above(self, activations: Activations, boundary: int) -> Tensor:
        """Return the similarities (B, B)."""
        del boundary
        similarities: Tensor = self.model(activations["image"], activations["text"])
        return similarities

    def learn_mode(self, boundary: int, *, on: bool) -> None:
        """Switch dropout on in training alone."""
        del boundary
        self.model.train(on)

    def learning_buffers(self) -> dict[str, Tensor]:
        """Return nothing: no running statistics change."""
        return {}

    def depth_of(self) -> dict[nn.Parameter, int]:
        """Return 0 for all parameters: all of it is the head."""
        return dict.fromkeys(self.model.parameters(), 0)

    @torch.inference_mode()
    def embedded(self, pooled: Pooled, device: torch.device | str) -> tuple[np.ndarray, np.ndarray]:
        """Return the normalised embeddings of (standardised) images (N, D) and captions (M, D)."""
        found = []
        for layer, values in ((self.model.image, pooled.images), (self.model.text, pooled.captions)):
            found.append(normalize(layer(torch.from_numpy(values).to(device)), dim=-1).cpu().numpy())
        return found[0], found[1]


class TowersAdapter:
    """Both towers of a dual encoder, each above a boundary of its own, as that which the loop trains."""

    def __init__(self, images: Adapter, texts: TextTowerAdapter, boundaries: tuple[int, int], scores: Scores) -> None:
        self.images, self.texts, self.boundaries = images, texts, boundaries
        self.model = nn.ModuleDict({"image": images.model, "text": texts.model, "scores": scores})
        # What lies below the boundaries is computed once, and is no part of what learns.
        self.stages = [*images.stages[boundaries[0] :], *texts.stages[boundaries[1] :]]

    def above(self, activations: Activations, boundary: int) -> Tensor:
        """Return the scores (B, B) of images, in rows, and texts."""
        del boundary  # each tower has its own
        embedded = []
        for side, adapter, own in zip(SIDES, (self.images, self.texts), self.boundaries, strict=True):
            embedded.append(adapter.above(_select_side(activations, side), own))
        # Cosines times a large scale: 16 bits would round them to the same few logits.
        with torch.autocast(embedded[0].device.type, enabled=False):
            images, texts = (normalize(part.float(), dim=-1) for part in embedded)  # (B, D)
            scores: Tensor = self.model["scores"](images @ texts.T)  # (B, B)
        return scores

    def learn_mode(self, boundary: int, *, on: bool) -> None:
        """Switch what is above the towers' boundaries to train mode and back."""
        del boundary
        for adapter, own in zip((self.images, self.texts), self.boundaries, strict=True):
            adapter.learn_mode(own, on=on)

    def learning_buffers(self) -> dict[str, Tensor]:
        """Return nothing: no running statistics change."""
        return {}

    def depth_of(self) -> dict[nn.Parameter, int]:
        """Return the depths in both towers; projections and the scale are at the head."""
        own = dict.fromkeys(self.model["scores"].parameters(), 0)
        return {**self.images.depth_of(), **self.texts.depth_of(), **own}


class TowersSource:
    """The images of a split in one epoch, each with one of its captions, as they are at the towers' boundaries."""

    lengths: None = None
    items: None = None

    def __init__(self, images: Source, texts: Source, chosen: np.ndarray) -> None:
        self.images, self.texts, self.chosen = images, texts, chosen

    def __len__(self) -> int:
        return len(self.images)

    def read(self, chosen: Sequence[int], tokens: int = 0) -> Activations:
        """Return what is known of a batch without computing, of images and of texts."""
        del tokens
        parts = self.images.read(chosen), self.texts.read(self.chosen[list(chosen)].tolist())
        return _join_sides(parts)

    def activations(self, read: Activations) -> Activations:
        """Return the activations of a batch on the device."""
        sources = zip(SIDES, (self.images, self.texts), strict=True)
        return _join_sides([source.activations(_select_side(read, side)) for side, source in sources])


def _select_side(activations: Activations, side: str) -> Activations:
    """Return the activations of images or of texts, under their own names."""
    return {name.removeprefix(f"{side}."): part for name, part in activations.items() if name.startswith(f"{side}.")}


def _join_sides(parts: Sequence[Activations]) -> Activations:
    """Return the activations of images and of texts as one."""
    return {f"{side}.{name}": value for side, part in zip(SIDES, parts, strict=True) for name, value in part.items()}


def contrastive_loss(name: LossName, count: int) -> Loss:
    """Return the loss of scores (B, B) of a split with so many images."""
    return infonce(count) if name == "infonce" else sigmoid_loss(count)


def sigmoid_loss(count: int) -> Loss:
    """Return the pairwise sigmoid loss of scores (B, B), each pair a question of its own, summed over the texts of an
    image (SigLIP; Zhai et al., arXiv 2303.15343, section 3.2)."""

    def total(scores: Tensor, chosen: Sequence[int]) -> Tensor:
        del chosen
        # 1 for an image and its caption, -1 for all other pairs.
        signs = 2 * torch.eye(len(scores), device=scores.device) - 1  # (B, B)
        return -logsigmoid(signs * scores).sum()

    return Loss(total, np.ones(count), whole_batches=True)


def infonce(count: int) -> Loss:
    """Return the symmetric InfoNCE loss of similarities (B, B): the mean of both directions' cross-entropies."""

    def total(similarities: Tensor, chosen: Sequence[int]) -> Tensor:
        del chosen
        # Image i belongs to text i: the right class of each row is its own number.
        own = torch.arange(len(similarities), device=similarities.device)  # (B,)
        to_texts = cross_entropy(similarities, own, reduction="sum")
        to_images = cross_entropy(similarities.T, own, reduction="sum")
        return (to_texts + to_images) / 2

    return Loss(total, np.ones(count), whole_batches=True)
