"""Searching a folder by an image or by words, and what to label next."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hftransfer as ht
from hftransfer.base.errors import DataError, ModelError, RecipeError
from hftransfer.jobs.run import run
from hftransfer.predictors.embedding import load_embedder
from hftransfer.predictors.looking import look_at, named_inputs, weights_of
from hftransfer.predictors.predictor import find_place
from hftransfer.predictors.suggesting import choose, typicality_of, uncertainty_of
from hftransfer.training import activations
from tests.builders import NO_PICTURES, TinyModels, write_classes
from tests.predictors.builders import SILENT, call

PHOTOS = Path(__file__).parents[3] / "shared" / "data" / "cats_dogs"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine pictures in three folders, one that is none, and a note."""
    folder: Path = tmp_path_factory.mktemp("photos")
    write_classes(folder, {"red": 3, "green": 3, "blue": 3})
    (folder / "broken.png").write_text("none")
    (folder / "notes.txt").write_text("a note")
    return folder


def test_an_image_finds_itself_and_its_like(photos: Path, tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    query = sorted(photos.rglob("*.png"))[-1]
    model = tiny("clip-dual")
    found = ht.search(query, photos, model=model, count=4, progress=SILENT)
    assert [one.input for one in found][:1] == [str(query)]
    assert found[0].similarity == pytest.approx(1, abs=1e-4)
    assert sorted((one.similarity for one in found), reverse=True) == [one.similarity for one in found]
    assert "4 of 9 inputs nearest to" in found.title
    # The second time nothing goes through the network but the query.
    monkeypatch.setattr(activations, "_computed", lambda *_: pytest.fail("computed again"))
    assert ht.search(query, photos, model=model, count=4, progress=SILENT) == found
    assert type(pickle.loads(pickle.dumps(found))) is list
    assert found._repr_html_().count("<img") == 4


def test_deep_images_are_looked_at_in_the_range_of_the_model(tiny: TinyModels, tmp_path: Path) -> None:
    for number, most in enumerate((4000, 3000, 200, 200)):
        for copy in range(4):
            values = np.random.default_rng(4 * number + copy).integers(0, most, (24, 24)).astype(np.uint16)
            (tmp_path / "photos" / f"{most > 200}").mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(tmp_path / "photos" / f"{most > 200}" / f"{number}{copy}.png")
    recipe = {
        "task": "image-classification",
        "model": str(tiny("vit")),
        "data": str(tmp_path / "photos"),
        "output": NO_PICTURES,
    }
    folder = run(recipe, out=tmp_path / "run", progress=SILENT).folder
    model = load_embedder(folder)
    assert model.pixels == (0.0, 4095.0)
    assert "the values 0 to 4,095 became 0 to 255" in (folder / "model" / "README.md").read_text()
    dim = sorted((tmp_path / "photos" / "False").iterdir())
    named = named_inputs(dim)
    kept = look_at(model, named, weights_of(find_place(folder)), SILENT)
    assert kept.features == pytest.approx(np.stack(list(model.embed_each(dim))), abs=1e-5)  # type: ignore[arg-type]


def test_words_find_images_by_their_cosine(photos: Path, tiny: TinyModels, tmp_path: Path) -> None:
    model = ht.load(tiny("clip-dual"))
    assert isinstance(model, ht.DualPredictor)
    files = sorted(photos.rglob("[0-9]*.png"))
    cosines = model.embed_images(files) @ model.embed_texts("film")[0]
    found = ht.search("film", photos, model=tiny("clip-dual"), count=9, progress=SILENT)
    assert [one.input for one in found] == [str(files[at]) for at in np.argsort(-cosines)]
    in_memory = ht.search("film", files, model=model, progress=SILENT)
    assert [one.input for one in in_memory] == [one.input for one in found]
    out = tmp_path / "out"
    told = call("search", "film", "--in", photos, "--model", tiny("clip-dual"), "--count", 2, "--out", out)
    assert "broken.png" in told.stderr
    assert [line.split()[-1] for line in told.stdout.splitlines()[:2]] == [one.input for one in found[:2]]
    assert (out / "search.csv").read_text().splitlines()[0] == "input,similarity"
    assert (out / "search.html").read_text().count("<img") == 2
    as_json = call("search", "film", "--in", photos, "--model", tiny("clip-dual"), "--count", 2, "--json")
    assert [one["input"] for one in json.loads(as_json.stdout)] == [one.input for one in found[:2]]


def test_what_can_not_be_searched_is_told(photos: Path, tiny: TinyModels, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="the query of this model must be an image file; got 'two dogs'"):
        ht.search("two dogs", photos, model=tiny("resnet"), progress=SILENT)
    with pytest.raises(DataError, match=r"gone\.jpg must be a readable"):
        ht.search("gone.jpg", photos, model=tiny("clip-dual"), progress=SILENT)
    with pytest.raises(RecipeError, match="the query must be an image file, or words; got none"):
        ht.search(" ", photos, model=tiny("clip-dual"), progress=SILENT)
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "a.png").write_text("none")
    with pytest.raises(DataError, match="at least one readable input; got none"):
        ht.search("film", tmp_path / "only", model=tiny("clip-dual"), progress=SILENT)


def test_a_misspelt_folder_is_no_text(reviewed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webbrowser.open", lambda _: None)
    (tmp_path / "a.csv").write_text("text\na good film\na bad film\n")
    told = call("search", "good", "--in", tmp_path / "a.csv", "--model", reviewed, "--out", tmp_path / "found")
    assert told.exit_code == 0, told.output
    assert call("open", tmp_path / "found").output.strip() == str(tmp_path / "found" / "search.html")
    for words in (("search", "good", "--in", "reviewz", "--model", reviewed), ("suggest", reviewed, "reviewz")):
        wrong = call(*words)
        assert wrong.exit_code == 2
        assert "must be a folder, a table or a pattern; got 'reviewz'" in wrong.stderr


def test_suggestions_are_told_and_written(finished: Any, photos: Path, tmp_path: Path) -> None:
    run = finished("resnet").folder
    found = ht.suggest(run, photos, count=4, progress=SILENT)
    assert len(found) == len({one.input for one in found}) == 4
    model = ht.load(run)
    assert isinstance(model, ht.Predictor)
    for one in found:
        wanted = model.predict(one.input)
        assert one.label == wanted.label
        assert one.score == pytest.approx(wanted.score, abs=1e-4)
    assert [one.uncertainty for one in found] == sorted((one.uncertainty for one in found), reverse=True)
    in_memory = ht.suggest(model, [one.input for one in found], count=9, progress=SILENT)
    assert {one.input for one in in_memory} == {one.input for one in found}
    out = tmp_path / "next"
    told = call("suggest", run, photos, "--count", 4, "--out", out)
    assert told.exit_code == 2  # as of predict: the rest is done, and what can't be read is told
    assert "broken.png must be an image that Pillow reads; got something else. Fix or remove the file." in told.stderr
    assert "on_error" not in told.stderr
    assert told.stdout.splitlines()[0].split() == ["label", "score", "uncertainty", "typicality", "input"]
    assert len(found.faults) == 1
    head = "input,label,score,uncertainty,typicality"
    assert (out / "suggestions.csv").read_text().splitlines()[0] == head
    page = (out / "suggestions.html").read_text()
    assert page.count("<img") == 4
    assert page.count("inputs to label next") == 2  # in the head, and as the heading


def test_models_without_labels_suggest_nothing(tiny: TinyModels, photos: Path) -> None:
    with pytest.raises(ModelError, match="a model that gives scores of labels"):
        ht.suggest(tiny("clip-dual"), photos, progress=SILENT)


def test_choices_are_uncertain_typical_and_apart() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 8)) * 4
    features = np.concatenate([centre + rng.normal(size=(50, 8)) * 0.2 for centre in centres]).astype(np.float32)
    group = np.repeat(np.arange(4), 50)
    uncertainty = rng.uniform(0.4, 0.6, 200)
    chosen = choose(features, uncertainty, typicality_of(features), 4)
    assert sorted(group[chosen]) == [0, 1, 2, 3]
    uncertainty[group == 3] = 0.01
    chosen = choose(features, uncertainty, typicality_of(features), 3)
    assert sorted(group[chosen]) == [0, 1, 2]


def test_equal_rows_are_chosen_once_as_long_as_there_are_others() -> None:
    features = np.repeat(np.eye(3, dtype=np.float32), 3, axis=0)
    chosen = choose(features, np.full(9, 0.5), np.ones(9), 3)
    assert len({at // 3 for at in chosen}) == 3
    assert sorted(choose(features, np.full(9, 0.5), np.ones(9), 9)) == list(range(9))


def test_uncertainty_is_that_of_the_labels() -> None:
    of_one = np.array([[0.5, 0.5, 0], [0.7, 0.2, 0.1], [1, 0, 0]])
    np.testing.assert_allclose(uncertainty_of(of_one, "softmax"), [1, 0.5, 0])
    np.testing.assert_allclose(uncertainty_of(np.array([[0.5, 1], [1, 0.1]]), "sigmoid"), [1, 0.2], atol=1e-12)


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.bundled
@pytest.mark.skipif(not PHOTOS.is_dir(), reason="needs the photos in ../shared")
def test_fifty_suggested_teach_a_probe_more_than_fifty_at_random() -> None:
    """Over five seeds, with 20 labels to begin with, and a dog for every seven cats among 400 photos without one."""
    found: dict[str, list[float]] = {"suggested": [], "at random": []}
    files = sorted(PHOTOS.rglob("*.jpg"))
    looked = look_at(
        load_embedder("bundled/efficientnet-lite0"),
        named_inputs(files),
        weights_of(find_place("bundled/efficientnet-lite0")),
        SILENT,
    )
    features, dogs = looked.features, np.array([Path(name).parent.name == "dogs" for name in looked.names])
    for seed in range(5):
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(dogs))
        test, train = order[:300], order[300:]
        first = np.concatenate([rng.choice(train[dogs[train] == kind], 10, replace=False) for kind in (False, True)])
        pool = np.setdiff1d(train, first)
        few = rng.choice(pool[dogs[pool]], int(0.15 * dogs[pool].sum()), replace=False)
        pool = np.concatenate([pool[~dogs[pool]], few])
        uncertainty = uncertainty_of(_probe(features[first], dogs[first], features[pool]), "softmax")
        chosen = choose(features[pool], uncertainty, typicality_of(features[pool]), 50, seed)
        for way, places in (("suggested", pool[chosen]), ("at random", rng.choice(pool, 50, replace=False))):
            known = np.concatenate([first, places])
            right = _probe(features[known], dogs[known], features[test]).argmax(axis=1) == dogs[test]
            found[way].append(float(right.mean()))
    assert np.mean(found["suggested"]) > np.mean(found["at random"]), found


def _probe(features: np.ndarray, labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The probabilities (N, 2) that a logistic regression gives others."""
    from sklearn.linear_model import LogisticRegression

    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    fitted = LogisticRegression(C=0.1, max_iter=300).fit((features - mean) / spread, labels)
    return np.asarray(fitted.predict_proba((others - mean) / spread))
