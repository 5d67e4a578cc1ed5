"""The frozen part, computed once per example and kept.

Below the freeze boundary nothing changes, so an example's activations depend only on its bytes (of a text: its tokens)
and on what the key's parts name: the weights, the preprocessing, the boundary, the precision, the backend and this
code. They are kept in files that later runs map into memory: the data may be larger than memory, examples may be added
to a data set or split another way, and only what is new is computed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from hftransfer.adapters.anatomy import Inputs
from hftransfer.adapters.base import Activations, Adapter
from hftransfer.base.cache import cache_folder, cache_root, code_digest, is_a_cache, mark_in_use, used_by_others
from hftransfer.base.errors import DataError, OutputError, must_be
from hftransfer.base.progress import Progress
from hftransfer.data.settings import SKIPS
from hftransfer.tasks.items import Batch, Items
from hftransfer.training.attention import quick_attention
from hftransfer.training.batches import passes_of
from hftransfer.training.devices import Compute
from hftransfer.training.frozen import Frozen, frozen_twin
from hftransfer.training.interrupts import stop_if_asked

T = TypeVar("T")
Part = TypeVar("Part")
_ROWS_PER_SHARD = 8192
_BYTES_PER_SHARD = 1 << 28
_DIGEST_BYTES = 16
_MOST_STORED_BYTES = 20 << 30
# What shapes activations besides the settings: a change in one of these files is a change of the key.
_CODE = (
    *("adapters", "data/images.py", "tasks/items.py"),
    *("training/activations.py", "training/attention.py", "training/devices.py", "training/frozen.py"),
)


def key_parts(adapter: Frozen, weights_sha256: str, boundary: int, compute: Compute) -> dict[str, object]:
    """Return everything that shapes the activations of an example, besides its bytes or tokens."""
    return {
        "weights": weights_sha256,
        "model": type(adapter.model).__name__ + str(getattr(adapter.model, "pooling", "")),
        # Among all stages: were a network told apart otherwise, the same number would be another place.
        "boundary": f"{boundary} of {len(adapter.stages)}",
        "processor": adapter.processor_settings(),
        "precision": compute.precision,
        "backend": compute.backend,
        "libraries": {name: version(name) for name in ("transformers", "timm", "torchvision", "pillow")},
        "code": code_digest(_CODE),
    }


def worth_keeping(
    wish: Literal["auto", "on", "off"], adapter: Adapter, boundary: int, count: int, progress: Progress
) -> bool:
    """Return whether so many examples' activations at a boundary are to be kept: never at the input, else as a person
    wishes, else where they have room in the cache folder; the person is told if not."""
    if boundary == 0 or wish == "off":
        return False
    if wish == "on":
        return True
    shape = adapter.hidden_shape(boundary)
    # Texts are not tokenised yet: this is about what most have.
    tokens = 128 if shape[0] == -1 else 1
    # As float32; what is kept in bfloat16 takes half.
    needed = 4 * tokens * int(np.prod([size for size in shape if size > 0])) * count
    try:
        free = shutil.disk_usage(cache_folder("activations")).free
    except OutputError as error:
        if not is_a_cache():
            raise
        progress.line(f"activations are not kept: {error}")
        return False
    if needed > min(_MOST_STORED_BYTES, free // 2):
        progress.line(f"activations are not kept: they would take {needed / 2**30:.1f} GiB")
        return False
    return True


@dataclass(frozen=True)
class StoredActivations:
    """Activations gathered from mapped files: row i is `places[i, 2]` numbers of shard `places[i, 0]`, from number
    `places[i, 1]` on. Rows of texts differ in length."""

    shards: list[np.ndarray]
    places: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """(N, D) of rows that are all of one length."""
        return len(self.places), int(self.places[0, 2]) if len(self.places) else 0

    def row(self, index: int) -> np.ndarray:
        """Return one row as it is kept: flat, float32 or (bfloat16's bits) uint16."""
        shard, start, length = self.places[index]
        row: np.ndarray = self.shards[shard][start : start + length]
        return row

    def tokens_of(self, items: np.ndarray, tokens: np.ndarray, width: int) -> np.ndarray:
        """Return the features (n, D) of single tokens of texts (n,), D being `width`, in float32."""
        places, gathered = self.places[items], np.empty((len(items), width), dtype=np.float32)  # (n, 3), (n, D)
        for shard in np.unique(places[:, 0]):
            here = places[:, 0] == shard
            rows = self.shards[shard].reshape(-1, width)[places[here, 1] // width + tokens[here]]  # (m, D)
            gathered[here] = as_tensor(rows).float().numpy()
        return gathered

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Return rows start..stop of one length as float32 (stop - start, D)."""
        wanted, width = self.places[start:stop], self.shape[1]  # (n, 3)
        gathered = np.empty((len(wanted), width), dtype=np.float32)
        for shard in np.unique(wanted[:, 0]):
            here = wanted[:, 0] == shard
            gathered[here] = self.shards[shard].reshape(-1, width)[wanted[here, 1] // width]
        return gathered


class ActivationStore:
    """The stored activations under one key: files of rows, and beside each the digests and lengths of the rows.

    Where its folder can't be written any more (the disk is full, or may only be read), what comes goes to a temporary
    folder, and `tell` gets a line.
    """

    def __init__(self, root: Path, parts: Mapping[str, object], tell: Callable[[str], None] = lambda _: None) -> None:
        text = json.dumps(parts, sort_keys=True, indent=1, default=str)
        self.folder = root / hashlib.sha256(text.encode()).hexdigest()[:32]
        self._tell = tell
        self._spare: Path | None = None
        mark_in_use(self.folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            key = self.folder / "key.json"
            # For people who look into the cache: the folder's name is the digest of the same text.
            if not key.is_file() or key.read_text(encoding="utf-8") != text:
                key.write_text(text, encoding="utf-8")
        except OSError as error:
            self._go_elsewhere(error)
        self._sweep()
        self._shards: list[np.ndarray] = []
        self._places: dict[bytes, tuple[int, int, int]] = {}
        self._mapped: set[Path] = set()
        self.refresh()

    @classmethod
    def in_cache(cls, parts: Mapping[str, object], tell: Callable[[str], None]) -> ActivationStore:
        """Return the store in the cache folder."""
        try:
            root = cache_folder("activations")
        except OutputError:
            if not is_a_cache():
                raise
            root = cache_root() / "activations"  # a cache that may only be read, and holds none
        return cls(root, parts, tell)

    def refresh(self) -> None:
        """Take notice of rows that other processes have stored by now."""
        for ids in sorted(self.folder.glob("*.ids")):
            self._map(ids)

    def missing(self, digests: Sequence[bytes]) -> list[int]:
        """Return the positions of the digests with no stored row, each content once."""
        first: dict[bytes, int] = {}
        for position, digest in enumerate(digests):
            if digest not in self._places:
                first.setdefault(digest, position)
        return sorted(first.values())

    def activations(self, digests: Sequence[bytes]) -> StoredActivations:
        """Return the stored rows of these contents, in this order."""
        places = np.array([self._places[digest] for digest in digests], dtype=np.int64).reshape(-1, 3)
        return StoredActivations(self._shards, places)

    @contextmanager
    def writing(self) -> Iterator[Callable[[Sequence[bytes], Sequence[np.ndarray]], None]]:
        """Give a function that takes (digests, flat rows) as they are computed; what it took is kept even when the
        block fails."""
        draft = self._new_shard()

        def take(digests: Sequence[bytes], rows: Sequence[np.ndarray]) -> None:
            nonlocal draft
            try:
                draft.append(digests, rows)
            except OSError as error:
                # What was written before is whole, and kept; only these rows go elsewhere.
                elsewhere = _Shard(self._go_elsewhere(error))
                self._keep(draft)
                draft = elsewhere
                draft.append(digests, rows)
            if draft.full:
                self._keep(draft)
                draft = self._new_shard()

        try:
            yield take
        finally:
            self._keep(draft)

    def _new_shard(self) -> _Shard:
        try:
            return _Shard(self._spare or self.folder)
        except OSError as error:
            return _Shard(self._go_elsewhere(error))

    def _go_elsewhere(self, error: OSError) -> Path:
        """Return the temporary folder in which rows are written from here on; it goes with the store."""
        if self._spare is not None:
            raise error
        self._spare = Path(tempfile.mkdtemp(prefix="hftransfer-"))
        weakref.finalize(self, shutil.rmtree, self._spare, ignore_errors=True)
        self._tell(
            f"the cache folder {self.folder.parent.parent} can't be written ({error.strerror or error}): the run "
            "continues without it; set HFTRANSFER_CACHE to use another folder"
        )
        return self._spare

    def _sweep(self) -> None:
        """Delete what killed processes left half written, where no other process uses the folder."""
        with suppress(OSError):
            left = [file for file in self.folder.glob(".*.tmp") if file not in _DRAFTS]
            for file in left if left and not used_by_others(self.folder) else ():
                file.unlink(missing_ok=True)

    def _keep(self, draft: _Shard) -> None:
        try:
            ids = draft.finish()
        except OSError as error:
            elsewhere = _Shard(
                self._spare if draft.is_below(self.folder) and self._spare else self._go_elsewhere(error)
            )
            # Rows that were computed already are copied there, and not lost.
            elsewhere.take_over(draft)
            ids = elsewhere.finish()
        if ids is not None:
            self._map(ids)

    def _map(self, ids: Path) -> None:
        if ids in self._mapped:
            return
        self._mapped.add(ids)
        content = ids.read_bytes()
        for suffix, kind in _SUFFIXES.items():
            file = ids.with_suffix(suffix)
            if file.is_file() and content and len(content) % _INDEX.itemsize == 0:
                index = np.frombuffer(content, dtype=_INDEX)
                lengths = index["length"].astype(np.int64)
                if file.stat().st_size != lengths.sum() * np.dtype(kind).itemsize or not lengths.all():
                    return  # a damaged pair of files: its rows are computed again
                starts = np.cumsum(lengths) - lengths
                shard = len(self._shards)
                # Mapped, and not read: rows come into memory when they are asked for.
                self._shards.append(np.memmap(file, dtype=kind, mode="r"))
                for entry, start, length in zip(index["digest"], starts, lengths, strict=True):
                    self._places[bytes(entry)] = (shard, int(start), int(length))


_SUFFIXES = {".f32": np.float32, ".bf16": np.uint16}
_INDEX = np.dtype([("digest", f"V{_DIGEST_BYTES}"), ("length", "<i8")])
# What this process is writing.
_DRAFTS: set[Path] = set()


class _Shard:
    """One file of rows being written under a temporary name; readers see it once it is whole."""

    def __init__(self, folder: Path) -> None:
        self._final = folder / uuid.uuid4().hex[:12]
        self._draft = folder / f".{self._final.name}.tmp"
        self._digests: list[bytes] = []
        self._lengths: list[int] = []
        self._whole_bytes = 0
        self._suffix = ".f32"
        self._index = self._draft.with_suffix(".ids.tmp")
        _DRAFTS.update((self._draft, self._index))  # before they are there: another thread may sweep
        # Unbuffered: a full disk shows at the rows it has no room for, and not when the file is closed.
        self._file = self._draft.open("wb", buffering=0)

    @property
    def full(self) -> bool:
        return len(self._digests) >= _ROWS_PER_SHARD or self._whole_bytes >= _BYTES_PER_SHARD

    def append(self, digests: Sequence[bytes], rows: Sequence[np.ndarray]) -> None:
        self._suffix = next(suffix for suffix, kind in _SUFFIXES.items() if rows[0].dtype == kind)
        content = b"".join(np.ascontiguousarray(row).tobytes() for row in rows)
        if self._file.write(content) != len(content):
            raise OSError(errno.ENOSPC, "the disk is full", str(self._draft))
        self._whole_bytes += len(content)
        self._digests += digests
        self._lengths += [row.size for row in rows]

    def finish(self) -> Path | None:
        """Return the file with the index, written last: a shard without it does not count. None if there are no
        rows."""
        if not self._digests:
            self._discard()
            return None
        if not self._file.closed:
            self._file.truncate(self._whole_bytes)  # a write that failed may have left half a row
            self._file.close()
        index = np.empty(len(self._digests), dtype=_INDEX)
        index["digest"] = [np.void(digest) for digest in self._digests]
        index["length"] = self._lengths
        # The index comes last: rows without it are never read.
        try:
            self._index.write_bytes(index.tobytes())
        except OSError:
            self._index.unlink(missing_ok=True)
            raise
        self._draft.rename(self._final.with_suffix(self._suffix))
        ids = self._index.rename(self._final.with_suffix(".ids"))
        _DRAFTS.difference_update((self._draft, self._index))
        return ids

    def is_below(self, folder: Path) -> bool:
        """Return whether it is written into a folder."""
        return self._draft.parent == folder

    def take_over(self, other: _Shard) -> None:
        """Take all whole rows of another shard, which is deleted."""
        with other._draft.open("rb") as source:
            left = other._whole_bytes
            while left:
                part = source.read(min(left, 1 << 24))
                if not part or self._file.write(part) != len(part):
                    raise OSError(errno.ENOSPC, "the disk is full", str(self._draft))
                left -= len(part)
        self._digests, self._lengths = other._digests, other._lengths
        self._whole_bytes, self._suffix = other._whole_bytes, other._suffix
        other._discard()

    def _discard(self) -> None:
        self._file.close()
        with suppress(OSError):
            self._draft.unlink(missing_ok=True)
        _DRAFTS.difference_update((self._draft, self._index))


def fill_store(
    store: ActivationStore,
    adapter: Frozen,
    boundary: int,
    items: Items,
    compute: Compute,
    advance: Callable[[int], None] = lambda _: None,
    *,
    stop_at_fault: bool = True,
) -> dict[int, str]:
    """Return the items that can't be decoded and why; all others are in the store afterwards.

    Every process takes a share. Where machines keep files of their own, each of them computes what it still misses.

    Raises:
        DataError: `stop_at_fault`, and an image can't be decoded; what was computed by then is kept.
    """
    faults: dict[int, str] = {}
    told = 0
    # First a share of all that is missing; then, where machines don't see each other's files, a share of what this one
    # still misses; at last all of it.
    for mine in (compute.processes.share, compute.processes.share_of_machine, list):
        missing = [item for item in store.missing(items.digests) if item not in faults]
        # Asked of all processes: each must take part in every exchange that follows, or none.
        if not any(compute.processes.gather(bool(missing))):
            break
        if items.lengths is not None:  # texts of like length share a batch: little padding
            missing.sort(key=lambda item: -int(items.lengths[item]))  # type: ignore[index]
        own = list(mine(missing))
        advance(len(items.digests) - len(own) - told)  # what is there already, and what others compute
        told = len(items.digests)
        work = partial(_fill, store, adapter, boundary, items, own, compute, advance, stop_at_fault)
        faults |= {item: reason for found in compute.processes.agree(work) for item, reason in found.items()}
        store.refresh()
    advance(len(items.digests) - told)
    # The same content may stand in several rows: all of them are faulty.
    bad = {items.digests[item]: reason for item, reason in faults.items()}
    return {item: bad[digest] for item, digest in enumerate(items.digests) if digest in bad}


def _fill(
    store: ActivationStore,
    adapter: Frozen,
    boundary: int,
    items: Items,
    missing: Sequence[int],
    compute: Compute,
    advance: Callable[[int], None],
    stop_at_fault: bool,
) -> dict[int, str]:
    """Return those of the missing items that can't be decoded; the others are in the store afterwards."""
    faults: dict[int, str] = {}
    if not missing:
        return faults
    # Not before something is missing: it may be a copy of the whole network.
    frozen = frozen_twin(adapter, compute)
    at_head = keeps_exactly(adapter, boundary)
    with store.writing() as take:
        passes = passes_of(missing, items.lengths, compute)
        batches = read_batches(lambda chosen: _staged(items.batch(chosen), compute), passes, compute)
        for batch, computing in _computed(frozen, boundary, batches, compute):
            if batch.faults and stop_at_fault:
                raise DataError(*batch.faults.values(), _ADVICE)
            faults.update(batch.faults)
            if computing is not None:
                hidden = computing.result()
                lengths = items.lengths[batch.items] if items.lengths is not None and hidden.ndim == 3 else None
                take([items.digests[item] for item in batch.items], _flat(hidden, lengths, exact=at_head))
            advance(len(batch.items) + len(batch.faults))
    return faults


def keeps_exactly(adapter: Frozen, boundary: int) -> bool:
    """Return whether activations are kept in float32, whatever they are computed in: those that enter a head, but
    maps."""
    return boundary == len(adapter.stages) and not getattr(adapter, "keeps_in_16_bits", False)


_ADVICE = f"`hftransfer check` lists all such files, or `hftransfer audit` those that stay on the Hub. {SKIPS}"
# How many passes a GPU is given before the result of the first is taken: it computes while that is stored.
_PASSES_AHEAD = 2


class _Computing:
    """The result of a pass, on its way to the host."""

    def __init__(self, hidden: Tensor, *, exact: bool) -> None:
        with torch.inference_mode():
            finite = torch.isfinite(hidden).all()  # (), read on the host with the result: no wait here
            hidden = hidden.float() if exact or hidden.dtype != torch.bfloat16 else hidden
            self._found = hidden.to("cpu", non_blocking=True), finite.to("cpu", non_blocking=True)
        self._copied = torch.cuda.Event() if hidden.is_cuda else None  # type: ignore[no-untyped-call]
        if self._copied is not None:
            self._copied.record()

    def result(self) -> Tensor:
        """Return the hidden state, in float32 where it is kept exactly.

        Raises:
            DataError: some of it is not finite.
        """
        if self._copied is not None:
            self._copied.synchronize()
        hidden, finite = self._found
        if not finite:
            raise DataError(must_be("the activations", "finite", "NaN or infinity", "Try precision fp32."))
        return hidden


def _computed(
    frozen: Frozen, boundary: int, batches: Iterator[Batch], compute: Compute
) -> Iterator[tuple[Batch, _Computing | None]]:
    """Yield each batch with what is computed of it: of an unreadable one nothing. On a GPU the next are under way."""
    exact, ahead = keeps_exactly(frozen, boundary), _PASSES_AHEAD if compute.device.type == "cuda" else 0
    waiting: deque[tuple[Batch, _Computing | None]] = deque()
    for batch in batches:
        hidden = _forward(frozen, boundary, batch.inputs, compute) if batch.items else None
        if hidden is not None and getattr(frozen, "keeps_in_16_bits", False) and boundary == len(frozen.stages):
            hidden = hidden.to(torch.bfloat16)
        waiting.append((batch, None if hidden is None else _Computing(hidden, exact=exact)))
        if len(waiting) > ahead:
            yield waiting.popleft()
    yield from waiting


def _staged(batch: Batch, compute: Compute) -> Batch:
    """Return a batch as a GPU takes it most quickly: pixels in its precision, all where it can copy it by itself."""
    if compute.device.type != "cuda":
        return batch
    inputs = {name: t.to(compute.dtype) if t.is_floating_point() else t for name, t in batch.inputs.items()}
    return replace(batch, inputs=pinned(inputs, compute))


def pinned(inputs: Inputs, compute: Compute) -> Inputs:
    """Return inputs where a GPU can copy them by itself: in pinned memory."""
    if compute.device.type != "cuda":
        return inputs
    return {name: tensor.pin_memory() for name, tensor in inputs.items()}


def _flat(hidden: Tensor, lengths: np.ndarray | None, *, exact: bool) -> list[np.ndarray]:
    """Return each example's activations as one flat row, padding left out; bfloat16 is kept as its bits."""
    if hidden.dtype == torch.bfloat16 and not exact:
        # numpy has no bfloat16: the bits are kept as whole numbers.
        values = hidden.contiguous().view(torch.int16).cpu().numpy().view(np.uint16)
    else:
        values = hidden.float().cpu().numpy()
    if lengths is None:
        return list(values.reshape(len(values), -1))
    return [row[:length].reshape(-1) for row, length in zip(values, lengths, strict=True)]


def forward(adapter: Frozen, boundary: int, inputs: Inputs, compute: Compute) -> Activations:
    """Return what lies below a boundary, computed without learning; inputs are moved to where that happens."""
    with torch.inference_mode(), quick_attention(adapter.model, compute.device, compute.dtype):
        return adapter.below(moved(inputs, compute), boundary)


def _forward(adapter: Frozen, boundary: int, inputs: Inputs, compute: Compute) -> Tensor:
    return forward(adapter, boundary, inputs, compute)["hidden"]


def moved(inputs: Inputs, compute: Compute) -> Inputs:
    """Return inputs on the device, pixels in its precision and the memory layout that convolutions like."""

    def move(tensor: Tensor) -> Tensor:
        dtype = compute.dtype if tensor.is_floating_point() else tensor.dtype
        # Four dimensions are those of images: (B, C, H, W).
        layout = torch.channels_last if tensor.ndim == 4 else torch.preserve_format
        return tensor.to(compute.device, non_blocking=True).to(dtype, memory_format=layout)

    return {name: move(tensor) for name, tensor in inputs.items()}


def read_batches(read: Callable[[Part], T], batches: Sequence[Part], compute: Compute) -> Generator[T]:
    """Yield what `read` gives for each batch, in order, read in threads.

    On CPU as many batches as there are threads are read together and then computed: threads that read meanwhile would
    hold up those that compute, which wait for each other at every layer (on 2 cores 1.05 times the time of ViT-Tiny,
    1.15 to 1.2 times that of ViT-B/32). Elsewhere they are read ahead.
    """
    if compute.device.type != "cpu":
        yield from _read_ahead(read, batches)
        return
    together = torch.get_num_threads()
    if together == 1:  # nothing is gained by a thread beside the only one
        for batch in batches:
            stop_if_asked()
            yield read(batch)
        return
    with ThreadPoolExecutor(together, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for start in range(0, len(batches), together):
            for outcome in list(pool.map(read, batches[start : start + together])):
                stop_if_asked()
                yield outcome


def _read_ahead(read: Callable[[Part], T], batches: Sequence[Part], most_workers: int = 16) -> Generator[T]:
    """Yield what `read` gives for each batch, in order, computed in threads a few batches ahead."""
    workers = max(2, min(most_workers, os.cpu_count() or 1))
    # A worker's own kernels get one thread (the setting is per thread): the forward pass has the others.
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        ahead: deque[Future[T]] = deque()
        try:
            for batch in batches:
                stop_if_asked()
                ahead.append(pool.submit(read, batch))
                if len(ahead) > workers + 1:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                # The block may end early, by an error or Ctrl-C: what has not begun need not.
                future.cancel()


class Source:
    """The input of the learning part: activations from the store, or computed anew by the frozen part each time."""

    def __init__(
        self,
        items: Items,
        adapter: Adapter,
        boundary: int,
        compute: Compute,
        stored: StoredActivations | None = None,
        frozen: Adapter | None = None,
    ) -> None:
        self.items, self.boundary, self.compute, self.stored = items, boundary, compute, stored
        self._frozen = frozen or adapter
        self._shape = adapter.hidden_shape(boundary) if stored is not None else ()

    @property
    def lengths(self) -> np.ndarray | None:
        """Return how many tokens each item has, of texts."""
        return self.items.lengths

    def __len__(self) -> int:
        return len(self.items.digests)

    def read(self, chosen: Sequence[int], tokens: int = 0) -> Activations:
        """Return what is known of a batch without computing: stored activations, or the inputs; texts padded to so many
        tokens at least."""
        if self.stored is None:
            batch = self.items.batch(chosen, tokens)
            if batch.faults:
                raise DataError(*batch.faults.values(), _ADVICE)
            return pinned(batch.inputs, self.compute)
        # Rows lie flat on the disk: of texts each has a length of its own.
        rows = [as_tensor(self.stored.row(item)).reshape(self._shape) for item in chosen]
        beside = self.items.beside(chosen, tokens)
        if self._shape[0] == -1:
            hidden = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)  # (B, T, D)
            missing = max(0, tokens - hidden.shape[1])
            padded = torch.nn.functional.pad(hidden, (0, 0, 0, missing))  # (B, tokens, D)
            return pinned({"hidden": padded, **beside}, self.compute)
        return pinned({"hidden": torch.stack(rows), **beside}, self.compute)

    def activations(self, read: Activations) -> Activations:
        """Return the activations of a batch on the device, in float32."""
        if self.stored is not None or self.boundary == 0:
            there = {name: tensor.to(self.compute.device, non_blocking=True) for name, tensor in read.items()}
            return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in there.items()}
        with torch.no_grad(), quick_attention(self._frozen.model, self.compute.device, self.compute.dtype):
            below = self._frozen.below(moved(read, self.compute), self.boundary)
        return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in below.items()}


def as_tensor(row: np.ndarray) -> Tensor:
    """Return a row as it is kept as a tensor of its own precision."""
    if row.dtype == np.uint16:
        # numpy has no bfloat16: its bits lie there as whole numbers.
        return torch.from_numpy(row.view(np.int16).copy()).view(torch.bfloat16)
    # A copy: torch warns of memory that may only be read, as mapped files are.
    return torch.from_numpy(np.array(row))
