"""What an audit leaves: a table of all findings, sheets of pictures, and one page; and its summary in a few lines."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, ImageDraw

from hftransfer.auditing.findings import KINDS, TITLES, Finding, Findings, Kind
from hftransfer.base.errors import WriteError, counted, must_be, printable
from hftransfer.base.html import jpeg_uri, render_page
from hftransfer.data.images import enough_for
from hftransfer.data.inspection import decode_row
from hftransfer.data.rows import Row
from hftransfer.report.rendering import sentence

_ON_SHEET, _ON_PAGE, _SHOWN, _LONGEST = 24, 200, 3, 300
_OF_PAIRS: tuple[Kind, ...] = ("leak", "conflict", "duplicate")


def audit_table(audit: Findings) -> str:
    """Return how many rows were found of each kind, the surest of them, and the notes."""
    lines = [counted(audit.rows, "row")]
    for kind, count in audit.counts().items():
        lines.append(f"{count:>8,}  {TITLES[kind]}")
        own = audit.of(kind)
        lines += [f"            {' '.join(f'{one.id} ({one.split}): {_reason(one)}'.split())}" for one in own[:_SHOWN]]
        if len(own) > _SHOWN:
            lines.append(f"            … {len(own) - _SHOWN:,} more")
    if not audit.findings:
        lines.append("          no fault was found in single rows")
    return "\n".join([*lines, *(f"note: {note}" for note in audit.notes)])


def write_audit(folder: Path, audit: Findings, title: str) -> None:
    """Write `audit.csv`, `audit.html`, and of images a sheet of each kind of finding, `sheet-<kind>.png`.

    Raises:
        WriteError: they can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "audit.csv").write_text(audit.csv(), encoding="utf-8", errors="backslashreplace")
        # Each picture is read once, for the sheet and for the page.
        pictures = {kind: _small_pictures(audit, kind) for kind in KINDS}
        for kind, own in pictures.items():
            if own:
                (folder / f"sheet-{kind}.png").write_bytes(_sheet(audit, kind, own))
        page = render_page("hftransfer.auditing", "audit.html.jinja", **_page(audit, title, pictures))
        (folder / "audit.html").write_text(page, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise WriteError(must_be(f"the folder {folder}", "writable", error.strerror or str(error))) from error


def pictures_of(audit: Findings, kind: Kind, most: int = _ON_SHEET, *, px: int) -> list[tuple[Image.Image, str]]:
    """Return the images of the surest findings of a kind, with so many pixels an edge at most, each with what is said
    under it; the part that is meant is framed, and rows that are the same as others stand beside them."""
    shown: list[tuple[Image.Image, str]] = []
    for finding in audit.of(kind):
        row, other = audit.contents.get((finding.split, finding.id)), None
        if kind in _OF_PAIRS:
            other = audit.contents.get((finding.other_split, finding.other_id))
        # A pair stays together: if both do not fit, neither is shown.
        if row is None or row.content.texts or len(shown) + (2 if other else 1) > most:
            continue
        shown.append((_framed(row, finding.region, px), _caption(finding)))
        if other is not None:
            told = f"{finding.other_split}, {finding.other_label}\n{Path(other.id).name}"
            shown.append((_framed(other, "", px), told))
    return shown


def _framed(row: Row, region: str, px: int) -> Image.Image:
    """Return an image, made small, with a frame around a region."""
    image = decode_row(row, enough_for(px)).convert("RGB")
    image.thumbnail((px, px))
    if region:
        left, top, right, bottom = map(float, region.split(","))
        box = left * image.width, top * image.height, right * image.width - 1, bottom * image.height - 1
        draw = ImageDraw.Draw(image)
        # Dark beside light: it is seen on any ground.
        draw.rectangle(box, outline="black", width=max(3, px // 60))
        draw.rectangle(box, outline="yellow", width=max(1, px // 120))
    return image


def _reason(finding: Finding) -> str:
    """Return the reason without the name of the row, which stands before it."""
    return finding.reason.removeprefix(finding.id).lstrip()


def _caption(finding: Finding) -> str:
    name = Path(finding.id).name
    if finding.kind == "label":
        # Of several labels one may be too many, and nothing is missing.
        return f"{finding.label}; {f'likely {finding.suggested}' if finding.suggested else 'one too many'}\n{name}"
    return f"{finding.split}, {finding.label}\n{name}"


def sheet_of(audit: Findings, kind: Kind) -> bytes | None:
    """Return the pictures of a kind of finding beside each other, as PNG; None where it has none."""
    shown = _small_pictures(audit, kind)
    return _sheet(audit, kind, shown) if shown else None


def _small_pictures(audit: Findings, kind: Kind) -> list[tuple[Image.Image, str]]:
    from hftransfer.report.figures import THUMBNAIL_PX, on_white

    return [(on_white(picture), caption) for picture, caption in pictures_of(audit, kind, px=THUMBNAIL_PX)]


def _sheet(audit: Findings, kind: Kind, shown: list[tuple[Image.Image, str]]) -> bytes:
    from hftransfer.report.figures import draw_sheet, short_label

    captions = ["\n".join(short_label(line, 26) for line in caption.split("\n")) for _, caption in shown]
    count = audit.counts()[kind]
    title = f"{counted(count, 'row')} {TITLES[kind]}"
    if kind in _OF_PAIRS:
        title += f"; {len(shown)} pictures, with what they are the same as"
    elif len(shown) < count:
        title += f"; {len(shown)} of them"
    drawn = io.BytesIO()
    draw_sheet(drawn, [picture for picture, _ in shown], captions, title)
    return drawn.getvalue()


def _page(audit: Findings, title: str, pictures: dict[Kind, list[tuple[Image.Image, str]]]) -> dict[str, object]:
    groups = []
    for kind, count in audit.counts().items():
        own, shown = audit.of(kind), pictures.get(kind, [])
        unseen = f"{len(shown)} pictures, with what they are the same as." if kind in _OF_PAIRS else ""
        if kind not in _OF_PAIRS and len(shown) < count:
            unseen = f"{len(shown)} of {count:,} are shown."
        groups.append(
            {
                "title": f"{counted(count, 'row')} {TITLES[kind]}",
                "pictures": [{"source": jpeg_uri(picture), "caption": caption} for picture, caption in shown],
                "unseen": unseen,
                "rows": [_shown(audit, one) for one in own[:_ON_PAGE]],
                "left": max(0, len(own) - _ON_PAGE),
            }
        )
    return {
        "title": title,
        "rows": counted(audit.rows, "row"),
        "groups": groups,
        "notes": [sentence(note) for note in audit.notes],
    }


def _shown(audit: Findings, finding: Finding) -> dict[str, object]:
    return {
        "split": finding.split,
        "id": finding.id,
        "label": finding.label,
        "reason": sentence(_reason(finding)),
        "texts": [printable(text[:_LONGEST]) for text in dict.fromkeys(audit.texts_of(finding)) if text],
    }
