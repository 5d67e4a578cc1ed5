"""A trained model in other forms, compared before it is kept: LoRA merged into its base model, the graph of ONNX, or
Keras' file."""

from __future__ import annotations

import io
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from hftransfer.adapters.anatomy import Inputs, logits_of
from hftransfer.adapters.base import Adapter
from hftransfer.adapters.keras_files import KERAS_FILE
from hftransfer.adapters.libraries import keras_on_torch
from hftransfer.adapters.scoring import require_numbers
from hftransfer.base.cache import new_folder
from hftransfer.base.errors import (
    HftransferError,
    ModelError,
    OutputError,
    RecipeError,
    WriteError,
    first_line,
    must_be,
    user_path,
)
from hftransfer.base.extras import require_extra
from hftransfer.base.progress import Progress
from hftransfer.base.runs import at_newest
from hftransfer.data.rows import Row
from hftransfer.data.settings import DataSettings
from hftransfer.data.sources import find_rows, rows_from_python
from hftransfer.predictors.dual import DualPredictor
from hftransfer.predictors.load import load
from hftransfer.predictors.predictor import Predictor, rows_of_split, save_model
from hftransfer.recipe import load_recipe
from hftransfer.tasks.facts import ModelFacts
from hftransfer.tasks.head_task import HeadTask

MOST_DIFFERENT = 1e-3
"""Between logits of PyTorch and of ONNX's graph, or of those above 1 as a share of the largest; more is no export."""
Form = Literal["merged", "onnx", "keras"]
_OPSET = 18
_EXAMPLES = 16
_OF_KERAS_HUB = ("vit", "swin")


class ExportError(HftransferError):
    """The model can't be written in the form that was asked for, through no fault of what was given."""

    exit_status: ClassVar[int] = 1


@dataclass(frozen=True)
class Exported:
    """The folder of a model in another form, and how its logits compare with PyTorch's."""

    folder: Path
    max_difference: float = 0.0
    """The largest difference of a logit; 0 of a merged model, which is PyTorch's own."""
    examples: int = 0
    """How many examples were compared; none of a merged model."""
    source: str = ""
    """What these were."""
    advice: str = ""
    """How the folder becomes what other programs run."""


def export(
    model: str | os.PathLike[str] | Predictor,
    out: str | Path | None = None,
    *,
    format: Form = "onnx",
    data: str | None = None,
    base: str | Path | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Return a trained model in another form: LoRA merged into its base model, a graph of ONNX, or Keras' file.

    `out` is a new folder, by default the model's name and the format. A graph and Keras' file are kept after they gave
    what PyTorch gives on examples of `data`, or where it is left out on those of the run itself.

    Raises:
        ModelError: there is no such model, packages are missing, or it has no such form.
        ExportError: the other form gives other logits.
        OutputError: the folder holds other files.
    """
    if format not in get_args(Form):
        remedy = _way_to_gguf(model) if str(format).lower() == "gguf" else ""
        raise RecipeError(must_be("--format", "merged, onnx or keras", f"'{format}'", remedy))
    if data is not None and not isinstance(data, str | os.PathLike):
        raise RecipeError(must_be("data", "a path, or a data set by its name", f"an object of {type(data).__name__}"))
    data = os.fspath(data) if data is not None else None
    progress, run = progress or Progress(), None
    if isinstance(model, Predictor):
        predictor, name = model, Path(model.source.name).name
    else:
        run = at_newest(model)
        predictor, name = require_classifier(load(run, base=base)), _name_of(run)
    target = f"{name}-{format}" if out is None else out
    if format == "merged":
        return Exported(export_merged(predictor, target), advice=predictor.task.words.elsewhere)
    write = export_keras if format == "keras" else export_onnx
    return write(predictor, target, run=run, data=data, progress=progress)


def _way_to_gguf(model: str | os.PathLike[str] | Predictor) -> str:
    """Return how llama.cpp's own tool makes its file of a language model."""
    folder = None if isinstance(model, Predictor) else Path(at_newest(model)).expanduser()
    if folder is None or not folder.is_dir():
        return "llama.cpp's convert_hf_to_gguf.py makes GGUF files of language models in their native layout."
    native = folder / "model" if (folder / "model").is_dir() else folder
    if not (native / "adapter_config.json").is_file():
        return f"llama.cpp makes GGUF files of language models: python convert_hf_to_gguf.py {native}"
    merged = folder / "merged"
    first = "" if merged.is_dir() else f"First merge LoRA: hftransfer export {folder} --format merged. "
    at = merged if merged.is_dir() else f"{folder.resolve().name}-merged"
    return f"{first}llama.cpp makes GGUF files of language models: python convert_hf_to_gguf.py {at}"


def _name_of(model: str) -> str:
    """Return the last part of a folder's path; of a Hub id both parts."""
    return Path(model).resolve().name if Path(model).exists() else model.replace("/", "-")


def require_classifier(predictor: Predictor | DualPredictor) -> Predictor:
    """Return a model that can be exported.

    Raises:
        ModelError: it is a dual encoder.
    """
    if not isinstance(predictor, Predictor):
        remedy = "Train a head on it first (strategy.head_init: zero-shot)."
        raise ModelError(must_be("the model to export", "a model with classes of its own", "a dual encoder", remedy))
    return predictor


def export_merged(predictor: Predictor, out: str | Path) -> Path:
    """Return the folder with the native model that LoRA's matrices are merged into.

    Raises:
        ModelError: the model has no matrices.
        OutputError: the folder holds other files.
    """
    if predictor.source.peft is None:
        remedy = "It is complete already: plain transformers loads its folder."
        raise ModelError(must_be("the model for --format merged", "a LoRA adapter", "a complete model", remedy))
    path = _new(out)
    with new_folder(path) as draft:
        save_model(predictor.source.merged(), predictor.facts.model_copy(update={"base": None}), draft)
    return path


def export_onnx(
    predictor: Predictor, out: str | Path, *, run: str | None = None, data: str | None = None, progress: Progress
) -> Exported:
    """Return the model as a graph of ONNX, with its labels and preprocessing beside it, after onnxruntime gave what
    PyTorch gives on examples of `data`, of the data of the run in folder `run`, or of those that come with the package.

    The graph takes batches of any size, and texts of any length; LoRA's matrices are merged.

    Raises:
        ModelError: packages are missing, or torch can't make a graph of the model.
        ExportError: the graph gives other logits.
        OutputError: the folder holds other files.
    """
    require_extra("onnx", "--format onnx")
    path = _new(out)
    adapter = predictor.source.merged() if predictor.source.peft is not None else predictor.source
    # The graph is made and compared in float32, whatever the model was loaded in.
    adapter.model.to("cpu").float().eval()
    inputs, source = _examples(predictor, run, data, progress)
    graph = _Graph(adapter.model, list(inputs[0]))
    with new_folder(path) as draft:
        file = draft / "model.onnx"
        step = _written_for_any_size(graph, inputs, file, adapter.name) if predictor.task.has_maps else 0
        if not step:
            _write_graph(graph, inputs[0], file, adapter.name)
        difference = float(np.max(list(_difference(graph, file, inputs, adapter.name))))  # NaN if one is NaN
        if not difference <= MOST_DIFFERENT:
            got = f"{difference:.2g} on {_count(inputs)} {source}"
            where = "the largest logit difference between ONNX and PyTorch"
            raise ExportError(must_be(where, f"{MOST_DIFFERENT:g} at most", got, "Nothing was written."))
        _write_beside(predictor, adapter, graph, draft, difference, step)
    return Exported(path, difference, _count(inputs), source)


def export_keras(
    predictor: Predictor, out: str | Path, *, run: str | None = None, data: str | None = None, progress: Progress
) -> Exported:
    """Return a ViT or Swin as a model of Keras, converted by keras_hub, after it gave what PyTorch gives on examples.

    These are as in `export_onnx`. keras_hub reads no other classifier of ours, and not every setting of these.

    Raises:
        ModelError: packages are missing, or the model is none that keras_hub reads.
        ExportError: the converted model gives other logits.
        OutputError: the folder holds other files.
    """
    adapter = _readable_by_keras_hub(predictor)
    path = _new(out)
    adapter.model.to("cpu").float().eval()
    inputs, source = _examples(predictor, run, data, progress)
    with new_folder(path) as draft, tempfile.TemporaryDirectory() as native:
        adapter.save(Path(native))
        difference = _write_keras(adapter, Path(native), inputs, draft / KERAS_FILE)
        if not difference <= MOST_DIFFERENT:
            got = f"{difference:.2g} on {_count(inputs)} {source}"
            where = "the largest logit difference between keras_hub and PyTorch"
            remedy = "keras_hub reads neither hidden_act nor layer_norm_eps. Nothing was written."
            raise ExportError(must_be(where, f"{MOST_DIFFERENT:g} at most", got, remedy))
        said = {
            "task": predictor.facts.task,
            "loaded_by": "import keras_hub; keras.saving.load_model('model.keras')",
            "inputs": "pixels (B, H, W, 3)",
            "outputs": "logits (B, C)",
            "scores": predictor.scoring,
            "labels": list(predictor.class_names),
            "preprocessing": adapter.processor_settings(),
            **_known(predictor.facts, ("pixels", "half_width", "coverage")),
            "max_difference": difference,
        }
        _write_json(draft / "keras.json", said)
    return Exported(path, difference, _count(inputs), source)


def _readable_by_keras_hub(predictor: Predictor) -> Adapter:
    """Return the adapter of a model, merged, that keras_hub converts.

    Raises:
        ModelError: packages are missing, or it doesn't.
    """
    adapter = predictor.source.merged() if predictor.source.peft is not None else predictor.source
    if adapter.family == "keras":
        remedy = f"Its folder holds {KERAS_FILE}."
        raise ModelError(must_be("what is exported to Keras", "a model of transformers", "one of Keras", remedy))
    if adapter.family not in _OF_KERAS_HUB or predictor.facts.pooling != "native":
        allowed = " or ".join(_OF_KERAS_HUB)
        remedy = "keras_hub converts no other image classifier of ours with equal outputs."
        raise ModelError(must_be("the model exported to Keras", f"a {allowed} of transformers", adapter.family, remedy))
    keras_on_torch()
    if find_spec("keras_hub") is None:
        remedy = "Install it: pip install keras-hub."
        raise ModelError(must_be("the packages for --format keras", "installed", "no keras_hub", remedy))
    return adapter


def _write_keras(adapter: Adapter, native: Path, batches: Sequence[Inputs], file: Path) -> float:
    """Write a native folder as keras_hub converts it, and return the largest difference of a logit of what was written.

    Raises:
        ModelError: keras_hub can't read it.
    """
    keras = keras_on_torch()
    with _quiet(), keras.device("cpu"):
        try:
            import keras_hub

            keras_hub.models.ImageClassifier.from_preset(str(native)).save(file)
            written = keras.saving.load_model(file, compile=False)
        except Exception as error:  # whatever keras_hub comes upon in a configuration
            got = f"{type(adapter.model).__name__} ({first_line(error)})"
            raise ModelError(must_be(f"model '{adapter.name}'", "one that keras_hub reads", got)) from error
        found = []
        for inputs in batches:
            with torch.no_grad():
                wanted = logits_of(adapter.model(**inputs))  # (B, C)
                there = written(inputs["pixel_values"].permute(0, 2, 3, 1), training=False)
            require_numbers(wanted, adapter.name)
            found.append(float((wanted - there).abs().max()) / max(1.0, float(wanted.abs().max())))
    return float(np.max(found))  # NaN if one is NaN


def _count(batches: Sequence[Inputs]) -> int:
    return sum(len(next(iter(inputs.values()))) for inputs in batches)


def _new(out: str | Path) -> Path:
    path = user_path(out, "--out", OutputError)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise OutputError(must_be(f"the folder {path}", "new or empty", "a folder with files"))
    return path


# --- the graph -------------------------------------------------------------------------------------------------------


class _Graph(nn.Module):
    """A model whose inputs have places instead of names, and which gives tensors alone."""

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.names = model, list(names)
        self.outputs = ["logits"]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return `logits`, or of spans `start_logits` and `end_logits`."""
        found = self.model(**dict(zip(self.names, inputs, strict=True)))
        if hasattr(found, "start_logits"):
            self.outputs = ["start_logits", "end_logits"]
            return found.start_logits, found.end_logits
        return (found.logits,)


def _written_for_any_size(graph: _Graph, batches: Sequence[Inputs], file: Path, name: str) -> int:
    """Return of what number the sides of images must be multiples, for a graph that was written and gives what PyTorch
    gives for larger ones, too; 1 is any size, 0 that there is no such graph."""
    try:
        with _constant_padding(graph, batches[0]) as step:
            if step:
                _write_graph(graph, batches[0], file, name, any_size=True)
        larger = {key: _enlarged(own, step) if own.ndim == 4 else own for key, own in batches[0].items()}
        fits = step and np.max(list(_difference(graph, file, [batches[0], larger], name))) <= MOST_DIFFERENT
    except Exception:  # what torch's tracing and onnxruntime come upon has no common class
        return 0
    return step if fits else 0


def _enlarged(images: Tensor, step: int) -> Tensor:
    """Return images (B, C, H, W) at another size that a graph should take."""
    height, width = images.shape[-2:]
    size = (2 * height, 3 * width // 2) if step == 1 else (height + step, width + 3 * step)
    return torch.nn.functional.interpolate(images, size=size)


@contextmanager
def _constant_padding(graph: _Graph, example: Inputs) -> Iterator[int]:
    """Have convolutions that pad as TensorFlow does pad within the block by as much as they do for an example; yield of
    what number the sides of images must be multiples for this to be right, 0 where it is for no other size.

    How such padding depends on the size torch would follow through all layers, which takes it longer with each of them
    (2.14: 22 seconds instead of many minutes for EfficientNet).
    """
    from timm.layers.conv2d_same import Conv2dSame
    from timm.layers.pool2d_same import AvgPool2dSame, MaxPool2dSame

    found = [module for module in graph.modules() if isinstance(module, Conv2dSame | AvgPool2dSame | MaxPool2dSame)]
    sizes: dict[nn.Module, torch.Size] = {}
    with ExitStack() as hooks, torch.no_grad():
        for module in found:
            hooks.enter_context(
                module.register_forward_pre_hook(lambda own, given: sizes.update({own: given[0].shape[-2:]}))
            )
        graph(*(own[:1] for own in example.values()))
    layers = [(module, size) for module, size in sizes.items() if isinstance(module, Conv2dSame)]
    image = next((own.shape[-2] for own in example.values() if own.ndim == 4), 1)
    divides = all(
        side % stride == 0 for module, size in layers for side, stride in zip(size, module.stride, strict=True)
    )
    if not found or len(layers) < len(found) or not divides:
        yield 1 if not found else 0
        return
    try:
        for module, size in layers:
            module.forward = partial(_padded, module, _padding(module, size))
        yield max(image // size[0] * module.stride[0] for module, size in layers)
    finally:
        for module, _ in layers:
            module.__dict__.pop("forward", None)


def _padding(module: Any, size: Sequence[int]) -> list[int]:
    """Return what TensorFlow pads an input of this height and width with: left, right, above, below."""
    from timm.layers.padding import get_same_padding

    sides = zip(size, module.kernel_size, module.stride, module.dilation, strict=True)
    rows, columns = (int(get_same_padding(*side)) for side in sides)
    return [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2]


def _padded(module: Any, padding: list[int], values: Tensor) -> Tensor:
    padded = torch.nn.functional.pad(values, padding)
    found: Tensor = torch.nn.functional.conv2d(
        padded, module.weight, module.bias, module.stride, 0, module.dilation, module.groups
    )
    return found


def _write_graph(graph: _Graph, example: Inputs, file: Path, name: str, *, any_size: bool = False) -> None:
    given = tuple(torch.cat([tensor, tensor])[:2] for tensor in example.values())  # 1 would be taken for a constant
    # Batches of any size; of texts, the tokens of which lie along the last side, any length, too.
    last = example["input_ids"].ndim - 1 if "input_ids" in example else 0
    free = dict.fromkeys((0, 2, 3) if any_size else (0, last), torch.export.Dim.DYNAMIC)
    with torch.no_grad(), _quiet():
        try:
            # Once before, so that the graph knows the names of its outputs.
            graph(*given)
            program = torch.onnx.export(
                graph,
                given,
                dynamo=True,
                opset_version=_OPSET,
                input_names=graph.names,
                output_names=graph.outputs,
                dynamic_shapes={"inputs": tuple(dict(free) for _ in given)},
                verbose=False,
            )
            assert program is not None
            program.save(str(file))
        except OSError as error:
            raise WriteError(must_be(f"the folder {file.parent}", "writable", error.strerror or str(error))) from error
        except Exception as error:  # whatever torch's tracing comes upon
            # torch's own words are of its steps; what stopped them is the cause.
            got = f"{type(graph.model).__name__} ({first_line(error.__cause__ or error)})"
            raise ModelError(must_be(f"model '{name}'", "one that torch can make a graph of", got)) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the notes of torch's exporter on standard output, its warnings and its log."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _difference(graph: _Graph, file: Path, batches: Sequence[Inputs], name: str) -> Iterator[float]:
    """Yield the largest difference of a logit in each batch, as a share of the largest logit where that is above 1.

    Raises:
        ModelError: a logit of PyTorch is no number.
    """
    import onnxruntime

    # Read back from the disk: what is compared is what others will load.
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what it can't compute it raises as well
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    for inputs in batches:
        with torch.no_grad():
            wanted = graph(*inputs.values())
        found = session.run(graph.outputs, {name: tensor.numpy() for name, tensor in inputs.items()})
        for one, other in zip(wanted, found, strict=True):
            require_numbers(one, name)
            # Of large numbers, prices say, the share that is off: float32 has seven digits.
            yield float(np.max(np.abs(one.numpy() - other)) / max(1.0, float(np.abs(one.numpy()).max(initial=0.0))))


def _write_beside(
    predictor: Predictor, adapter: Adapter, graph: _Graph, folder: Path, difference: float, step: int
) -> None:
    """Write what one needs to use the graph: labels, preprocessing, and the native processor's files."""
    from hftransfer.adapters.libraries import quiet_transformers

    adapter.save_processor(folder)
    if hasattr(adapter.model, "config"):
        with quiet_transformers():
            adapter.model.config.save_pretrained(folder)
    facts = predictor.facts
    said = {
        "task": facts.task,
        "inputs": graph.names,
        "outputs": graph.outputs,
        "scores": predictor.scoring if predictor.task.head.names_classes else "none",
        "labels": list(predictor.class_names) if predictor.task.head.names_classes else [],
        "preprocessing": {} if predictor.reader.fields else adapter.processor_settings(),
        "max_tokens": predictor.task.longest_input(adapter, facts.max_tokens),
        **{name: getattr(facts, name) for name in ("null_threshold", *predictor.task.tuned)},
        **_known(facts, ("pixels", "stride_tokens")),
        **({} if adapter.split.pads else {"padding": False}),
        **({"any_size": bool(step), "size_step": step} if predictor.task.has_maps else {}),
        "opset": _OPSET,
        "max_difference": difference,
    }
    _write_json(folder / "onnx.json", said)


def _known(facts: ModelFacts, names: Sequence[str]) -> dict[str, object]:
    """Return some facts of a model that it has."""
    return {name: value for name in names if (value := getattr(facts, name)) is not None}


def _write_json(file: Path, said: Mapping[str, object]) -> None:
    text = json.dumps(said, indent=1, ensure_ascii=False, default=str)
    file.write_text(text + "\n", encoding="utf-8")


# --- what it is tried on ---------------------------------------------------------------------------------------------


def _examples(predictor: Predictor, run: str | None, data: str | None, progress: Progress) -> tuple[list[Inputs], str]:
    """Return some inputs in batches of several sizes, and what they are."""
    rows, source = _rows(predictor.task, run, data, progress)
    chosen = [rows[place] for place in np.linspace(0, len(rows) - 1, min(len(rows), _EXAMPLES)).astype(int).tolist()]
    # Batches of one, three and more: sizes that the graph was not made with.
    parts = [chosen[:1], chosen[1:4], chosen[4:]]
    task, most = predictor.task, predictor.facts.max_tokens
    return [task.inputs(predictor.source, part, most) for part in parts if part], source


def _rows(task: HeadTask[object], run: str | None, data: str | None, progress: Progress) -> tuple[list[Row], str]:
    if data is not None:
        return rows_of_split(find_rows(DataSettings(source=data), progress, task.reader), None), f"examples of {data}"
    recipe = Path(run) / "recipe.yaml" if run is not None else None
    if recipe is not None and recipe.is_file():
        settings = load_recipe(recipe).recipe.data
        if settings.source != "memory":
            try:
                return rows_of_split(find_rows(settings, progress, task.reader), None), "examples of its data"
            except HftransferError as error:
                progress.line(f"the data of the run can't be read ({first_line(error)}): other examples are used")
    found = rows_from_python(task.made_up(_EXAMPLES), DataSettings(source="memory"), task.reader)
    return rows_of_split(found, None), "examples that come with the package"
