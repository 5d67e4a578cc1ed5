"""Templates that make a sentence of a class's name, in named sets.

The sets are those published with CLIP: the 80 and the 7 best of them for ImageNet (openai/CLIP,
notebooks/Prompt_Engineering_for_ImageNet.ipynb), those of other data sets in its data/prompts.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hftransfer.base.errors import RecipeError, must_be, nearest, some

PROMPT_SETS: dict[str, tuple[str, ...]] = {
    "simple": ("a photo of a {}.",),
    "openai-7": (
        "itap of a {}.",
        "a bad photo of the {}.",
        "a origami {}.",
        "a photo of the large {}.",
        "a {} in a video game.",
        "art of the {}.",
        "a photo of the small {}.",
    ),
    "openai-80": (
        "a bad photo of a {}.",
        "a photo of many {}.",
        "a sculpture of a {}.",
        "a photo of the hard to see {}.",
        "a low resolution photo of the {}.",
        "a rendering of a {}.",
        "graffiti of a {}.",
        "a bad photo of the {}.",
        "a cropped photo of the {}.",
        "a tattoo of a {}.",
        "the embroidered {}.",
        "a photo of a hard to see {}.",
        "a bright photo of a {}.",
        "a photo of a clean {}.",
        "a photo of a dirty {}.",
        "a dark photo of the {}.",
        "a drawing of a {}.",
        "a photo of my {}.",
        "the plastic {}.",
        "a photo of the cool {}.",
        "a close-up photo of a {}.",
        "a black and white photo of the {}.",
        "a painting of the {}.",
        "a painting of a {}.",
        "a pixelated photo of the {}.",
        "a sculpture of the {}.",
        "a bright photo of the {}.",
        "a cropped photo of a {}.",
        "a plastic {}.",
        "a photo of the dirty {}.",
        "a jpeg corrupted photo of a {}.",
        "a blurry photo of the {}.",
        "a photo of the {}.",
        "a good photo of the {}.",
        "a rendering of the {}.",
        "a {} in a video game.",
        "a photo of one {}.",
        "a doodle of a {}.",
        "a close-up photo of the {}.",
        "a photo of a {}.",
        "the origami {}.",
        "the {} in a video game.",
        "a sketch of a {}.",
        "a doodle of the {}.",
        "a origami {}.",
        "a low resolution photo of a {}.",
        "the toy {}.",
        "a rendition of the {}.",
        "a photo of the clean {}.",
        "a photo of a large {}.",
        "a rendition of a {}.",
        "a photo of a nice {}.",
        "a photo of a weird {}.",
        "a blurry photo of a {}.",
        "a cartoon {}.",
        "art of a {}.",
        "a sketch of the {}.",
        "a embroidered {}.",
        "a pixelated photo of a {}.",
        "itap of the {}.",
        "a jpeg corrupted photo of the {}.",
        "a good photo of a {}.",
        "a plushie {}.",
        "a photo of the nice {}.",
        "a photo of the small {}.",
        "a photo of the weird {}.",
        "the cartoon {}.",
        "art of the {}.",
        "a drawing of the {}.",
        "a photo of the large {}.",
        "a black and white photo of a {}.",
        "the plushie {}.",
        "a dark photo of a {}.",
        "itap of a {}.",
        "graffiti of the {}.",
        "a toy {}.",
        "itap of my {}.",
        "a photo of a cool {}.",
        "a photo of a small {}.",
        "a tattoo of the {}.",
    ),
    "cifar": (
        "a photo of a {}.",
        "a blurry photo of a {}.",
        "a black and white photo of a {}.",
        "a low contrast photo of a {}.",
        "a high contrast photo of a {}.",
        "a bad photo of a {}.",
        "a good photo of a {}.",
        "a photo of a small {}.",
        "a photo of a big {}.",
        "a photo of the {}.",
        "a blurry photo of the {}.",
        "a black and white photo of the {}.",
        "a low contrast photo of the {}.",
        "a high contrast photo of the {}.",
        "a bad photo of the {}.",
        "a good photo of the {}.",
        "a photo of the small {}.",
        "a photo of the big {}.",
    ),
    "pets": ("a photo of a {}, a type of pet.",),
    "food": ("a photo of {}, a type of food.",),
    "flowers": ("a photo of a {}, a type of flower.",),
}


def templates_of(prompts: str | Sequence[str], where: str = "prompts") -> tuple[str, ...]:
    """Return the templates of a named set, of one template, or of a list of them.

    Raises:
        RecipeError: there is no set of that name, or a template does not have the one place `{}` for the name.
    """
    if isinstance(prompts, str):
        if prompts in PROMPT_SETS:
            return PROMPT_SETS[prompts]
        if "{" not in prompts:
            allowed = f"a template with {{}}, a list of templates, or the name of a set ({', '.join(PROMPT_SETS)})"
            raise RecipeError(must_be(where, allowed, f"'{prompts}'", nearest(prompts, PROMPT_SETS)))
        prompts = [prompts]
    found = tuple(prompts)
    faults = [_fault(where, template) for template in found if template.count("{}") != 1 or _other_braces(template)]
    if not found:
        faults.append(must_be(where, "at least one template", "none"))
    if doubles := {template for template in found if found.count(template) > 1}:
        faults.append(must_be(where, "templates that differ", f"'{min(doubles)}' twice"))
    if faults:
        raise RecipeError(*faults)
    return found


def sentences(class_names: Sequence[str], template: str) -> list[str]:
    """Return the template with each name in turn."""
    return [template.replace("{}", name) for name in class_names]


def words_of(class_names: Sequence[str]) -> list[str]:
    """Names of folders and columns as words: `great_white_shark` reads "great white shark"."""
    return [" ".join(name.replace("_", " ").split()) or name for name in class_names]


def require_labels(labels: Sequence[str], where: str = "labels") -> list[str]:
    """Return the labels, if they are at least two different texts.

    Raises:
        RecipeError: they are not.
    """
    names = [labels] if isinstance(labels, str) else [str(label).strip() for label in labels]
    faults = []
    if any(not name for name in names):
        faults.append(must_be(where, "non-empty texts", "an empty one"))
    if doubles := sorted({name for name in names if name and names.count(name) > 1}):
        faults.append(must_be(where, "different from each other", f"{some(doubles)} more than once"))
    if len(names) < 2 and not faults:
        faults.append(must_be(where, "two or more, to choose between", f"{len(names)}"))
    if faults:
        raise RecipeError(*faults)
    return names


def words_for(class_names: Sequence[str], given: Mapping[str, str] | Sequence[str] | None) -> list[str]:
    """Return what each class is called in prompts: as given by class or in the order of the classes, else its name in
    words.

    Raises:
        RecipeError: names are given for other classes, or two classes would be called the same.
    """
    words = words_of(class_names)
    if isinstance(given, Mapping):
        if unknown := sorted(set(given) - set(class_names)):
            allowed = f"names for classes of the data ({some(class_names)})"
            raise RecipeError(must_be("class_names", allowed, f"'{unknown[0]}'"))
        words = [given.get(name, word) for name, word in zip(class_names, words, strict=True)]
    elif given is not None:
        if len(given) != len(class_names):
            allowed = f"one name for each of the {len(class_names)} classes ({some(class_names)})"
            raise RecipeError(must_be("class_names", allowed, f"{len(given)}"))
        words = list(given)
    return require_labels(words, "class_names")


def _other_braces(template: str) -> bool:
    return bool(set("{}") & set(template.replace("{}", "")))


def _fault(where: str, template: str) -> str:
    return must_be(where, "templates with one {} where the class's name goes", f"'{template}'")
