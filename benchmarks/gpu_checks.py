"""What must hold on a GPU as it does on a CPU: each check raises what is wrong, and returns figures."""

from __future__ import annotations

import io
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.gpu_material import (
    FAMILIES,
    TEXT_FAMILIES,
    Setting,
    jpeg,
    picture,
    picture_rows,
    text_rows,
    write_family,
    write_pictures,
    write_texts,
)

Figures = dict[str, Any]
Check = Callable[[Setting], Figures]
IMAGES, TEXTS = "image-classification", "text-classification"
_SENTENCES = ["a great film", "the story was very dull and the actor was not good", "fine"]


def device(setting: Setting) -> Figures:
    """Say which device computes, and that it does."""
    import torch
    import torchvision
    import transformers

    place = torch.device(setting.device)
    product = torch.ones(64, 64, device=place) @ torch.ones(64, 64, device=place)
    assert float(product.sum()) == 64**3
    name = torch.cuda.get_device_name() if setting.on_gpu else "cpu"
    versions = {module.__name__: module.__version__ for module in (torch, torchvision, transformers)}
    return {"name": name, **versions}


# --- the contract ----------------------------------------------------------------------------------------------------


def contract(setting: Setting) -> Figures:
    """Find above(below(x, b), b) == model(x) at every boundary of every family, in float32 and bfloat16, and gradients
    above a boundary in the middle."""
    worst: Figures = {}
    with _all_faults() as telling, tempfile.TemporaryDirectory() as folder:
        for family in FAMILIES:
            with telling(family):
                path = write_family(family, Path(folder) / family.replace(" ", "-"))
                tasks = (TEXTS, "question-answering") if family in TEXT_FAMILIES else (IMAGES,)
                found = [_contract_of(path, task, setting.device) for task in tasks]
                worst[family] = f"fp32 {max(f[0] for f in found):.1e}, bf16 {max(f[1] for f in found):.1e}"
    return worst


def _contract_of(folder: Path, task: Any, place: str) -> tuple[float, float]:
    """Return the largest differences of the parts from the whole, relative to the largest logit."""
    import torch

    from hftransfer.adapters.checkpoint import find_checkpoint
    from hftransfer.adapters.loading import load_adapter
    from hftransfer.tasks import head_task
    from hftransfer.training.devices import Compute
    from hftransfer.training.frozen import frozen_twin

    checkpoint = find_checkpoint(str(folder))
    assert checkpoint is not None
    adapter = load_adapter(
        checkpoint, () if task == "question-answering" else ("cat", "dog", "bird"), head=head_task(task).head
    )
    where = torch.device(place)
    examples = _SENTENCES if adapter.modality == "text" else [picture(n, 1) for n in ("red", "blue", "green")]
    inputs = adapter.encode(examples)
    with torch.no_grad():
        on_host = adapter.features(inputs)
    adapter.model.to(where)  # as the loop moves it: what was seen of the model lies on the host
    there = {name: tensor.to(where) for name, tensor in inputs.items()}
    exact = _split_error(adapter, there)
    assert exact < 1e-4, f"{task}, float32: the parts differ from the whole by {exact:.1e}"
    _learn_once(adapter, there)
    adapter.model.to("cpu")
    twin = frozen_twin(adapter, Compute(where, "bf16", 8))
    halved = {name: t.to(torch.bfloat16) if t.is_floating_point() else t for name, t in there.items()}
    rough = _split_error(twin, halved)
    assert rough < 0.1, f"{task}, bfloat16: the parts differ from the whole by {rough:.1e}"
    with torch.no_grad():
        features = twin.features(halved).float().cpu()
    alike = float(torch.nn.functional.cosine_similarity(features.flatten(), on_host.flatten(), dim=0))
    alike = alike if float(on_host.abs().max()) > 1e-6 else 1.0  # random weights may let nothing through
    assert alike > 0.99, f"{task}: features in bfloat16 have a cosine of {alike:.4f} with those of float32 on the CPU"
    return exact, rough


def _split_error(adapter: Any, inputs: Mapping[str, Any]) -> float:
    import torch

    from hftransfer.adapters.anatomy import logits_of

    with torch.no_grad():
        whole = logits_of(adapter.model(**inputs)).float()
        parts = [adapter.above(adapter.below(inputs, b), b).float() for b in range(len(adapter.stages) + 1)]
    worst = max(float((part - whole).abs().max()) for part in parts)
    return worst / max(1e-6, float(whole.abs().max()))


def _learn_once(adapter: Any, inputs: Mapping[str, Any]) -> None:
    import torch

    for boundary in {len(adapter.stages) // 2, len(adapter.stages)}:
        adapter.split.freeze_below(boundary)
        with torch.inference_mode():
            below = adapter.below(inputs, boundary)
        below = {name: tensor.clone() for name, tensor in below.items()}
        adapter.learn_mode(boundary, on=True)
        adapter.above(below, boundary).float().square().mean().backward()
        adapter.learn_mode(boundary, on=False)
        gradients = [p.grad for p in adapter.model.parameters() if p.grad is not None]
        assert gradients, f"nothing learned above boundary {boundary}"
        assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
        adapter.model.zero_grad()


# --- a step, however it is computed ----------------------------------------------------------------------------------


def parts(setting: Setting) -> Figures:
    """Find the same weights whether a batch is computed at once or in parts, where nothing is dropped."""
    whole, begun = _weights(_fitted(setting, "vit")), _weights(_fitted(setting, "vit", learning_rate=1e-12))
    gap = _gap(whole, _weights(_fitted(setting, "vit", micro_batch_size=3)), begun)
    assert gap < 1e-2, f"weights of parts differ by {gap:.1e} of what was learned"
    return {"gap, share of what was learned": gap}


def dropout(setting: Setting) -> Figures:
    """Find that what is dropped follows from seed and step, and from the example alone however a batch is divided."""
    one, again = _weights(_fitted(setting, "bert")), _weights(_fitted(setting, "bert"))
    begun = _weights(_fitted(setting, "bert", learning_rate=1e-12))
    divided = _gap(one, _weights(_fitted(setting, "bert", micro_batch_size=3)), begun)
    repeated = _gap(one, again, begun)
    figures = {"gap of the same run": repeated, "gap of a divided batch": divided}
    assert repeated == 0, f"two runs of one seed differ: {figures}"
    assert divided < 1e-2, (
        f"what is dropped depends on how a batch is divided: {figures}. On GPUs torch's own generator draws for a part "
        "of a batch, seeded by seed, step and the part's first place; only on CPUs has each example its own"
    )
    return figures


def memory(setting: Setting) -> Figures:
    """Find that parts of a batch become smaller where the GPU's memory does not suffice, and weights stay the same."""
    rows = {"train": picture_rows(256, 1, 64, 64), "batch_size": 128}
    free, begun = _weights(_fitted(setting, "vit", **rows)), _weights(_fitted(setting, "vit", learning_rate=1e-12))
    told = io.StringIO()
    with _scarce(setting):
        scarce = _weights(_fitted(setting, "vit", told=told, **rows))
    lines = [line for line in told.getvalue().splitlines() if "out of memory" in line]
    assert lines, "memory sufficed: nothing was tried"
    gap = _gap(free, scarce, begun)
    assert gap < 1e-2, f"weights differ by {gap:.1e} of what was learned"
    return {"told": lines, "gap, share of what was learned": gap}


@contextmanager
def _scarce(setting: Setting) -> Iterator[None]:
    """Meanwhile less memory than a whole batch takes can be had."""
    import torch

    if not setting.on_gpu:
        from hftransfer.adapters.base import Adapter

        above = Adapter.above

        def scarce(self: Any, activations: Any, boundary: int) -> Any:
            if torch.is_grad_enabled() and len(next(iter(activations.values()))) > 40:
                raise MemoryError
            return above(self, activations, boundary)

        with patch.object(Adapter, "above", scarce):
            yield
        return
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.5 * 2**30 / total)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def order(setting: Setting) -> Figures:
    """Find that a run goes on, and says so, where an operation can't add up in the same order each time."""
    import torch

    from hftransfer.adapters.base import Adapter

    above = Adapter.above

    def disorderly(self: Any, activations: Any, boundary: int) -> Any:
        logits = above(self, activations, boundary)
        grown = torch.nn.functional.interpolate(logits[None, None].float(), scale_factor=2, mode="bicubic")
        return logits + 0 * grown.mean()

    told = io.StringIO()
    with patch.object(Adapter, "above", disorderly):
        _fitted(setting, "vit", told=told)
    lines = [line for line in told.getvalue().splitlines() if "to the bit" in line]
    assert len(lines) == int(setting.on_gpu), told.getvalue()[-300:]
    return {"told": lines}


def _fitted(setting: Setting, kind: str, told: Any = None, **settings: Any) -> Any:
    """Return what a short fine-tune of the whole network gave."""
    import hftransfer as ht
    from hftransfer.base.progress import Progress

    rate = settings.pop("learning_rate", 1e-3)
    usual: dict[str, Any] = {"epochs": 1, "batch_size": 8, "optimizer": "sgd", "precision": "fp32", "patience": None}
    usual |= {"checkpoint_every_minutes": None, "train": _rows(kind, 48, 1), "validation": _rows(kind, 8, 2)}
    # From a solved head nothing may be better than the start, and then no step shows.
    strategy = {"kind": "fine-tune", "learning_rate": rate, "head_lr": rate, "head_init": "random"}
    task = IMAGES if kind == "vit" else TEXTS
    model = str(setting.model(kind, "middle"))
    return ht.fit(task, model=model, strategy=strategy, progress=Progress(told), **{**usual, **settings})


def _rows(kind: str, count: int, seed: int, words: int | None = None) -> list[Any]:
    return picture_rows(count, seed, 64, 64) if kind == "vit" else text_rows(count, seed, words)


def _weights(fitted: Any) -> dict[str, Any]:
    model = fitted.source.model
    return {name: parameter.detach().cpu().clone() for name, parameter in model.named_parameters()}


def _gap(one: Mapping[str, Any], other: Mapping[str, Any], begun: Mapping[str, Any]) -> float:
    """Return the largest difference of two sets of weights, as a share of the largest change since they began."""
    learned = max(float((one[name] - begun[name]).abs().max()) for name in one)
    return max(float((one[name] - other[name]).abs().max()) for name in one) / learned


# --- going on after an interruption ----------------------------------------------------------------------------------

_RESUMED: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "vit-bf16": ("vit", {"kind": "fine-tune"}, {"precision": "bf16", "augment": "light"}),
    "bert-bf16": ("bert", {"kind": "fine-tune"}, {"precision": "bf16"}),
    "bert-fp16": ("bert", {"kind": "fine-tune"}, {"precision": "fp16"}),
    "vit-last": ("vit", {"kind": "fine-tune", "unfreeze": 1}, {"precision": "bf16"}),
    "vit-lora": ("vit", {"kind": "lora", "rank": 4, "dropout": 0.1}, {"precision": "bf16"}),
    "bert-average": ("bert", {"kind": "fine-tune"}, {"precision": "fp32", "ema": 0.9, "optimizer": "sgd"}),
}


def resume(name: str, setting: Setting) -> Figures:
    """Find the same bits in a run that was interrupted and resumed, one that was not, and that one's repetition."""
    import hftransfer as ht
    from hftransfer.base.progress import Progress
    from hftransfer.training.interrupts import Interrupted
    from hftransfer.training.loop import _Run

    kind, strategy, train = _RESUMED[name]
    if not setting.on_gpu and train["precision"] == "fp16":
        train = {**train, "precision": "fp32"}
    part: Callable[..., Any] = _Run._part

    def stopped(self: Any, *given: Any) -> Any:
        if self.at.steps == 7:
            raise Interrupted(signal.SIGTERM)
        return part(self, *given)

    silent = Progress(None)
    with tempfile.TemporaryDirectory() as folder, _without_pictures():
        root = Path(folder)
        recipe = _recipe(setting, root, kind, strategy, train)
        whole, again = (ht.run(recipe, out=root / one, progress=silent) for one in ("whole", "again"))
        with patch.object(_Run, "_part", stopped):
            try:
                ht.run(recipe, out=root / "run", progress=silent)
            except Interrupted:
                pass
            else:
                raise AssertionError("the run was not interrupted")
        resumed = ht.run(recipe, out=root / "run", resume=True, progress=silent)
        apart = {"repeated": _apart(whole.folder, again.folder), "resumed": _apart(whole.folder, resumed.folder)}
        log = (whole.folder / "log.txt").read_text(encoding="utf-8")
        assert whole.metrics["test"] == resumed.metrics["test"] or apart["resumed"], "scores differ, weights do not"
    told = [line for line in log.splitlines() if "to the bit" in line]
    assert apart == {"repeated": 0.0, "resumed": 0.0}, f"largest differences of weights: {apart}; told: {told}"
    return {"largest differences": apart, "told": told}


def _recipe(
    setting: Setting, root: Path, kind: str, strategy: Mapping[str, Any], train: Mapping[str, Any]
) -> dict[str, Any]:
    px = 32 if setting.small else 224
    data = write_pictures(root / "data", px) if kind == "vit" else write_texts(root / "data", 100)
    options = {"epochs": 2, "batch_size": 8, "patience": None, "cache": "off", **train}
    return {
        "task": IMAGES if kind == "vit" else TEXTS,
        "model": str(setting.model(kind, "middle")),
        "data": {"source": str(data)},
        "strategy": {**strategy, "learning_rate": 1e-3, "head_init": "random"},
        "train": options,
        "output": {"report": False},
    }


def _apart(one: Path, other: Path) -> float:
    """Return the largest difference between the weights of two runs."""
    from safetensors.torch import load_file

    (own,), (others,) = (list((folder / "model").glob("*model.safetensors")) for folder in (one, other))
    mine, theirs = load_file(own), load_file(others)
    return max(float((mine[name].double() - theirs[name].double()).abs().max()) for name in mine)


@contextmanager
def _without_pictures() -> Iterator[None]:
    """Meanwhile runs draw no figures."""
    from hftransfer.jobs import training

    with patch.object(training, "_write_figures", lambda *_: None, create=True):
        yield


# --- learning and predicting -----------------------------------------------------------------------------------------

_LEARNERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "probe": ({"kind": "linear-probe"}, {}),
    "last stage": ({"kind": "fine-tune", "unfreeze": 1}, {}),
    "whole": ({"kind": "fine-tune"}, {}),
    "gradual": ({"kind": "fine-tune", "gradual": True, "layer_decay": 0.8}, {}),
    "lora": ({"kind": "lora", "rank": 4}, {}),
    "contrastive": ({"kind": "fine-tune", "objective": "contrastive"}, {"epochs": 2}),
}


def learn(kind: str, setting: Setting) -> Figures:
    """Find that every strategy learns in every precision, and that a saved model predicts the same after loading."""
    precisions = ("fp32", "bf16", "fp16") if setting.on_gpu else ("fp32", "bf16")
    found: Figures = {}
    with _all_faults() as telling:
        for name, (strategy, train) in _LEARNERS.items():
            for precision in precisions:
                with telling(f"{name}, {precision}"):
                    found[f"{name}, {precision}"] = _learned(setting, kind, strategy, {**train, "precision": precision})
        if kind == "vit":
            for more in ({"augment": "strong", "mixup": 0.2}, {"augment": "light", "views": 2}):
                with telling(str(more)):
                    found[str(more)] = _learned(setting, kind, {"kind": "fine-tune"}, {"precision": "bf16", **more})
    return found


def _learned(setting: Setting, kind: str, strategy: dict[str, Any], train: dict[str, Any]) -> str:
    import numpy as np

    import hftransfer as ht
    from hftransfer.base.progress import Progress

    rates = {} if strategy["kind"] == "linear-probe" else {"learning_rate": 2e-3, "head_lr": 1e-2}
    rows, test = _rows(kind, 96, 3, words=3), _rows(kind, 24, 4, words=3)
    usual: dict[str, Any] = {"epochs": 4, "batch_size": 8, "patience": None, "train": rows, "validation": test[:8]}
    model = str(setting.model(kind, "tiny"))
    task = IMAGES if kind == "vit" else TEXTS
    asked: Any = {**strategy, **rates, "head_init": "random"}
    fitted = ht.fit(task, model=model, strategy=asked, test=test, progress=Progress(None), **{**usual, **train})
    scores = fitted.metrics["test"]
    losses = [row["train_loss"] for row in fitted.history]
    assert all(np.isfinite(losses)), f"losses {losses}"
    assert "mixup" in train or len(losses) < 2 or losses[-1] < losses[0], f"the loss did not fall: {losses}"
    inputs = [content for content, _ in test]
    with tempfile.TemporaryDirectory() as folder:
        loaded = ht.load(fitted.save(Path(folder) / "model"))
        own, theirs = fitted.predict(inputs), loaded.predict(inputs)
    gaps = [max(abs(a.scores[name] - b.scores[name]) for name in a.scores) for a, b in zip(own, theirs, strict=True)]
    assert max(gaps) < 1e-3, f"scores after loading differ by {max(gaps):.1e}"
    right = float(np.mean([one.label == label for one, (_, label) in zip(own, test, strict=True)]))
    assert abs(right - scores["accuracy"]) < 0.09, f"accuracy {scores['accuracy']} in the run, {right} when predicting"
    return f"test accuracy {scores['accuracy']:.2f}; losses {', '.join(f'{loss:.3f}' for loss in losses)}"


def scaling(setting: Setting) -> Figures:
    """Find that gradients in fp16 are scaled, that a step whose gradient overflows is passed over, and that the next
    ones are taken."""
    from hftransfer.training.loop import _Run

    if not setting.on_gpu:
        return {"left out": "no fp16 on CPUs"}
    step: Callable[..., Any] = _Run.step
    scales: list[float] = []
    still: list[bool] = []

    def noted(self: Any, *given: Any) -> Any:
        scaler = self.accelerator.scaler
        assert scaler is not None, "there is no scaler"
        if self.at.steps == 2:
            scaler.update(2.0**60)  # what follows overflows
        before = self.adapter.head.weight.detach().clone()
        due = step(self, *given)
        scales.append(float(scaler.get_scale()))
        still.append(bool((before == self.adapter.head.weight).all()))
        return due

    with patch.object(_Run, "step", noted):
        _fitted(setting, "vit", precision="fp16", optimizer="adamw", epochs=40, batch_size=8)
    figures = {"scales, first ten": scales[:10], "steps passed over": still.count(True), "last scale": scales[-1]}
    assert still[2], f"the overflowing step was taken: {figures}"
    assert not still[-1], f"steps are still passed over at the end: {figures}"
    return figures


def questions(setting: Setting) -> Figures:
    """Find that spans are learned and answered."""
    import hftransfer as ht
    from hftransfer.base.progress import Progress

    def row(number: int) -> dict[str, Any]:
        word = ("good", "great", "bad", "awful")[number % 4]
        context = f"the story was very {word} in the film"
        answers = {"text": [word], "answer_start": [context.index(word)]}
        return {"id": f"q{number}", "question": "what was it", "context": context, "answers": answers}

    rows, model = [row(number) for number in range(40)], str(setting.model("bert", "tiny"))
    strategy = {"kind": "fine-tune", "learning_rate": 2e-3}
    options: dict[str, Any] = {"epochs": 5, "batch_size": 8, "precision": "bf16", "patience": None}
    options |= {"train": rows[:32], "validation": rows[32:], "test": rows[32:]}
    fitted = ht.fit("question-answering", model=model, strategy=strategy, progress=Progress(None), **options)
    answer = fitted.predict(question="what was it", context=rows[0]["context"])
    return {"f1": fitted.metrics["test"].get("f1"), "answer": answer.answer}


def explain(setting: Setting) -> Figures:
    """Find that models that were trained here, and such as were loaded, are explained."""
    import hftransfer as ht

    found: Figures = {}
    with _all_faults() as telling, tempfile.TemporaryDirectory() as folder:
        for kind in ("vit", "bert"):
            fitted = _fitted(setting, kind)
            given = [content for content, _ in _rows(kind, 2, 5)]
            with telling(f"{kind}, trained"):
                found[f"{kind}, trained"] = len(ht.explain(fitted, given))
            loaded = ht.load(fitted.save(Path(folder) / kind))
            for method in ("auto", "occlusion", "rollout") if kind == "vit" else ("auto",):
                with telling(f"{kind}, loaded, {method}"):
                    found[f"{kind}, loaded, {method}"] = len(ht.explain(loaded, given, method=method))
    return found


def captions(setting: Setting) -> Figures:
    """Find that a pair of towers learns from captions, above them and whole, and tells pictures by names."""
    import hftransfer as ht
    from hftransfer.base.progress import Progress

    model = {"image": str(setting.model("vit", "tiny")), "text": str(setting.model("bert", "tiny")), "width": 16}
    found: Figures = {}
    with _all_faults() as telling, tempfile.TemporaryDirectory() as folder, _without_pictures():
        data = _write_captions(Path(folder) / "captions")
        for kind in ("linear-probe", "fine-tune"):
            with telling(kind):
                recipe = {
                    "task": "image-text",
                    "model": model,
                    "data": str(data),
                    "strategy": kind,
                    "train": {"precision": "bf16", "epochs": 4, "batch_size": 16},
                    "output": {"report": False},
                }
                done = ht.run(recipe, out=Path(folder) / kind, progress=Progress(None))
                names = ht.zero_shot(done.folder / "model", [jpeg(picture("red", 99))], ["great", "awful"])
                found[kind] = f"zero-shot {names[0].label}"
    return found


def _write_captions(folder: Path) -> Path:
    """Return a table of pictures, two captions each."""
    folder.mkdir()
    lines = ["image,caption"]
    for number, (content, label) in enumerate(picture_rows(48, 6)):
        (folder / f"{number}.jpg").write_bytes(content)
        word = "great" if label in ("red", "sand") else "awful"
        lines += [f"{number}.jpg,the film word{number} was {word}", f"{number}.jpg,a very {word} story word{number}"]
    (folder / "captions.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "captions.csv"


def compiled(setting: Setting) -> Figures:
    """Find that compiled stages learn what others do."""
    plain, begun = _weights(_fitted(setting, "vit")), _weights(_fitted(setting, "vit", learning_rate=1e-12))
    gap = _gap(plain, _weights(_fitted(setting, "vit", compile=True)), begun)
    assert gap < 2e-2, f"weights differ by {gap:.1e} of what was learned"
    return {"gap, share of what was learned": gap}


@contextmanager
def _all_faults() -> Iterator[Callable[[str], Any]]:
    """Give what collects the faults of cases; they are raised together in the end."""
    import traceback

    faults: list[str] = []

    @contextmanager
    def telling(name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)[-3:]
            places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
            faults.append(f"{name}: {type(error).__name__}: {str(error)[:300]} ({places})")

    yield telling
    assert not faults, f"{len(faults)} cases failed:\n" + "\n".join(faults)


CHECKS: dict[str, Check] = {
    "compiled": compiled,
    "learn-images": partial(learn, "vit"),
    "learn-texts": partial(learn, "bert"),
    "contract": contract,
    "parts": parts,
    "dropout": dropout,
    "memory": memory,
    "order": order,
    **{f"resume-{name}": partial(resume, name) for name in _RESUMED},
    "scaling": scaling,
    "questions": questions,
    "explain": explain,
    "captions": captions,
}
