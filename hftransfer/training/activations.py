"""The frozen part, computed once per example and kept.

Below the freeze boundary nothing changes, so an example's activations depend only on its bytes and on what the key's
parts name: the weights, the preprocessing, the boundary, the precision, the backend and this code. They are kept in
files that later runs map into memory: the data may be larger than memory, photos may be added to a data set or split
another way, and only what is new is computed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hftransfer.adapters.base import Adapter, Inputs
from hftransfer.data.images import decode_image
from hftransfer.data.rows import Row, read_row
from hftransfer.errors import DataError, must_be
from hftransfer.training.devices import Compute, frozen_copy

_ROWS_PER_SHARD = 8192
_DIGEST_BYTES = 16
# What shapes activations besides the settings: a change in one of these files is a change of the key.
_CODE = ("adapters", "data/images.py", "training/activations.py", "training/devices.py")


def key_parts(adapter: Adapter, weights_sha256: str, boundary: int, compute: Compute) -> dict[str, Any]:
    """Everything that shapes the activations of an image, besides its bytes."""
    return {
        "weights": weights_sha256,
        "boundary": f"{boundary} of {len(adapter.stages)}",
        "processor": adapter.processor_settings(),
        "precision": compute.precision,
        "backend": compute.backend,
        "libraries": {name: version(name) for name in ("transformers", "timm", "torchvision", "pillow")},
        "code": code_digest(),
    }


@cache
def code_digest() -> str:
    """A digest over the source files that shape activations."""
    package = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for name in _CODE:
        path = package / name
        for file in sorted(path.glob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class StoredFeatures:
    """Features (N, D) gathered from mapped files: row i is row `places[i, 1]` of shard `places[i, 0]`."""

    shards: list[np.ndarray]
    places: np.ndarray
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """(N, D)."""
        return len(self.places), self.width

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows start..stop as float32 (stop - start, D)."""
        wanted = self.places[start:stop]
        gathered = np.empty((len(wanted), self.width), dtype=np.float32)
        for shard in np.unique(wanted[:, 0]):
            here = wanted[:, 0] == shard
            gathered[here] = self.shards[shard][wanted[here, 1]]
        return gathered


class ActivationStore:
    """The stored activations under one key: files of rows, and beside each the digests of the rows' content."""

    def __init__(self, root: Path, parts: dict[str, Any]) -> None:
        text = json.dumps(parts, sort_keys=True, indent=1, default=str)
        self.folder = root / hashlib.sha256(text.encode()).hexdigest()[:32]
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "key.json").write_text(text, encoding="utf-8")
        self._shards: list[np.ndarray] = []
        self._places: dict[bytes, tuple[int, int]] = {}
        for ids in sorted(self.folder.glob("*.ids")):
            self._map(ids)

    def missing(self, digests: Sequence[bytes]) -> list[int]:
        """The positions of the digests with no stored row, each content once."""
        first: dict[bytes, int] = {}
        for position, digest in enumerate(digests):
            if digest not in self._places:
                first.setdefault(digest, position)
        return sorted(first.values())

    def features(self, digests: Sequence[bytes]) -> StoredFeatures:
        """The stored rows of these contents, in this order."""
        places = np.array([self._places[digest] for digest in digests], dtype=np.int64).reshape(-1, 2)
        width = self._shards[0].shape[1] if self._shards else 0
        return StoredFeatures(self._shards, places, width)

    @contextmanager
    def writing(self) -> Iterator[Callable[[Sequence[bytes], np.ndarray], None]]:
        """Takes (digests, rows) as they are computed; what was taken is kept even when the block fails."""
        draft = _Shard(self.folder)

        def take(digests: Sequence[bytes], rows: np.ndarray) -> None:
            nonlocal draft
            draft.append(digests, rows)
            if draft.count >= _ROWS_PER_SHARD:
                self._keep(draft)
                draft = _Shard(self.folder)

        try:
            yield take
        finally:
            self._keep(draft)

    def _keep(self, draft: _Shard) -> None:
        ids = draft.finish()
        if ids is not None:
            self._map(ids)

    def _map(self, ids: Path) -> None:
        digests = ids.read_bytes()
        count = len(digests) // _DIGEST_BYTES
        file = ids.with_suffix(".f32")
        size_bytes = file.stat().st_size if file.is_file() else 0
        width = size_bytes // (4 * count) if count else 0
        fits = width and size_bytes == 4 * count * width and len(digests) == count * _DIGEST_BYTES
        if not fits or (self._shards and self._shards[0].shape[1] != width):
            return  # a damaged pair of files: its rows are computed again
        shard = len(self._shards)
        self._shards.append(np.memmap(file, dtype=np.float32, mode="r", shape=(count, width)))
        for row in range(count):
            self._places[digests[row * _DIGEST_BYTES : (row + 1) * _DIGEST_BYTES]] = (shard, row)


class _Shard:
    """One file of rows being written under a temporary name; readers see it once it is whole."""

    def __init__(self, folder: Path) -> None:
        self._final = folder / uuid.uuid4().hex[:12]
        self._draft = folder / f".{self._final.name}.tmp"
        self._digests: list[bytes] = []
        self._whole_bytes = 0
        self._file = self._draft.open("wb", buffering=0)

    @property
    def count(self) -> int:
        return len(self._digests)

    def append(self, digests: Sequence[bytes], rows: np.ndarray) -> None:
        content = np.ascontiguousarray(rows, dtype=np.float32).tobytes()
        if self._file.write(content) != len(content):
            raise OSError(errno.ENOSPC, "the disk is full", str(self._draft))
        self._whole_bytes += len(content)
        self._digests += digests

    def finish(self) -> Path | None:
        """The file with the digests, written last: a shard without it does not count. None if there are no rows."""
        self._file.truncate(self._whole_bytes)  # a write that failed may have left half a row
        self._file.close()
        if not self._digests:
            self._draft.unlink()
            return None
        self._draft.rename(self._final.with_suffix(".f32"))
        self._draft.write_bytes(b"".join(self._digests))
        return self._draft.rename(self._final.with_suffix(".ids"))


@dataclass(frozen=True)
class _Batch:
    rows: list[int]
    inputs: Inputs
    faults: dict[int, str]


def fill_store(
    store: ActivationStore,
    adapter: Adapter,
    boundary: int,
    rows: Sequence[Row],
    digests: Sequence[bytes],
    compute: Compute,
    advance: Callable[[int], None] = lambda _: None,
    *,
    stop_at_fault: bool = True,
) -> dict[int, str]:
    """The rows whose images can't be decoded and why; all others are in the store afterwards.

    Raises:
        DataError: `stop_at_fault`, and an image can't be decoded; what was computed by then is kept.
    """
    missing = store.missing(digests)
    advance(len(rows) - len(missing))
    faults: dict[int, str] = {}
    if not missing:
        return faults
    frozen = adapter.twin(frozen_copy(adapter.model, compute))
    with store.writing() as take:
        for batch in _batches(frozen, rows, missing, compute):
            if batch.faults and stop_at_fault:
                raise DataError(*batch.faults.values(), _ADVICE)
            faults.update(batch.faults)
            if batch.rows:
                take([digests[row] for row in batch.rows], _forward(frozen, boundary, batch.inputs, compute))
            advance(len(batch.rows) + len(batch.faults))
    # The same content may stand in several rows: all of them are faulty.
    bad = {digests[row]: reason for row, reason in faults.items()}
    return {row: bad[digest] for row, digest in enumerate(digests) if digest in bad}


_ADVICE = "`hftransfer check` lists all such files."


def _forward(adapter: Adapter, boundary: int, inputs: Inputs, compute: Compute) -> np.ndarray:
    with torch.inference_mode():
        moved = {name: _moved(tensor, compute) for name, tensor in inputs.items()}
        features = adapter.below(moved, boundary).float().cpu().numpy()
    if not np.isfinite(features).all():
        raise DataError(must_be("the activations", "finite", "NaN or infinity", "Try train.precision=fp32."))
    return features


def _moved(tensor: Tensor, compute: Compute) -> Tensor:
    dtype = compute.dtype if tensor.is_floating_point() else tensor.dtype
    layout = torch.channels_last if tensor.ndim == 4 else torch.preserve_format
    return tensor.to(compute.device, dtype, non_blocking=True, memory_format=layout)


def _batches(adapter: Adapter, rows: Sequence[Row], wanted: Sequence[int], compute: Compute) -> Iterator[_Batch]:
    """Encoded batches in order, decoded in threads while earlier ones are computed; a few are held at a time."""
    size = compute.batch_size
    workers = 2 if compute.device.type == "cpu" else 8
    # A worker's own kernels get one thread (the setting is per thread): the forward pass has the others.
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        ahead: deque[Future[_Batch]] = deque()
        try:
            for start in range(0, len(wanted), size):
                ahead.append(pool.submit(_encoded, adapter, rows, wanted[start : start + size]))
                if len(ahead) > workers + 1:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def _encoded(adapter: Adapter, rows: Sequence[Row], wanted: Sequence[int]) -> _Batch:
    kept, images, faults = [], [], {}
    for row in wanted:
        try:
            images.append(decode_image(read_row(rows[row]), rows[row].id))
            kept.append(row)
        except DataError as error:
            faults[row] = str(error)
    return _Batch(kept, adapter.encode(images) if images else {}, faults)
