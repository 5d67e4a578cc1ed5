"""The model card: what the Hub reads of it, and that nothing can be slipped into it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from ruamel.yaml import YAML

from hftransfer.hub.card import Card, write_card
from hftransfer.jobs.run import run
from hftransfer.tasks import TASKS
from tests.builders import COLORS, load_model, missing_words, picture, recipe_for, slowly

METRICS: dict[str, Any] = {
    "task": "image-classification",
    "model": "microsoft/resnet-50",
    "strategy": "linear-probe",
    "test": {"accuracy": 0.987654321, "macro_f1": 0.9, "confusion_matrix": [[1, 0], [0, 1]]},
    "validation": {"accuracy": 0.97, "macro_f1": 0.91, "confusion_matrix": [[1, 0], [0, 1]]},
    "parameters": {"total": 1_234_567, "trainable": 1026},
    "examples": {"train": 400, "validation": 100, "test": 200},
}


def test_the_title_is_that_of_the_recipe_and_classes_have_scores(tmp_path: Path) -> None:
    test = {"accuracy": 0.7, "confusion_matrix": [[3, 1], [2, 4]]}
    card, page = written(tmp_path, name="cats_dogs", metrics={**METRICS, "test": test})
    assert "\n# cats_dogs\n" in page
    assert card.data.model_name == "cats_dogs"
    assert "| class | train | validation | test | precision | recall | F1 |" in page
    assert "| `cat` | 190 | 50 | 100 | 0.6000 | 0.7500 | 0.6667 |" in page
    assert "| `dog` | 210 | 50 | 100 | 0.8000 | 0.6667 | 0.7273 |" in page
    table = page[page.index("| class |") :].splitlines()
    assert {line.count("|") for line in table[:4]} == {8}


HOSTILE = [
    "two\nlines",
    "---",
    "\n---\nlicense: evil\n---\n",
    "<script>alert(1)</script>",
    "`rm -rf`",
    "a | b",
    "{total}",
    "](http://evil.example)",
    "![x](http://evil.example/x.png)",
    "# heading",
    "&lt;script&gt;",
    "*bold*",
    "\u202eright to left",
    "ok",
]


def written(folder: Path, **changes: Any) -> tuple[ModelCard, str]:
    given: dict[str, Any] = {
        "metrics": METRICS,
        "class_names": ("cat", "dog"),
        "counts": {"train": [190, 210], "validation": [50, 50], "test": [100, 100]},
        "data_source": "microsoft/cats_vs_dogs",
        "dataset_id": "microsoft/cats_vs_dogs",
        "bases": ("microsoft/resnet-50",),
        "hub_id": "microsoft/resnet-50",
        "version": "0.1.0",
        "seed": 0,
        "recipe": "data: name",
    }
    given |= changes
    write_card(folder, Card(task=TASKS[given["metrics"]["task"]], **given))
    return ModelCard.load(folder / "README.md"), (folder / "README.md").read_text(encoding="utf-8")


def test_the_metadata_are_those_that_the_hub_reads(tmp_path):
    card, _ = written(tmp_path)
    data = card.data.to_dict()
    assert data["library_name"] == "transformers"
    assert data["pipeline_tag"] == "image-classification"
    assert data["base_model"] == "microsoft/resnet-50"
    assert data["metrics"] == ["accuracy", "macro_f1"]
    assert {"hftransfer", "transfer-learning", "linear-probe"} <= set(data["tags"])
    (entry,) = data["model-index"]
    (result,) = entry["results"]
    assert result["task"]["type"] == "image-classification"
    assert result["dataset"] == {"type": "microsoft/cats_vs_dogs", "name": "microsoft/cats_vs_dogs", "split": "test"}
    values = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert values == {"accuracy": 0.987654, "macro_f1": 0.9}


def test_the_page_says_what_it_is_and_how_to_use_it(tmp_path):
    _, text = written(tmp_path)
    words = (
        "# resnet-50 linear-probe",
        "`microsoft/resnet-50` adapted to 2 classes by a linear probe",
        "with hftransfer 0.1.0",
        "| Accuracy | 0.9877 | 0.9700 |",
        "Trained on 400 images",
        "tested on 200",
        "| `cat` | 190 | 50 | 100 |",
        "hftransfer run recipe.yaml",
        'pipeline("image-classification"',
        "1,026 of 1,234,567 parameters",
    )
    assert missing_words(text, words) == []
    assert "confusion" not in text
    assert "{" not in text.split("## Citation")[0]


def test_the_code_on_the_page_runs_as_it_stands(finished, tmp_path, monkeypatch):
    folder = finished("resnet").folder / "model"
    text = (folder / "README.md").read_text(encoding="utf-8")
    blocks = [block.split("```")[0] for block in text.split("```python\n")[1:]]
    assert len(blocks) == 2
    monkeypatch.chdir(tmp_path)
    picture("red").save(tmp_path / "photo.jpg")
    for block in blocks:
        exec(compile(block.replace("path/to/this/folder", str(folder)), "card", "exec"), {})


@pytest.mark.parametrize("place", ["class", "data", "model", "recipe"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_change_neither_metadata_nor_page(tmp_path, place, name):
    changes: dict[str, Any] = {
        "class": {"class_names": (name, "dog")},
        "data": {"data_source": name, "dataset_id": None},
        "model": {"bases": (name,), "hub_id": None},
        "recipe": {"recipe": f"data: {name!r}"},
    }[place]
    same: dict[str, Any] = {"model": {"hub_id": None}, "data": {"dataset_id": None}}.get(place, {})
    (tmp_path / "plain").mkdir()
    (tmp_path / "hostile").mkdir()
    _, plain = written(tmp_path / "plain", **same)
    card, text = written(tmp_path / "hostile", **changes)
    assert set(card.data.to_dict()) == set(ModelCard(plain).data.to_dict())
    _, front, body = text.split("---\n", 2)
    assert set(YAML(typ="safe", pure=True).load(front)) == set(card.data.to_dict())
    same_lines = place != "recipe" or not set("<>`") & set(name)  # such a recipe isn't shown on the page
    assert not same_lines or len(body.splitlines()) == len(plain.split("---\n", 2)[2].splitlines())
    assert "<script" not in body
    assert "evil" not in card.data.to_dict().get("license", "")
    assert not [line for line in body.splitlines() if line.strip() == "---"]
    body = body.split("```yaml")[0] + body.split("```")[-1]  # code is shown as it is
    body = body.replace("](https://hf.co/datasets/microsoft/cats_vs_dogs)", "")
    for quoted in ("`![x](http://evil.example/x.png)`", "`](http://evil.example)`"):
        body = body.replace(quoted, "")
    assert "](http" not in body


def test_a_base_model_that_is_not_on_the_hub_is_no_metadata(tmp_path):
    card, text = written(tmp_path, bases=("my-vit",), hub_id=None)
    assert {"base_model", "base_model_relation"} & set(card.data.to_dict()) == set()
    assert "`my-vit`" in text


def test_the_card_of_a_run_says_nothing_about_this_disk(finished, folder_data, tiny):
    result = finished("vit")
    card = ModelCard.load(result.folder / "model" / "README.md")
    assert card.data.to_dict()["pipeline_tag"] == "image-classification"
    for file in (result.folder / "model").iterdir():
        content = file.read_bytes()
        for path in (folder_data.parent, tiny("vit").parent, result.folder.parent, Path.home(), Path.cwd()):
            assert str(path).encode() not in content, f"{path} is in {file.name}"


@pytest.mark.usefixtures("without_figures")
def test_a_run_with_hostile_class_names_ends_well(tiny, tmp_path, silent):
    names = ["../up", "a\nb", "<script>x</script>", "`---`", "probability", "$\\frac$", "名 前", "'", "NUL:"]
    rows = [(picture(list(COLORS)[i % 4], 100 * i + k), name) for i, name in enumerate(names) for k in range(8)]
    result = run(recipe_for(tiny("vit"), "memory"), data=rows, out=tmp_path / "run", progress=silent)
    assert sorted(names) == sorted(load_model(result.folder).class_names)
    text = (result.folder / "model" / "README.md").read_text(encoding="utf-8")
    assert "<script" not in text
    assert ModelCard(text).data.to_dict()["library_name"] == "transformers"


# --- the code on the page --------------------------------------------------------------------------------------------

FINE, LORA = {"kind": "fine-tune", "unfreeze": 1}, {"kind": "lora", "rank": 2}
KINDS: list[Any] = [
    *[("vit", {}), ("vit", LORA), ("bert", {}), ("clip-dual", {"head_init": "zero-shot"}), ("open_clip", {})],
    *slowly(("bert", FINE), ("bert", LORA), ("open_clip", {"head_init": "zero-shot"}), ("t5", {})),
]


@pytest.mark.usefixtures("without_figures")
@pytest.mark.filterwarnings("ignore::FutureWarning:transformers")
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
@pytest.mark.parametrize(("family", "strategy"), KINDS)
def test_the_code_without_hftransfer_predicts_the_same(
    tiny, folder_data, text_data, tmp_path, monkeypatch, silent, family, strategy
):
    of_text = family in ("bert", "t5")
    model = f"open_clip:local-dir:{tiny(family)}" if family == "open_clip" else str(tiny(family))
    recipe = recipe_for(model, text_data if of_text else folder_data, epochs=1)
    recipe |= {"task": "text-classification"} if of_text else {}
    recipe |= {"strategy": strategy} if strategy else {}
    result = run(recipe, out=tmp_path / "run", progress=silent)
    picture("red").save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    given = "what a film" if of_text else "photo.jpg"
    ours = load_model(result.folder).predict([given])[0].scores
    theirs = _run_native(result.folder / "model", tiny(family), given)
    assert {name: pytest.approx(score, abs=1e-4) for name, score in ours.items()} == theirs


@pytest.mark.usefixtures("without_figures")
def test_the_code_for_questions_finds_an_answer(tiny, squad_data, tmp_path, silent):
    recipe = recipe_for(tiny("bert"), squad_data, epochs=1) | {"task": "question-answering", "strategy": FINE}
    result = run(recipe, out=tmp_path / "run", progress=silent)
    code = (result.folder / "model" / "README.md").read_text().split("```python\n")[1].split("```")[0]
    found: dict[str, Any] = {}
    exec(compile(code.replace("path/to/this/folder", str(result.folder / "model")), "card", "exec"), found)
    assert isinstance(found["answer"], str)


def _run_native(folder: Path, base: Path, given: str) -> dict[str, float]:
    """The probabilities that the first piece of code on a model's card gives; it knows nothing of hftransfer."""
    card = (folder / "README.md").read_text(encoding="utf-8")
    code = card.split("```python\n")[1].split("```")[0].replace("path/to/this/folder", str(folder))
    assert "hftransfer" not in code.replace(str(folder), "")
    code = code.replace(f"path/to/{base.name}", str(base))
    found: dict[str, Any] = {}
    exec(compile(code, "card", "exec"), found)
    names = [line.split("`")[1] for line in card.splitlines() if line.startswith("| `")]
    if "classify" in found:
        return {entry["label"]: entry["score"] for entry in found["classify"](given, top_k=None)}
    if "probabilities" not in found:  # peft's code ends with the model
        import torch
        import transformers as tf

        if given == "photo.jpg":
            from PIL import Image

            inputs = tf.AutoImageProcessor.from_pretrained(folder)(Image.open(given), return_tensors="pt")
        else:
            inputs = tf.AutoTokenizer.from_pretrained(folder)([given], return_tensors="pt")
        with torch.no_grad():
            found["probabilities"] = found["model"](**inputs).logits.softmax(-1)
    return dict(zip(names, found["probabilities"][0].tolist(), strict=True))
