"""What an audit comes to: rows with a reason each, and what is to be said of the data as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Literal, get_args

from hftransfer.base.tabular import csv_text
from hftransfer.data.rows import QuestionContent, Row, TextContent

Kind = Literal["unreadable", "leak", "conflict", "duplicate", "label", "outlier", "oddity"]
KINDS: tuple[Kind, ...] = get_args(Kind)
TITLES: Mapping[Kind, str] = {
    "unreadable": "unreadable",
    "leak": "the same, or nearly, in two splits",
    "conflict": "the same, or nearly, with different labels",
    "duplicate": "the same, or nearly, within a split",
    "label": "with a label that is likely wrong",
    "outlier": "unlike all others",
    "oddity": "odd in themselves",
}


@dataclass(frozen=True)
class Finding:
    """One row that something is wrong with. `score` is in [0, 1], the higher the surer; `other_split`, `other_id`
    and `other_label` name the row that it is the same as, `suggested` the label that it more likely has."""

    kind: Kind
    split: str
    id: str
    label: str
    reason: str
    score: float = 1.0
    suggested: str = ""
    other_split: str = ""
    other_id: str = ""
    other_label: str = ""
    region: str = ""
    """The part of the image that it is about: left, top, right and bottom as shares of its sides, as `explain --region`
    takes them; empty for all of it."""


COLUMNS = tuple(entry.name for entry in fields(Finding))


@dataclass(frozen=True)
class Findings:
    """All findings of an audit, kind by kind and the surest first, and notes on classes and on what was not looked
    at."""

    rows: int
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    contents: Mapping[tuple[str, str], Row] = field(default_factory=dict, repr=False)
    """The readable rows, by split and id."""

    def of(self, kind: Kind) -> list[Finding]:
        """Return the findings of one kind, the surest first."""
        return [finding for finding in self.findings if finding.kind == kind]

    def counts(self) -> dict[Kind, int]:
        """Return how many rows were found of each kind that was found at all."""
        # A row may be found several times of one kind.
        numbers = {kind: len({(one.split, one.id) for one in self.of(kind)}) for kind in KINDS}
        return {kind: number for kind, number in numbers.items() if number}

    def csv(self) -> str:
        """Return the findings as a table, one row each."""
        rows = [
            [*(asdict(finding) | {"score": f"{finding.score:.4f}"}).values(), *self.texts_of(finding)]
            for finding in self.findings
        ]
        return csv_text([*COLUMNS, "text", "other_text"], rows)

    def texts_of(self, finding: Finding) -> tuple[str, str]:
        """Return the text or question of a finding, and of what it is the same as; empty where there is none."""
        return self._text(finding.split, finding.id), self._text(finding.other_split, finding.other_id)

    def _text(self, split: str, row_id: str) -> str:
        row = self.contents.get((split, row_id))
        match row.content if row is not None else None:
            case QuestionContent() as content:
                return content.question
            case TextContent() as content:
                return content.shown
        return ""


def in_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the findings kind by kind, the surest first."""
    return tuple(sorted(findings, key=lambda one: (KINDS.index(one.kind), -one.score)))
