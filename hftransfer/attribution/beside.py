"""Explanations of the same images by several models, beside each other in one picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from hftransfer.attribution.explanation import ImageExplanation

# Maps of one image in a row; more go on below.
_MOST = 4
_CELL = 2.7  # inches


def short_names(references: Sequence[str]) -> list[str]:
    """Return what tells runs apart: their paths without the folders at the start that all share.

    >>> short_names(["runs/probe/20261124-101500", "runs/lora/20261124-102000"])
    ['probe/20261124-101500', 'lora/20261124-102000']
    """
    parts = [Path(one).parts or (one,) for one in references]
    shortest = min(len(one) for one in parts)
    start = next((n for n in range(shortest) if len({one[n] for one in parts}) > 1), shortest - 1)
    return [str(Path(*one[start:])) for one in parts]


def side_by_side(rows: Sequence[tuple[str, Sequence[ImageExplanation]]], models: Sequence[str]) -> bytes:
    """Return a PNG with a row for each image: what the first model saw, then each model's map over what it saw."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    from hftransfer.report.figures import INK, MAP_COLORS, figure_of, save_figure, short_label

    columns = 1 + min(_MOST, len(models))
    lines = -(-len(models) // _MOST)  # that one image takes
    figure = figure_of(_CELL * columns + 0.5, (_CELL + 0.55) * lines * len(rows))
    grid = figure.subplots(lines * len(rows), columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for place, (name, explained) in enumerate(rows):
        first = grid[place * lines][0]
        first.imshow(explained[0].seen)
        first.set_title(f"{short_label(Path(name).name, 30)}\n", loc="left", color=INK, fontsize=9)
        for number, (model, one) in enumerate(zip(models, explained, strict=True)):
            axes = grid[place * lines + number // _MOST][1 + number % _MOST]
            axes.imshow(one.overlaid)
            told = f"{short_label(one.label, 20)}, {one.score:.2f}{'; blank map' if one.is_blank else ''}"
            # The end of a long path says more than its start.
            axes.set_title(f"{short_label(model[-34:], 34)}\n{told}", loc="left", color=INK, fontsize=9)
    if any(not one.is_blank for _, explained in rows for one in explained):
        bar = ScalarMappable(Normalize(0, 1), MAP_COLORS)
        figure.colorbar(bar, ax=grid[:, -1].tolist(), fraction=0.046, pad=0.02)
    buffer = io.BytesIO()
    save_figure(figure, buffer)
    return buffer.getvalue()
