"""Audits that are kept in the cache: a later run of the same data and features need not judge them again."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version

import numpy as np

from hftransfer.auditing.audit import Audit
from hftransfer.auditing.examine import Subject, contents_of, examine
from hftransfer.auditing.findings import Finding
from hftransfer.base.cache import cache_folder, code_digest, new_file
from hftransfer.base.errors import HftransferError

_CODE = ("auditing", "training/solver.py")


def kept_or_examined(subject: Subject, seed: int, least: float) -> Audit:
    """Return what `examine` finds, from the cache where it is kept."""
    try:
        path = cache_folder("audits") / f"{_key(subject, seed, least)}.json"
    except HftransferError:
        return examine(subject, seed, least=least)  # nothing can be kept: the cache can't be written
    with suppress(OSError, ValueError, TypeError, KeyError):
        kept = json.loads(path.read_text(encoding="utf-8"))
        findings = tuple(Finding(**one) for one in kept["findings"])
        return Audit(len(subject.rows), findings, tuple(kept["notes"]), contents_of(subject))
    audit = examine(subject, seed, least=least)
    with suppress(OSError), new_file(path) as draft:
        told = {"findings": [asdict(one) for one in audit.findings], "notes": audit.notes}
        draft.write_text(json.dumps(told), encoding="utf-8")
    return audit


def _key(subject: Subject, seed: int, least: float) -> str:
    """Return a hash of all that an audit depends on, code among it."""
    found = hashlib.sha256(code_digest(_CODE).encode())
    rows = [
        [own.split, own.id, own.label, str(own.mark), digest.hex()]
        for own, digest in zip(subject.named, subject.digests, strict=True)
    ]
    libraries = [version(name) for name in ("cleanlab", "scikit-learn")]
    told = [libraries, seed, least, subject.reader.inputs, subject.class_names, sorted(subject.odd.items()), rows]
    found.update(json.dumps(told, default=str).encode())
    found.update(np.ascontiguousarray(subject.labels).tobytes())
    if subject.features is not None:
        found.update(np.ascontiguousarray(subject.features).tobytes())
    return found.hexdigest()[:32]
