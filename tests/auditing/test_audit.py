"""The audit of data: what was planted is found, and sound data are left alone."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from scipy.spatial.distance import cdist
from typer.testing import CliRunner

import hftransfer as ht
from hftransfer.auditing import labels as labels_room
from hftransfer.auditing.audit import Audit
from hftransfer.auditing.duplicates import (
    Named,
    Signature,
    Twins,
    exact_twins,
    groups_of,
    image_twins,
    text_twins,
    twin_findings,
)
from hftransfer.auditing.examine import examine
from hftransfer.auditing.findings import Finding
from hftransfer.auditing.images import odd_about_image
from hftransfer.auditing.labels import out_of_fold_probabilities, overlapping_classes, wrong_labels
from hftransfer.auditing.neighbours import find_neighbours
from hftransfer.auditing.sheets import write_audit
from hftransfer.auditing.texts import in_other_words, odd_about_text
from hftransfer.base.errors import HftransferError
from hftransfer.base.progress import Progress
from hftransfer.cli import app
from hftransfer.jobs.run import run
from hftransfer.training.solver import solve_head
from tests.builders import TinyModels, browser, faults_of, missing_words, question, recipe_for, write_classes

SILENT = Progress(None)
PHOTOS = Path(__file__).parents[3] / "shared" / "data" / "cats_dogs"


def scene(seed: int, size: tuple[int, int] = (120, 90)) -> Image.Image:
    """Coloured blobs: as different from another seed's as photos are."""
    values = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    return Image.fromarray(values).resize(size, Image.Resampling.BICUBIC)


def _again(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=40)
    return Image.open(buffer).convert("RGB")


# --- duplicates ------------------------------------------------------------------------------------------------------


CHANGES: dict[str, Any] = {
    "another quality": _again,
    "half the size": lambda image: image.resize((60, 45)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "in the mirror": ImageOps.mirror,
    "cut by a little": lambda image: image.crop((3, 2, 117, 88)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_picture_that_was_changed_a_little_is_found(change: str) -> None:
    images = [*(scene(seed) for seed in range(12)), CHANGES[change](scene(3))]
    signatures = {place: Signature.of(image) for place, image in enumerate(images)}
    pairs = {(i, j): 0.8 for j in range(13) for i in range(j)}
    found = image_twins(pairs, signatures)
    assert [(one.first, one.second) for one in found] == [(3, 12)]
    assert ("mirror" in found[0].how) == (change == "in the mirror")


def test_pictures_of_one_colour_are_no_copies_of_each_other() -> None:
    images = [Image.new("RGB", (60, 40), "navy"), Image.new("RGB", (9, 9), "red"), scene(1)]
    signatures = {place: Signature.of(image) for place, image in enumerate(images)}
    assert image_twins({(0, 1): 1.0, (0, 2): 1.0}, signatures) == []


def test_texts_of_the_same_words_or_nearly_are_found() -> None:
    texts = [
        "The film was very good, and long.",
        "the film was VERY good and long",
        "Another story about a lonely actor in the city.",
        "Another story about a lonely actor in that city.",
        "A dull film.",
        "Something else that is as long as the others are.",
    ]
    pairs = {(i, j): 0.9 for j in range(6) for i in range(j)}
    assert {(one.first, one.second): one.how for one in text_twins(texts, pairs)} == {
        (0, 1): "the same words",
        (2, 3): "nearly the same words",
    }
    assert [(one.first, one.second) for one in text_twins(texts, {})] == [(0, 1)]


def test_a_row_is_told_by_its_surest_twin_as_leak_duplicate_or_conflict() -> None:
    rows = [
        Named("train", "a", "cat"),
        Named("train", "b", "cat"),
        Named("test", "c", "dog"),
        Named("test", "d", "cat"),
    ]
    twins = [Twins(0, 1, "nearly", 0.8), Twins(0, 2, "nearly", 0.7), Twins(1, 2, "the same", 1.0)]
    found = {(one.kind, one.id): one for one in twin_findings(twins, rows)}
    assert sorted(found) == [("conflict", "c"), ("duplicate", "b"), ("leak", "c")]
    assert (found["leak", "c"].other_id, found["leak", "c"].score) == ("b", 1.0)
    assert "labelled cat" in found["conflict", "c"].reason
    assert groups_of(twins, 4).tolist() == [0, 0, 0, 1]
    assert exact_twins([b"x", b"y", b"x", b"x"]) == [Twins(0, 2, "the same content"), Twins(0, 3, "the same content")]


def test_neighbours_are_those_of_the_whole_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hftransfer.auditing.neighbours._PAIRS_AT_ONCE", 7 * 39)
    features = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    features[39] *= 0
    features[5] = features[8] * 2
    found = find_neighbours(features[:39], 4)
    table = cdist(features[:39], features[:39], "cosine")
    np.fill_diagonal(table, np.inf)
    assert found.places.tolist() == np.argsort(table, axis=1)[:, :4].tolist()
    assert np.allclose(found.similarities, 1 - np.sort(table, axis=1)[:, :4], atol=1e-5)
    assert found.pairs(0.999) == {(5, 8): pytest.approx(1.0)}
    assert find_neighbours(features[:1], 4).places.shape == (1, 0)


def test_what_is_far_from_its_neighbours_is_an_outlier() -> None:
    random = np.random.default_rng(1)
    near = np.eye(1, 60) * 20 + random.normal(size=(50, 60))
    found = find_neighbours(np.vstack([near, -near[:1]]).astype(np.float32))
    assert list(found.outliers()) == [50]
    assert find_neighbours(np.ones((5, 3), np.float32)).outliers() == {}


# --- labels ----------------------------------------------------------------------------------------------------------


def _clusters(flipped: int) -> tuple[np.ndarray, np.ndarray, set[int]]:
    random = np.random.default_rng(2)
    truth = np.repeat([0, 1, 2], 60)
    features = (np.eye(3)[truth].repeat(2, axis=1) * 3 + random.normal(0, 0.7, (180, 6))).astype(np.float32)
    wrong = set(random.choice(180, flipped, replace=False).tolist())
    labels = np.array([(t + 1) % 3 if i in wrong else t for i, t in enumerate(truth)])
    return features, labels, wrong


def test_flipped_labels_are_the_surest_findings() -> None:
    features, labels, wrong = _clusters(9)
    found = wrong_labels(labels, out_of_fold_probabilities(features, labels, np.arange(180), 3, 0))
    assert set(list(found)[:9]) == wrong
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_no_label_is_wrong_where_none_was_flipped() -> None:
    features, labels, _ = _clusters(0)
    assert wrong_labels(labels, out_of_fold_probabilities(features, labels, np.arange(180), 3, 0)) == {}


def test_a_copy_never_helps_to_judge_the_label_of_its_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels, _ = _clusters(0)
    groups = np.arange(180) // 2
    sides: list[tuple[np.ndarray, np.ndarray]] = []

    def spied(train: Any, train_labels: np.ndarray, rest: Any, *more: Any, **named: Any) -> Any:
        sides.append((train.values, rest.values))
        return solve_head(train, train_labels, rest, *more, **named)

    monkeypatch.setattr(labels_room, "solve_head", spied)
    out_of_fold_probabilities(features, labels, groups, 3, 0, folds=2)
    group_of = {tuple(row): group for row, group in zip(features.tolist(), groups.tolist(), strict=True)}
    for kept, held in sides:
        assert not {group_of[tuple(r)] for r in kept.tolist()} & {group_of[tuple(r)] for r in held.tolist()}
    assert sum(len(held) for _, held in sides) == 180


def test_classes_that_look_alike_are_told() -> None:
    random = np.random.default_rng(3)
    labels = np.repeat([0, 1, 2], 60)
    found = np.full((180, 3), 0.02)
    found[labels == 2, 2] = 0.96
    for place in np.flatnonzero(labels < 2):
        found[place, :2] = (0.9, 0.08) if random.random() < 0.5 else (0.08, 0.9)
    assert overlapping_classes(labels, found, ["husky", "malamute", "cat"])[0].startswith(
        "classes 'husky' and 'malamute'"
    )
    assert overlapping_classes(labels[:120], found[:120, :2], ["a", "b"]) == []


# --- single rows -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no words"),
        ("…!", "no words"),
        ("ok", "only 2 letters"),
        ("The cafÃ© was good", "wrong encoding"),
        ("a film \ufffd of its time", "lost in another encoding"),
        ("good\x00 film", "control characters"),
        ("a film<br />of its time", "markup such as <br />"),
        ("black &amp; white", "markup such as &amp;"),
    ],
)
def test_odd_texts_are_told(text: str, told: str) -> None:
    assert told in "; ".join(odd_about_text(text))


@pytest.mark.parametrize(
    "text", ["A good film.", "3 < 5 and 7 > 2", "Schön & gut, «né» 2026", "好电影", "tab\tand\nline"]
)
def test_sound_texts_are_left_alone(text: str) -> None:
    assert odd_about_text(text) == []


def test_a_text_in_another_language_is_told_where_there_is_a_usual_one() -> None:
    english = "This is a long sentence about a film that was neither good nor bad, and number {} of its kind."
    german = "Das ist ein langer Satz über einen Film, der weder gut noch schlecht war, und der zweite seiner Art."
    texts = [*(english.format(number) for number in range(9)), german, "kurz"]
    assert in_other_words(texts) == {9: "in another language than most (it seems: de)"}
    assert in_other_words([english.format(1), german]) == {}
    assert in_other_words(["short"]) == {}


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Хороший фильм", "Cyrillic"),
        ("好电影", "Chinese or Japanese"),
        ("いい映画だった", "Chinese or Japanese"),
        ("فيلم جيد", "Arabic"),
    ],
)
def test_a_text_in_another_script_is_told_however_short(text: str, script: str) -> None:
    usual = [f"A good film, number {number}" for number in range(9)]
    assert in_other_words([*usual, text, "12 34", ""]) == {9: f"in another script than most ({script})"}
    assert in_other_words([text] * 9) == {}


def test_odd_images_are_told() -> None:
    assert odd_about_image(scene(1)) == []
    assert "only 20 × 90 pixels" in odd_about_image(scene(1, (20, 90)))
    assert odd_about_image(scene(1, (500, 90))) == ["a strip: one side is 5.6 times the other"]
    assert odd_about_image(Image.new("RGB", (50, 50), "navy")) == ["one colour all over"]


# --- whole audits ----------------------------------------------------------------------------------------------------


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """Two classes of noise with a broken file, a copy in the test split, and a copy with the other label."""
    root = tmp_path / "planted"
    write_classes(root / "train", {"red": 12, "blue": 12})
    write_classes(root / "test", {"red": 6, "blue": 6}, first_seed=1000)
    (root / "train" / "red" / "broken.png").write_bytes(b"no image")
    shutil.copy(root / "train" / "red" / "003.png", root / "test" / "red" / "leak.png")
    shutil.copy(root / "train" / "blue" / "004.png", root / "train" / "red" / "<script>alert(1)<|script>.png")
    return root


def test_an_audit_finds_what_was_planted(tiny: TinyModels, planted: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(recipe_for(tiny("vit"), planted)))
    done = CliRunner().invoke(app, ["audit", str(recipe), "--out", str(tmp_path / "out"), "-q"], catch_exceptions=False)
    assert done.exit_code == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "audit.csv").read_text())))
    found = {(row["kind"], Path(row["id"]).name) for row in rows}
    assert ("unreadable", "broken.png") in found
    assert ("leak", "leak.png") in found
    names = {kind: {name for k, name in found if k == kind} for kind in ("leak", "conflict")}
    assert names["conflict"] in ({"004.png"}, {"<script>alert(1)<|script>.png"})
    assert missing_words(done.output, ("39 rows", "unreadable", "in two splits", "different labels")) == []
    page = (tmp_path / "out" / "audit.html").read_text()
    assert page.count("<script>") == 1  # the page's own
    assert (tmp_path / "out" / "sheet-leak.png").is_file()
    with pytest.raises(HftransferError):  # training stops at what the audit only tells
        ht.check(str(recipe), progress=SILENT)


def test_nothing_is_told_of_sound_data(tiny: TinyModels, folder_data: Path) -> None:
    found = ht.audit(recipe_for(tiny("vit"), folder_data), progress=SILENT)
    assert {one.kind for one in found.findings} <= {"label", "outlier"}  # of so few, made of noise
    assert found.rows == 69


def test_check_tells_an_audit_when_asked(tiny: TinyModels, folder_data: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(recipe_for(tiny("vit"), folder_data)))
    done = CliRunner().invoke(app, ["check", str(recipe), "--audit", "-q"], catch_exceptions=False)
    assert missing_words(done.output, ("The recipe and its data are sound.", "69 rows")) == []


def test_an_audit_of_texts_tells_copies_cuts_and_what_is_odd(tiny: TinyModels, text_data: Path, tmp_path: Path) -> None:
    data = shutil.copytree(text_data, tmp_path / "texts")
    long = " ".join(["good"] * 30)
    with (data / "test.csv").open("a") as file:
        file.write(f'"The FILM, was great!",pos\n{long},pos\n<b>dull</b> it was,neg\n')
    with (data / "train.csv").open("a") as file:
        file.write("the film was great,neg\n")
    recipe = recipe_for(tiny("bert"), data) | {"task": "text-classification"}
    recipe["data"] = {"source": str(data), "max_tokens": 16}
    found = ht.audit(recipe, progress=SILENT)
    reasons = {one.kind: " ".join(each.reason for each in found.of(one.kind)) for one in found.findings}
    assert "the same words" in reasons["leak"]
    assert "labelled" in reasons["conflict"]
    assert missing_words(reasons["oddity"], ("longer than the 16 tokens", "markup such as <b>")) == []
    write_audit(tmp_path / "out", found, "texts")
    assert "&lt;b&gt;dull" in (tmp_path / "out" / "audit.html").read_text()


def test_groups_in_two_splits_are_told_beside_the_findings(tiny: TinyModels) -> None:
    rows = [
        {"text": f"the {noun} was {word} {at}", "label": label, "patient": f"{label} {at}"}
        for at, noun in enumerate(("film", "story", "actor", "script"))
        for label, word in (("pos", "great"), ("neg", "dull"))
    ]
    test = [{**row, "text": f"so {row['text']}"} for row in rows[:4]]
    data = {"source": "memory", "group_column": "patient"}
    recipe = {"task": "text-classification", "model": str(tiny("bert")), "data": data}
    found = ht.audit(recipe, data={"train": rows, "validation": rows[-1:], "test": test}, progress=SILENT)
    told = ("4 groups of 'patient'", "are in both train and test", "1 group of 'patient'")
    assert missing_words(" ".join(found.notes), told) == []
    # What has the same content is a finding, and told once.
    assert "1 text is in both" not in " ".join(found.notes)
    assert [one.kind for one in found.of("leak")] != []


TWO_SPLITS = (("validation", "train"), ("test", "validation"))


def test_an_audit_of_questions_tells_shared_contexts(tiny: TinyModels, tmp_path: Path) -> None:
    for split, numbers in {"train": range(12), "validation": (3, 20, 21), "test": (30, 31, 21)}.items():
        lines = [json.dumps(question(number, "good", f"{split} {number}")) for number in numbers]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines))
    recipe = recipe_for(tiny("bert-spans"), tmp_path) | {"task": "question-answering"}
    found = ht.audit(recipe, progress=SILENT)
    assert [one.kind for one in found.findings if one.kind != "oddity"] == ["leak", "leak"]
    told = [f"1 context of the {one} split in the {other} split too" for one, other in TWO_SPLITS]
    assert missing_words(" ".join(found.notes), told) == []


def test_images_without_classes_are_compared_by_their_hashes(tiny: TinyModels, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    lines = ["image,caption"]
    for number in range(12):
        scene(number).save(folder / f"{number}.png")
        lines.append(f"{number}.png,caption {number}")
    _again(scene(5)).save(folder / "again.png")
    (folder / "metadata.csv").write_text("\n".join([*lines, "again.png,another caption"]))
    recipe = {"task": "image-text", "model": str(tiny("clip-dual")), "data": {"source": str(folder)}}
    found = ht.audit(recipe, progress=SILENT)
    pairs = {frozenset((one.id.split()[0], one.other_id.split()[0])) for one in found.findings}
    assert pairs == {frozenset(("5.png", "again.png"))}
    assert "not judged" in " ".join(found.notes)


def test_a_class_with_few_rows_is_said_not_to_be_judged(tiny: TinyModels, tmp_path: Path) -> None:
    write_classes(tmp_path / "train", {"red": 40, "blue": 2})
    write_classes(tmp_path / "validation", {"red": 2, "blue": 1}, first_seed=500)
    write_classes(tmp_path / "test", {"red": 2, "blue": 1}, first_seed=900)
    notes = " ".join(ht.audit(recipe_for(tiny("vit"), tmp_path), progress=SILENT).notes)
    assert (
        missing_words(
            notes, ("class 'blue' has 4 rows that are no copies, 5 are needed", "classes are uneven: 'red' 40 rows")
        )
        == []
    )


def test_a_class_of_copies_is_not_judged(tiny: TinyModels, tmp_path: Path) -> None:
    lines = [f"sentence number {number} is good,pos" for number in range(40)] + ["the film was dull,neg"] * 20
    (tmp_path / "data.csv").write_text("\n".join(["text,label", *lines]))
    recipe = recipe_for(tiny("bert"), tmp_path / "data.csv") | {"task": "text-classification"}
    found = ht.audit(recipe, progress=SILENT)
    assert found.of("label") == []
    assert "class 'neg' has 1 rows that are no copies" in " ".join(found.notes)


def test_a_run_on_few_different_texts_is_whole(tiny: TinyModels, tmp_path: Path) -> None:
    lines = ["good film,pos", "a great one,pos", "dull,neg", "a bad film,neg"] * 10
    (tmp_path / "data.csv").write_text("\n".join(["text,label", *lines]))
    recipe = recipe_for(tiny("bert"), tmp_path / "data.csv") | {"task": "text-classification", "output": {}}
    result = run(recipe, out=tmp_path / "run", progress=SILENT)
    assert "Labels were not judged" in (result.folder / "report.html").read_text()


def test_the_page_of_the_same_run_judges_nothing_again(
    tiny: TinyModels, planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(name: str) -> list[str]:
        page = run(recipe, out=tmp_path / name, progress=SILENT).folder / "report.html"
        return re.findall(r"Data: [^<]*", page.read_text())

    recipe = recipe_for(tiny("vit"), planted) | {"output": {"figures": False}}
    recipe["data"] |= {"on_error": "skip"}
    examined: list[int] = []

    def counted_examine(*args: Any, **named: Any) -> Audit:
        examined.append(1)
        return examine(*args, **named)

    monkeypatch.setattr("hftransfer.auditing.kept.examine", counted_examine)
    first = told("first")
    assert first
    assert told("second") == first
    assert len(examined) == 1
    for file in (planted / "train" / "blue").iterdir():  # a row less is other data
        file.unlink()
        break
    told("third")
    assert len(examined) == 2


def test_a_page_that_fails_costs_no_run(
    tiny: TinyModels, folder_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ValueError("a fault of ours")

    monkeypatch.setattr("hftransfer.jobs.writing.page_of", broken)
    recipe = recipe_for(tiny("vit"), folder_data) | {"output": {"figures": False}}
    result = run(recipe, out=tmp_path / "run", progress=SILENT)
    log = (result.folder / "log.txt").read_text()
    assert missing_words(log, ("report.html could not be written (ValueError: a fault of ours)", "Traceback")) == []
    assert (result.folder / "model" / "model.safetensors").is_file()
    assert not (result.folder / "report.html").exists()


def test_where_no_image_can_be_read_all_are_listed(tiny: TinyModels, tmp_path: Path) -> None:
    for label in ("red", "blue"):
        (tmp_path / label).mkdir()
        for number in range(7):
            (tmp_path / label / f"{number}.jpg").write_text("no image")
    found = ht.audit(recipe_for(tiny("vit"), tmp_path), progress=SILENT)
    assert (found.rows, len(found.of("unreadable"))) == (14, 14)


def test_a_probe_that_begins_with_names_can_be_audited(tiny: TinyModels, folder_data: Path) -> None:
    strategy = {"kind": "linear-probe", "head_init": "zero-shot"}
    recipe = recipe_for(tiny("clip-dual"), folder_data) | {"strategy": strategy}
    assert ht.audit(recipe, progress=SILENT).rows == 69


def test_names_that_are_no_utf8_or_steer_a_terminal_are_told_as_escapes(
    tiny: TinyModels, folder_data: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(folder_data, tmp_path / "odd")
    names = [os.fsdecode(name) for name in (b"lat\xe9in.png", b"\x1b[31mred.png", b"a\rb.png", b"=1+1.png")]
    copied = sorted((data / "train").rglob("*.png"))[: len(names)]
    for file, name in zip(copied, names, strict=True):
        shutil.copy(file, file.parent / name)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(recipe_for(tiny("vit"), data) | {"output": {}}))
    done = CliRunner().invoke(app, ["audit", str(recipe), "--out", str(tmp_path / "out")], catch_exceptions=False)
    assert done.exit_code == 0
    assert "\x1b" not in done.output + (tmp_path / "out" / "audit.csv").read_text()
    found = list(csv.DictReader(io.StringIO((tmp_path / "out" / "audit.csv").read_text())))
    assert {None} & {key for row in found for key in row} == set()
    assert all(row["kind"] for row in found)
    run(json.loads(recipe.read_text()), out=tmp_path / "run", progress=Progress(io.StringIO()))
    assert "lat\\udce9in.png" in (tmp_path / "run" / "report.html").read_text()


def test_a_folder_that_can_not_be_made_is_told_before_the_work(tiny: TinyModels, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(recipe_for(tiny("vit"), tmp_path / "none")))
    done = CliRunner().invoke(app, ["audit", str(recipe), "--out", str(recipe / "sub")])
    assert (done.exit_code, "must be writable" in done.output) == (2, True)
    done = CliRunner().invoke(app, ["audit", str(recipe), "--out", str(tmp_path / "new")])
    assert (done.exit_code, (tmp_path / "new").exists()) == (2, False)


def test_check_with_an_audit_tells_both_where_images_are_broken(
    tiny: TinyModels, planted: Path, tmp_path: Path
) -> None:
    whole = (planted / "train" / "blue" / "001.png").read_bytes()
    (planted / "train" / "blue" / "cut.png").write_bytes(whole[: len(whole) // 2])
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(recipe_for(tiny("vit"), planted)))
    done = CliRunner().invoke(app, ["check", str(recipe), "--audit", "-q"])
    assert done.exit_code == 2
    assert len([line for line in done.output.splitlines() if line.startswith("error: ")]) == 2
    assert missing_words(done.output, ("broken.png", "cut.png", "2  unreadable", "leak.png")) == []


def test_what_must_be_installed_is_told(tiny: TinyModels, folder_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hftransfer.base.extras.find_spec", lambda name: None if name == "cleanlab" else name)
    with pytest.raises(HftransferError) as error:
        ht.audit(recipe_for(tiny("vit"), folder_data), progress=SILENT)
    assert missing_words(faults_of(error), ("cleanlab", "pip install 'hftransfer[audit]'")) == []


def test_an_audit_never_writes_among_other_files(tiny: TinyModels, folder_data: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(recipe_for(tiny("vit"), folder_data)))
    done = CliRunner().invoke(app, ["audit", str(recipe), "--out", str(tmp_path)])
    assert done.exit_code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.txt", "recipe.yaml"]
    assert "got a file" in CliRunner().invoke(app, ["audit", str(recipe), "--out", str(recipe)]).output


def test_texts_that_no_file_can_hold_are_written_all_the_same(tmp_path: Path) -> None:
    audit = Audit(1, (Finding("oddity", "train", "row \ud800", "pos", "lost \udcff"),))
    write_audit(tmp_path / "out", audit, "texts")
    assert "\\ud800" in (tmp_path / "out" / "audit.csv").read_text()


def test_a_probes_page_tells_what_is_wrong_with_its_data(tiny: TinyModels, planted: Path, tmp_path: Path) -> None:
    (planted / "train" / "red" / "broken.png").unlink()
    recipe = recipe_for(tiny("vit"), planted) | {"output": {"figures": False}}
    result = run(recipe, out=tmp_path / "run", progress=SILENT)
    page = (result.folder / "report.html").read_text()
    assert missing_words(page, ("in two splits", "leak.png", "with different labels", "hftransfer audit")) == []
    with browser() as driver:
        driver.get((result.folder / "report.html").as_uri())
        assert driver.get_log("browser") == []


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.bundled
@pytest.mark.skipif(not PHOTOS.is_dir(), reason="needs the photos in ../shared")
def test_flipped_labels_and_copies_among_photos_are_found(
    tmp_path: Path, cache_of_all: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HFTRANSFER_CACHE", str(cache_of_all))
    random = np.random.default_rng(0)
    files = [file for split in ("train", "test") for file in sorted((PHOTOS / split).rglob("*.jpg"))[::4]]
    flipped = set(random.choice(len(files), len(files) // 20, replace=False).tolist())
    for number, file in enumerate(files):
        label = {"cats": "dogs", "dogs": "cats"}[file.parent.name] if number in flipped else file.parent.name
        to = tmp_path / "photos" / file.parents[1].name / label / f"{number}.jpg"
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, to)
    copies = sorted((tmp_path / "photos" / "train").rglob("*.jpg"))[::7][:20]
    for number, file in enumerate(copies):
        to = tmp_path / "photos" / "test" / file.parent.name / f"copy-{number}.jpg"
        if number % 2:
            shutil.copy(file, to)
        else:
            Image.open(file).convert("RGB").resize((200, 150)).save(to, quality=50)
    recipe = recipe_for("bundled/efficientnet-lite0", tmp_path / "photos")
    found = ht.audit(recipe, progress=SILENT)
    suspects = {int(Path(one.id).stem) for one in found.of("label")[: round(0.08 * found.rows)] if "copy" not in one.id}
    assert len(suspects & flipped) >= 0.9 * len(flipped)
    leaks = {Path(one.id).stem for one in found.of("leak")}
    assert {f"copy-{number}" for number in range(20)} <= leaks
