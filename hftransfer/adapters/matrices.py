"""A folder in peft's layout, whoever wrote it: LoRA's matrices, what they go to, and the head beside them. Nothing here
imports torch or peft."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from safetensors import SafetensorError

from hftransfer.adapters.checkpoint import Checkpoint, object_in
from hftransfer.adapters.families import FAMILIES
from hftransfer.adapters.heads import Head
from hftransfer.adapters.sizes import shapes_in
from hftransfer.base.errors import ModelError, must_be, some
from hftransfer.base.plain import JsonObject

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_PROBLEM_TYPES = ("single_label_classification", "multi_label_classification", "regression")


@dataclass(frozen=True)
class Matrices:
    """The matrices in a folder."""

    folder: Path

    @cached_property
    def config(self) -> JsonObject:
        """The parsed `adapter_config.json`."""
        return object_in(self.folder / ADAPTER_CONFIG)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor, by its name in the base model.

        Raises:
            ModelError: they are not there, or damaged.
        """
        file = self.folder / ADAPTER_WEIGHTS
        if not file.is_file():
            raise ModelError(must_be(f"{self.folder}", f"a folder with {ADAPTER_WEIGHTS}", "none there"))
        try:
            return {name.removeprefix(_PREFIX): shape for name, shape in shapes_in([file]).items()}
        except (SafetensorError, OSError) as error:
            got = f"weights that are truncated or damaged ({error})"
            raise ModelError(must_be(str(file), "complete weights", got)) from error

    @property
    def base(self) -> dict[str, str | None]:
        """Return the base model's name and revision, as peft writes them.

        Raises:
            ModelError: it is not named.
        """
        name, revision = self.config.get("base_model_name_or_path"), self.config.get("revision")
        if not isinstance(name, str) or not name:
            remedy = "Say where it is: ht.load(…, base=…), or `hftransfer predict … --base`."
            where = f"base_model_name_or_path in {self.folder / ADAPTER_CONFIG}"
            raise ModelError(must_be(where, "the name of the base model", repr(name), remedy))
        return {"name": name, "revision": revision if isinstance(revision, str) else None}

    def require_plain(self) -> None:
        """Return if the matrices are LoRA's, of no higher rank than their weights, and ask for nothing besides.

        Raises:
            ModelError: they are not.
        """
        where, config = str(self.folder / ADAPTER_CONFIG), self.config
        faults = []
        if config.get("peft_type") != "LORA":
            faults.append(must_be(f"peft_type in {where}", "LORA", f"{config.get('peft_type')!r}"))
        # These import what they name, or repeat layers: no model is made of what a file says there.
        for key in ("megatron_config", "layer_replication"):
            if config.get(key):
                faults.append(must_be(f"{key} in {where}", "null", "something"))
        most = max((max(shape, default=0) for shape in self.shapes.values()), default=0)
        by_layer = config.get("rank_pattern")
        ranks = [config.get("r"), *(by_layer.values() if isinstance(by_layer, dict) else ())]
        if wrong := [rank for rank in ranks if type(rank) is not int or not 0 < rank <= most]:
            faults.append(must_be(f"r in {where}", f"a rank from 1 to {most}, as its matrices have", repr(wrong[0])))
        if faults:
            raise ModelError(*faults)

    def head_on(self, base: Checkpoint, heads: Sequence[Head]) -> Head:
        """Return that of the heads which the model has: by peft's task type, by the class of the base model, or the
        first for the modality of its family."""
        kind = self.config.get("task_type")
        by_type = next((head for head in heads if head.peft_type is not None and head.peft_type == kind), None)
        if by_type is not None:
            return by_type
        mapping = self.config.get("auto_mapping")
        named = [str(mapping.get("base_model_class"))] if isinstance(mapping, dict) else []
        for name in [*named, *base.architectures]:
            for head in heads:
                if name.endswith(head.ending):
                    return head
        family = FAMILIES.get(base.family)
        modality = "image" if family is None else family.modality
        return next(head for head in heads if head.modality == modality)

    def class_names_on(self, base: Checkpoint) -> tuple[str, ...] | None:
        """Return the names of the classes of the head that lies here: those of the configuration beside it, or of the
        base model's, if they are as many, else `LABEL_0`, …; None where the head is the base model's own."""
        count = self._outputs()
        if count is None:
            return None
        names = self._config_of(count, base).get("id2label", {})
        return tuple(str(names.get(str(index), f"LABEL_{index}")) for index in range(count))

    def problem_type_on(self, base: Checkpoint) -> str | None:
        """Return what the head is for, by the configuration that names its classes; None where it doesn't say."""
        count = self._outputs()
        kind = (base.config if count is None else self._config_of(count, base)).get("problem_type")
        return kind if kind in _PROBLEM_TYPES else None

    def _outputs(self) -> int | None:
        """Return how many outputs the head has that lies here; None where there is none."""
        saved = self.config.get("modules_to_save") or ()
        names = {str(name) for name in saved} if isinstance(saved, list | tuple) else set()
        # peft saves copies of whole modules: the last linear one is the head.
        tops = [
            shape
            for name, shape in sorted(self.shapes.items())
            if name.endswith(".weight") and len(shape) == 2 and names & set(name.split("."))
        ]
        return tops[-1][0] if tops else None

    def _config_of(self, count: int, base: Checkpoint) -> JsonObject:
        """Return the configuration that names so many classes: the one here or the base model's; an empty one else."""
        wanted = {str(index) for index in range(count)}
        for config in (object_in(self.folder / "config.json"), base.config):
            # transformers leaves its default out of config.json: two classes of these names.
            names = config.get("id2label", {"0": "LABEL_0", "1": "LABEL_1"} if config else None)
            if isinstance(names, Mapping) and {str(key) for key in names} == wanted:
                return {**config, "id2label": dict(names)}
        return {}

    def shapes_below(self, name: str) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor of one module of the base model, by its name in there."""
        return {own.removeprefix(f"{name}."): shape for own, shape in self.shapes.items() if own.startswith(f"{name}.")}

    def require_weights(self, fresh: frozenset[str]) -> None:
        """Return if every weight that the base model lacks lies here.

        Raises:
            ModelError: some do not: they would be random.
        """
        if absent := sorted(fresh - set(self.shapes)):
            got = f"no {some(absent, 2)}"
            remedy = "The base model has none either, and missing weights are never filled with random ones."
            raise ModelError(must_be(f"the adapter {self.folder}", "one with all its head weights", got, remedy))
