"""What trains, by what a task learns."""

from __future__ import annotations

from typing import Protocol

from hftransfer.adapters.checkpoint import Checkpoint
from hftransfer.jobs.captions import train_towers
from hftransfer.jobs.learned import Learned
from hftransfer.jobs.session import Session
from hftransfer.jobs.training import train_head
from hftransfer.jobs.zero_shot import judge_by_names
from hftransfer.recipe import LoadedRecipe
from hftransfer.tasks.contract import Learns


class Engine(Protocol):
    """Makes of a recipe what its run came to."""

    def __call__(
        self, loaded: LoadedRecipe, checkpoint: Checkpoint | None, session: Session, *, resume: bool
    ) -> Learned:
        """Return it; `checkpoint` is the model's, where its files are on this disk."""


ENGINES: dict[Learns, Engine] = {"head": train_head, "towers": train_towers, "nothing": judge_by_names}
