"""A linear layer on maps of features, solved: multinomial logistic regression of the share of each class in each cell.

Cells of an image look alike, so that some of each are drawn and their features gathered, those of coarse maps between
their places as `interpolate` enlarges logits. What is solved is then the head as it runs: linear, on every map at its
own size. How much rare classes count, and the L2 strength, are those with the best mean IoU on the validation split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.nn.functional import grid_sample

from hftransfer.adapters.dense import Grid, PyramidHead, apart
from hftransfer.metrics.segmentation import class_scores, confusion, mean_of_classes
from hftransfer.tasks.pixels import MapTargets
from hftransfer.training.activations import StoredActivations, as_tensor
from hftransfer.training.solver import SolvedHead, varying

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_NUMBERS = 1 << 26
"""Numbers in the features that a head is solved on: 256 MiB."""
_MOST_ROWS, _PILOT_ROWS, _ROWS_AT_ONCE = 72_000, 12_000, 4096
_LEAST_CELLS = 16
"""Of each image."""
_DRAWN_MORE, _LEAST_CHANCE = 0.5, 1e-3
"""Cells are drawn by this power of how rare their classes are; ignored ones hardly ever."""
GRID = tuple(float(10.0**power) for power in np.arange(-6.0, 0.51, 0.5))
_FROM = (9, 8, 7)
"""Places in the grid, from strong to weak, from which on it is looked through."""
BALANCES = (0.0, 0.25)
"""How much rare classes count: the power of how rare they are. (0.5 was the best on CamVid's validation split by 0.002,
and worse on its test split by 0.003.)"""
_CURVATURE = 0.1
"""About how strongly the loss bends along a standardised feature."""
_STEPS, _PILOT_STEPS = 40, 20
_MEASURE = "1 - validation mean IoU"
_MOST_JUDGED = 100
"""Validation items by which strengths are chosen."""


@dataclass(frozen=True)
class StoredMaps:
    """The maps of items, stored flat one after the other, and what each cell should say."""

    stored: StoredActivations
    grids: Sequence[Grid]
    targets: MapTargets

    def __len__(self) -> int:
        return len(self.targets)

    def maps(self, item: int) -> list[Tensor]:
        """Return the maps (1, D, h, w) of an item in float32."""
        return apart(as_tensor(self.stored.row(item)).float()[None], self.grids)

    def only(self, chosen: Sequence[int]) -> StoredMaps:
        """Return those of some items."""
        stored = StoredActivations(self.stored.shards, self.stored.places[np.asarray(chosen, dtype=np.int64)])
        return StoredMaps(stored, self.grids, self.targets.only(chosen))

    @property
    def width(self) -> int:
        """The channels of all maps."""
        return sum(grid[0] for grid in self.grids)


@dataclass(frozen=True)
class MapProblem:
    """The data of a head on maps to solve: training items, in several views where they are augmented, and others by
    which its strengths are chosen."""

    train: Sequence[StoredMaps]
    validation: StoredMaps
    classes: int
    l2: float | None = None
    """None: the best of the grid on validation."""
    balanced: bool = False
    """Whether rare classes count more, by the root of how rare they are; else validation decides."""
    seed: int = 0


def solve_maps(problem: MapProblem) -> SolvedHead:
    """Return the head with the best validation mean IoU over the strengths; weight (C, ΣD), bias (C,)."""
    rows = min(_MOST_ROWS, _MOST_NUMBERS // problem.validation.width)
    judge = _Judge.of(problem)
    search = _Search(problem, _drawn_cells(problem, min(rows, _PILOT_ROWS)), judge)
    balance, l2 = search.best()
    cells = search.cells if rows <= _PILOT_ROWS else _drawn_cells(problem, rows)
    # Cells of an image are alike: more of them from the same images ask for no other strength.
    head = _solved(cells, balance, l2, _STEPS)
    weight, bias = head.weight.double().numpy(), head.bias.double().numpy()
    return SolvedHead(weight, bias, l2, 1.0 - judge.score(head), search.path(), _MEASURE)


def solve_at(maps: Sequence[StoredMaps], classes: int, l2: float, seed: int = 0) -> PyramidHead:
    """Return the head on these maps at one strength, rare classes counting somewhat more: nothing is tried."""
    rows = min(_PILOT_ROWS, _MOST_NUMBERS // maps[0].width)
    problem = MapProblem(maps, maps[0], classes, l2, seed=seed)
    found = _solved(_drawn_cells(problem, rows), BALANCES[-1], l2, _STEPS)
    head = PyramidHead(maps[0].grids, classes)
    with torch.no_grad():
        head.weight.copy_(found.weight)
        head.bias.copy_(found.bias)
    return head


class _Search:
    """The strengths that are tried on some of the cells, each solution starting from the one before."""

    def __init__(self, problem: MapProblem, cells: _Cells, judge: _Judge) -> None:
        self.problem, self.cells, self.judge = problem, cells, judge
        self.balances = (0.5,) if problem.balanced else BALANCES
        self.usual = self.balances[-1]
        """How much rare classes count while the L2 strength is looked for."""
        self.tried: dict[tuple[float, float], float] = {}
        self._last: Tensor | None = None

    def look(self, balance: float, l2: float) -> float:
        """Return the mean IoU with these strengths."""
        if (balance, l2) not in self.tried:
            head = _solved(self.cells, balance, l2, _PILOT_STEPS, self._last)
            self._last = head.along
            self.tried[balance, l2] = self.judge.score(head)
        return self.tried[balance, l2]

    def best(self) -> tuple[float, float]:
        """Return how much rare classes count, and the L2 strength."""
        l2 = self.problem.l2 if self.problem.l2 is not None else self._climbed()
        if len(self.balances) == 1:
            return self.usual, l2
        return max(self.balances, key=lambda one: self.look(one, l2)), l2

    def _climbed(self) -> float:
        """Return the strength of the grid with the best score, looked for from the strong ones on while it gets
        better."""

        def score(place: int) -> float:
            return self.look(self.usual, GRID[place])

        best = max(_FROM, key=score)
        for step in (1, -1):
            while 0 <= best + step < len(GRID) and score(best + step) > score(best):
                best += step
        return GRID[best]

    def path(self) -> tuple[tuple[float, float], ...]:
        """Return the strengths that were tried, rare classes counting as usual, and by how much the mean IoU fell short
        of 1."""
        found = sorted((l2, 1.0 - score) for (balance, l2), score in self.tried.items() if balance == self.usual)
        return tuple(found) if len(found) > 1 else ()


# --- cells -----------------------------------------------------------------------------------------------------------


class _Cells:
    """Cells drawn from all items: what each should say (N, C), and the features (N, D) less their mean, each divided by
    its deviation, along the eigenvectors of their covariance."""

    def __init__(self, features: Tensor, wanted: Tensor) -> None:
        self.wanted = wanted
        self.mean = features.mean(dim=0)
        squares = sum(part.sub(self.mean).square_().sum(dim=0) for part in torch.split(features, _ROWS_AT_ONCE))
        deviation = torch.sqrt(torch.as_tensor(squares) / len(features))
        self.deviation = torch.where(
            torch.from_numpy(varying(self.mean.numpy(), deviation.numpy())), deviation, torch.inf
        )
        scaled = features.sub_(self.mean).div_(self.deviation)
        values, vectors = torch.linalg.eigh((scaled.T @ scaled / len(scaled)).double())
        self.values, self.vectors = values.clamp(min=0).float(), vectors.float()
        for part in torch.split(scaled, _ROWS_AT_ONCE):  # in place: they are many
            part.copy_(part @ self.vectors)
        self.along = scaled

    def unrotated(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weight (C, D) and bias (C,) on raw features of weights (D + 1, C) along the vectors."""
        weight = (self.vectors @ weights[:-1]).T / self.deviation
        return weight, weights[-1] - weight @ self.mean


def _drawn_cells(problem: MapProblem, rows: int) -> _Cells:
    """Return cells of all training items, of very many items some; those with rare classes are drawn more often, and
    count less in turn."""
    random = np.random.default_rng([problem.seed, 7])
    items = [(view, item) for view in problem.train for item in range(len(view))]
    _, height, width = problem.train[0].grids[0]
    most = height * width
    each = min(most, max(_LEAST_CELLS, rows // max(1, len(items))))
    if len(items) * each > rows:
        chosen = np.sort(random.permutation(len(items))[: max(1, rows // each)])
        items = [items[place] for place in chosen.tolist()]
    rarity = _rarity(problem)
    features = torch.empty(len(items) * each, problem.validation.width)
    wanted = torch.empty(len(items) * each, problem.classes)
    for place, (view, item) in enumerate(items):
        shares = view.targets.shares(item, height, width)  # (h · w, C)
        chances = shares @ rarity + _LEAST_CHANCE
        chances /= chances.sum()
        cells = np.sort(random.choice(most, each, replace=False, p=chances))
        own = slice(place * each, (place + 1) * each)
        features[own] = _at_cells(view.maps(item), cells)
        wanted[own] = torch.from_numpy(shares[cells] / (most * chances[cells])[:, None]).float()
    return _Cells(features, wanted)


def _rarity(problem: MapProblem) -> NDArray[np.float64]:
    """Return how often a cell of each class (C,) is drawn beside others."""
    pixels = sum(view.targets.pixels() for view in problem.train)
    frequent = np.asarray(pixels) / max(1.0, float(np.sum(pixels)))
    return np.asarray(np.maximum(frequent, 1e-4) ** -_DRAWN_MORE)


def _at_cells(maps: Sequence[Tensor], cells: NDArray[np.int64]) -> Tensor:
    """Return the features (n, ΣD) of maps (1, D, h, w) in cells of the finest, in between as bilinear enlargement
    has them."""
    height, width = maps[0].shape[2:]
    rows, columns = torch.from_numpy(cells // width), torch.from_numpy(cells % width)
    places = torch.stack([(columns + 0.5) * 2 / width - 1, (rows + 0.5) * 2 / height - 1], dim=-1).float()
    found = [maps[0].flatten(2)[0][:, torch.from_numpy(cells)]]
    for own in maps[1:]:
        sampled = grid_sample(own, places[None, None], mode="bilinear", padding_mode="border", align_corners=False)
        found.append(sampled[0, :, 0])  # (D, n)
    return torch.cat(found).T


# --- one solution ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Solution:
    """A linear layer on raw features, and its weights along the cells' vectors, from which the next may start."""

    weight: Tensor
    bias: Tensor
    along: Tensor


def _solved(cells: _Cells, balance: float, l2: float, steps: int, start: Tensor | None = None) -> _Solution:
    """Return the weights that minimise weighted cross-entropy + l2 / 2 · ‖W‖² over standardised features, by L-BFGS
    along the eigenvectors of their covariance, each scaled to the curvature along it."""
    pixels = cells.wanted.sum(dim=0)
    there = pixels > 0
    by_class = torch.where(there, (pixels[there].mean() / pixels.clamp(min=1e-9)) ** balance, torch.zeros(()))
    wanted = cells.wanted * by_class
    counts, total = wanted.sum(dim=1, keepdim=True), float(wanted.sum())
    scales = torch.cat([torch.rsqrt(_CURVATURE * cells.values + l2), torch.ones(1)])[:, None]  # (D + 1, 1)
    shape = (len(scales), wanted.shape[1])

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = scales * torch.from_numpy(flat.reshape(shape)).float()
        logs = torch.log_softmax(torch.addmm(weights[-1], cells.along, weights[:-1]), dim=1)
        residual = (logs.exp() * counts).sub_(wanted).div_(total)
        gradient = torch.cat([cells.along.T @ residual + l2 * weights[:-1], residual.sum(dim=0, keepdim=True)])
        loss = -float((wanted * logs).sum()) / total + 0.5 * l2 * float(weights[:-1].square().sum())
        return loss, (scales * gradient).double().numpy().ravel()

    if start is None:
        start = torch.zeros(shape)
        start[-1] = torch.log((wanted.sum(dim=0) / total).clamp(min=1e-6))
    first = (start / scales).double().numpy().ravel()
    found = minimize(objective, first, jac=True, method="L-BFGS-B", options={"maxiter": steps, "maxcor": 20})
    along = scales * torch.from_numpy(found.x.reshape(shape)).float()
    return _Solution(*cells.unrotated(along), along)


# --- what it is worth ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Judge:
    """Mean IoU on cells of validation items, the finest there are."""

    maps: StoredMaps
    items: Sequence[int]
    labels: Sequence[NDArray[np.int16]]
    classes: int

    @classmethod
    def of(cls, problem: MapProblem) -> _Judge:
        """Take some of the validation items."""
        own = problem.validation
        items = np.unique(np.linspace(0, len(own) - 1, min(len(own), _MOST_JUDGED)).round().astype(int)).tolist()
        _, height, width = own.grids[0]
        return cls(own, items, [own.targets.labels(item, height, width) for item in items], problem.classes)

    @torch.inference_mode()
    def score(self, head: _Solution) -> float:
        """Return the mean IoU of the classes that are there."""
        layer = PyramidHead(self.maps.grids, self.classes)
        layer.weight.copy_(head.weight)
        layer.bias.copy_(head.bias)
        counts = np.zeros((self.classes, self.classes), dtype=np.int64)
        for item, labels in zip(self.items, self.labels, strict=True):
            predicted = layer.of_maps(self.maps.maps(item))[0].argmax(dim=0).numpy()
            counts += confusion(labels, predicted, self.classes)
        return mean_of_classes(class_scores(counts)["iou"], counts)
