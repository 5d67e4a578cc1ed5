"""hftransfer: transfer learning on the Hugging Face stack.

>>> import hftransfer as ht
>>> result = ht.run("cats_dogs_linear_probe", {"train.seed": 1})
>>> ht.load(result.folder).predict(["photo.jpg"])
>>> model = ht.fit("text-classification", model="bundled/minilm-l6", train=rows, strategy=ht.LinearProbe())
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""What says how long threads of OpenMP burn a core while they wait for each other; read once, when torch is imported.
"""


_SPINS = "10000"
"""A compromise, measured on 2 cores (ViT-Tiny over 800 photos): a run alone takes 1.02 times as long as with the
library's own 300,000, two at once 2.3 times as long as one (with 300,000: 12 times; with 20,000: 2.8 times). Passive
waiting costs a lone run 1.23."""


def _wait_without_burning() -> None:
    """Let threads that wait for each other give their core away soon, unless a person has decided it: where two runs
    share the cores, waiting threads else hold up those they wait for."""
    if "torch" not in sys.modules and not any(name in os.environ for name in _WAITING):
        os.environ["GOMP_SPINCOUNT"] = _SPINS


_wait_without_burning()
if "ipykernel" in sys.modules:
    import_module("hftransfer.base.notebooks").hush_tqdm()

_HOMES = {
    "run": "hftransfer.jobs.run",
    "check": "hftransfer.jobs.run",
    "fit": "hftransfer.jobs.run",
    "load": "hftransfer.predictors.load",
    "compare": "hftransfer.study.study",
    "audit": "hftransfer.jobs.audit",
    "explain": "hftransfer.attribution.explaining",
    "zero_shot": "hftransfer.predictors.dual",
    "embed": "hftransfer.predictors.embedding",
    "search": "hftransfer.predictors.searching",
    "suggest": "hftransfer.predictors.suggesting",
    "export": "hftransfer.predictors.export",
    "serve": "hftransfer.predictors.serving",
    "push": "hftransfer.hub.publish",
    "init": "hftransfer.jobs.drafts",
    "doctor": "hftransfer.jobs.doctor",
    "load_recipe": "hftransfer.recipe",
    "LinearProbe": "hftransfer.strategies",
    "FineTune": "hftransfer.strategies",
    "LoRA": "hftransfer.strategies",
    "Contrastive": "hftransfer.strategies",
    "Recipe": "hftransfer.recipe",
    "Result": "hftransfer.jobs.run",
    "Splits": "hftransfer.data.splits",
    "Predictor": "hftransfer.predictors.predictor",
    "DualPredictor": "hftransfer.predictors.dual",
    "Prediction": "hftransfer.tasks.outcomes",
    "Entities": "hftransfer.tasks.outcomes",
    "LabelsPrediction": "hftransfer.tasks.outcomes",
    "Number": "hftransfer.tasks.outcomes",
    "Answer": "hftransfer.tasks.outcomes",
    "Generation": "hftransfer.tasks.outcomes",
    "Study": "hftransfer.study.results",
    "Audit": "hftransfer.auditing.audit",
    "Explanation": "hftransfer.attribution.explanation",
    "Exported": "hftransfer.predictors.export",
    "Server": "hftransfer.predictors.server",
    "Pushed": "hftransfer.hub.publish",
    "Upload": "hftransfer.hub.publish",
    "Diagnosis": "hftransfer.jobs.doctor",
    "HftransferError": "hftransfer.base.errors",
    "RecipeError": "hftransfer.base.errors",
    "DataError": "hftransfer.base.errors",
    "ModelError": "hftransfer.base.errors",
    "OutputError": "hftransfer.base.errors",
    "TrainingError": "hftransfer.training.loop",
    "PushError": "hftransfer.hub.publish",
    "ExportError": "hftransfer.predictors.export",
}

if TYPE_CHECKING:
    from hftransfer.attribution.explaining import explain as explain
    from hftransfer.attribution.explanation import Explanation as Explanation
    from hftransfer.auditing.audit import Audit as Audit
    from hftransfer.base.errors import DataError as DataError
    from hftransfer.base.errors import HftransferError as HftransferError
    from hftransfer.base.errors import ModelError as ModelError
    from hftransfer.base.errors import OutputError as OutputError
    from hftransfer.base.errors import RecipeError as RecipeError
    from hftransfer.data.splits import Splits as Splits
    from hftransfer.hub.publish import Pushed as Pushed
    from hftransfer.hub.publish import PushError as PushError
    from hftransfer.hub.publish import Upload as Upload
    from hftransfer.hub.publish import push as push
    from hftransfer.jobs.audit import audit as audit
    from hftransfer.jobs.doctor import Diagnosis as Diagnosis
    from hftransfer.jobs.doctor import doctor as doctor
    from hftransfer.jobs.drafts import init as init
    from hftransfer.jobs.run import Result as Result
    from hftransfer.jobs.run import check as check
    from hftransfer.jobs.run import fit as fit
    from hftransfer.jobs.run import run as run
    from hftransfer.predictors.dual import DualPredictor as DualPredictor
    from hftransfer.predictors.dual import zero_shot as zero_shot
    from hftransfer.predictors.embedding import embed as embed
    from hftransfer.predictors.export import Exported as Exported
    from hftransfer.predictors.export import ExportError as ExportError
    from hftransfer.predictors.export import export as export
    from hftransfer.predictors.load import load as load
    from hftransfer.predictors.predictor import Predictor as Predictor
    from hftransfer.predictors.searching import search as search
    from hftransfer.predictors.server import Server as Server
    from hftransfer.predictors.serving import serve as serve
    from hftransfer.predictors.suggesting import suggest as suggest
    from hftransfer.recipe import Recipe as Recipe
    from hftransfer.recipe import load_recipe as load_recipe
    from hftransfer.strategies import Contrastive as Contrastive
    from hftransfer.strategies import FineTune as FineTune
    from hftransfer.strategies import LinearProbe as LinearProbe
    from hftransfer.strategies import LoRA as LoRA
    from hftransfer.study.results import Study as Study
    from hftransfer.study.study import compare as compare
    from hftransfer.tasks.outcomes import Answer as Answer
    from hftransfer.tasks.outcomes import Entities as Entities
    from hftransfer.tasks.outcomes import Generation as Generation
    from hftransfer.tasks.outcomes import LabelsPrediction as LabelsPrediction
    from hftransfer.tasks.outcomes import Number as Number
    from hftransfer.tasks.outcomes import Prediction as Prediction
    from hftransfer.training.loop import TrainingError as TrainingError

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'hftransfer' has no attribute '{name}'")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
