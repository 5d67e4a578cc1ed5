"""LoRA through peft: which layers it goes to, and its low-rank matrices put beside them, read, written and merged."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from hftransfer.adapters.families import FAMILIES, GENERAL_LORA
from hftransfer.adapters.libraries import quiet_peft, seeded
from hftransfer.adapters.split import SplitModel
from hftransfer.base.errors import RecipeError, first_line, must_be, nearest, some

if TYPE_CHECKING:
    from peft import PeftModel


@dataclass(frozen=True)
class LoraLayers:
    """The layers of a model that LoRA can go to."""

    split: SplitModel
    family: str

    def modules(self, targets: Sequence[str] | None = None) -> list[str]:
        """Return the full names of the layers within the stages that have these names; by default all linear layers,
        and the family's convolutions.

        Raises:
            ModelError: there is no layer that LoRA could go to.
            RecipeError: a name matches no such layer.
        """
        usable = self._usable()
        if targets is None:
            return self._default_modules(usable)
        last_names = sorted({name.rsplit(".", 1)[-1] for name in usable})
        if not targets:
            raise RecipeError(must_be("strategy.targets", "auto or names of layers", "none"))
        chosen: set[str] = set()
        for target in targets:
            matched = [name for name in usable if name == target or name.endswith(f".{target}")]
            if not matched:
                allowed = f"names of linear or convolutional layers in the stages of {type(self.split.model).__name__}"
                remedy = nearest(target, [*last_names, *usable] if "." in target else last_names)
                raise RecipeError(must_be("strategy.targets", allowed, f"'{target}'", remedy))
            chosen |= set(matched)
        if elsewhere := _taken_for_experts(self.split.model, chosen):
            kind = type(self.split.model).__name__
            allowed = f"layers that peft adapts; in a {kind} it takes such names for the experts'"
            raise RecipeError(must_be("strategy.targets", allowed, some(sorted(elsewhere), 3)))
        return sorted(chosen)

    def _usable(self) -> list[str]:
        stages = {module for stage in self.split.stages for module in stage.modules()}
        head = {module for part in self.split.head_parts for module in part.modules()}
        modules = self.split.model.named_modules()
        return [name for name, module in modules if module in stages - head and _takes_lora(module)]

    def _default_modules(self, usable: Sequence[str]) -> list[str]:
        """Return all linear layers, which learn more than query and value alone ("LoRA Without Regret", Schulman et
        al., 2025; our own numbers are in docs/strategies.md), and the dense convolutions that a family names."""
        modules = {name: self.split.model.get_submodule(name) for name in usable}
        # A pooler lies idle where tokens are pooled by their mean.
        is_linear = {n: not isinstance(module, nn.Conv2d) for n, module in modules.items() if "pooler" not in n}
        last_names = {name.rsplit(".", 1)[-1] for name, linear in is_linear.items() if not linear}
        family = FAMILIES.get(self.family)
        # The family's own convolutions, then usual names, at last whatever there is where no layer is linear.
        choices = [family.lora if family else (), *GENERAL_LORA, () if any(is_linear.values()) else tuple(last_names)]
        choice = next((choice for choice in choices if set(choice) & last_names), ())
        named = [name for name, linear in is_linear.items() if linear or name.rsplit(".", 1)[-1] in choice]
        elsewhere = _taken_for_experts(self.split.model, named)
        chosen = [name for name in named if name not in elsewhere]
        if not chosen:
            allowed = "one with linear or dense convolutional layers, for LoRA"
            raise self.split.unfit(allowed, "none in its stages")
        return sorted(chosen)

    def lowest_stage_of(self, modules: Sequence[str]) -> int:
        """Return the index of the first stage with one of these modules."""
        wanted = {self.split.model.get_submodule(name) for name in modules}
        return next(index for index, stage in enumerate(self.split.stages) if wanted & set(stage.modules()))

    def in_last_stages(self, modules: Sequence[str], count: int) -> list[str]:
        """Return those of these modules that lie in so many last stages.

        Raises:
            RecipeError: there are not so many stages, or none of the modules lies there.
        """
        stages = self.split.stages
        if count > len(stages):
            allowed = f"a number from 1 to {len(stages)} (the stages of {self.split.name})"
            raise RecipeError(must_be("strategy.last", allowed, count))
        inside = {module for stage in stages[len(stages) - count :] for module in stage.modules()}
        chosen = [name for name in modules if self.split.model.get_submodule(name) in inside]
        if not chosen:
            raise RecipeError(must_be("strategy.last", "a number of stages with layers of strategy.targets", count))
        return chosen

    def add(self, settings: Mapping[str, object], seed: int) -> PeftModel:
        """Put matrices beside the layers that these settings of a `LoraConfig` name, initialised by the seed."""
        import peft

        with quiet_peft(), seeded(seed):
            return peft.get_peft_model(self.split.model, peft.LoraConfig(**settings))

    def load(self, folder: Path) -> PeftModel:
        """Put the matrices and the head that lie in a folder of peft's into the model.

        Raises:
            ModelError: some of them are not there.
        """
        import peft

        # peft only warns of matrices that are not in the file: they would stay as they were initialised.
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = peft.PeftModel.from_pretrained(self.split.model, str(folder), use_safetensors=True)
        messages = [first_line(Warning(one.message)) for one in caught if "missing adapter keys" in str(one.message)]
        if messages:
            raise self.split.unfit("one that all matrices of the adapter are for", messages[0][:300])
        return model


def save_matrices(model: PeftModel, folder: Path, base: str) -> None:
    """Write matrices and head beside `adapter_config.json`, which names the base model."""
    config: Any = model.peft_config["default"]
    config.base_model_name_or_path = base
    # peft keeps the names as a set, which is written in another order by each process.
    if isinstance(config.target_modules, set):  # a pattern is text
        config.target_modules = sorted(config.target_modules)
    with quiet_peft():
        model.save_pretrained(str(folder), save_embedding_layers=False)
    # peft writes a card of its own; a run writes another.
    (folder / "README.md").unlink(missing_ok=True)


def _taken_for_experts(model: nn.Module, names: Collection[str]) -> set[str]:
    """Return those of these layers whose names peft takes for the tensors in which transformers 5 holds the experts of
    all layers: in place of a shared expert, or of a layer without experts, it would adapt those (peft 0.21)."""
    import peft

    try:
        from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers
    except ImportError:
        return set()  # another peft: as it was asked
    config = peft.LoraConfig(target_modules=list(names))
    try:
        convert_peft_config_for_transformers(config, model, None)
    except ValueError:
        return set()  # some of the names alone, which peft tells of itself
    return set(names) - set(config.target_modules or ())


def _takes_lora(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d):
        # peft can't merge matrices of grouped convolutions into their weights.
        return module.groups == 1
    if isinstance(module, nn.modules.linear.NonDynamicallyQuantizableLinear):
        return False  # part of torch's MultiheadAttention, which reads its weight without calling it
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"
