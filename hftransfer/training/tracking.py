"""What a training measures, told to experiment trackers, through Accelerate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from hftransfer.training.devices import Compute

Log = Callable[[Mapping[str, float], int], None]
"""Takes values by name, and the step they belong to."""


def not_tracked(values: Mapping[str, float], step: int) -> None:
    """Do nothing."""
    del values, step


@contextmanager
def tracked(
    trackers: Sequence[str], folder: Path, project: str, settings: Mapping[str, object], compute: Compute
) -> Iterator[Log]:
    """Takes what is measured and tells it to these trackers; their local files go into the folder.

    `settings` (flat, without secrets: a recipe has none) are told once, as text where they are no plain numbers.
    """
    if not trackers:
        yield not_tracked
        return
    accelerator = compute.accelerator(log_with=list(trackers), project_dir=folder)
    plain = {key: value if isinstance(value, int | float | str) else str(value) for key, value in settings.items()}
    accelerator.init_trackers(project, config=plain)
    try:
        yield lambda values, step: accelerator.log(dict(values), step=step)
    finally:
        accelerator.end_training()
