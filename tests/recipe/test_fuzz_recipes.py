"""Recipes and overrides, mutated at random: each is taken, or refused in words; nothing else happens."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from hftransfer.base.errors import HftransferError, printable
from hftransfer.base.shipped import shipped_recipes
from hftransfer.jobs.early import early_look
from hftransfer.recipe import flat_settings, load_recipe, recipe_yaml, settings_with_origin

_LONGEST_FAULT = 4000
_RECIPES = [YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8")) for path in shipped_recipes().values()]
_KEYS = sorted({key for name in shipped_recipes() for key in flat_settings(load_recipe(name).recipe)})

_ODD_TEXTS = st.sampled_from(
    [
        *(
            "",
            " ",
            "\0",
            "\ud800",
            "\u202e",
            "a" * 300,
            "~",
            "~nobody/x",
            "../..",
            "null",
            "no",
            "1e9",
            "nan",
            "inf",
            "-1",
        ),
        *("{0}", "[" * 500, "{" * 500, "[1, [2]]", "{a: {b: c}}", "!!python/name:os", "&a *a", "1:2:3", "2001-01-01"),
        *("0x1F", "'", '"', "image-segmentation", "zero-shot", "all", "lora:8", "memory", "bundled/minilm-l6"),
        *("/dev/null", "a/b", "a/b/c"),
    ]
)
_NUMBERS = st.one_of(
    st.integers(-2, 3), st.sampled_from([10**9, -(10**9), 2**64, 1e308, 5e-324, float("nan")]), st.floats()
)
_LEAVES = st.one_of(st.none(), st.booleans(), _NUMBERS, _ODD_TEXTS, st.text(max_size=20))
_VALUES = st.recursive(
    _LEAVES,
    lambda below: st.one_of(
        st.lists(below, max_size=4), st.dictionaries(st.one_of(st.text(max_size=5), _NUMBERS), below, max_size=4)
    ),
    max_leaves=6,
)
_NAMES = st.one_of(
    st.sampled_from(_KEYS),
    st.sampled_from(
        ["task", "model", "data", "strategy", "train", "compare", "hub", "output", "resolved", "1", "data.1", "a.b.c"]
    ),
    st.text(st.characters(blacklist_characters="="), min_size=1, max_size=12),
    st.sampled_from(["x" * 5000, "train." + "y" * 5000, ".", "..", "data.", ".data", "~", "\ud800", "data.\udfff"]),
)
_OVERRIDES = st.lists(
    st.one_of(
        st.tuples(_NAMES, st.one_of(_ODD_TEXTS, _VALUES.map(str))).map("=".join),
        _NAMES.map("~{}".format),
        st.text(max_size=10),
    ),
    max_size=4,
)


@st.composite
def _mutated(draw: Any) -> Any:
    """A shipped recipe with some of its keys replaced, dropped or added, at any depth."""
    document = copy.deepcopy(draw(st.sampled_from(_RECIPES)))
    for _ in range(draw(st.integers(0, 3))):
        inside = document
        while True:
            sections = [key for key, value in inside.items() if isinstance(value, dict)]
            if not sections or draw(st.booleans()):
                break
            inside = inside[draw(st.sampled_from(sections))]
        names = st.one_of(
            st.sampled_from(sorted(map(str, inside)) or ["x"]), _NAMES, _LEAVES.filter(lambda one: one == one)
        )
        inside[draw(names)] = draw(_VALUES)
    return document


def _require_readable(error: HftransferError) -> None:
    """Require that faults are told, and none over a screen."""
    told = [printable(fault) for fault in error.faults]
    assert told
    assert [fault for fault in told if len(fault) >= _LONGEST_FAULT or not fault.encode()] == []


@pytest.mark.slow
@settings(max_examples=1000, derandomize=True, deadline=5000, suppress_health_check=list(HealthCheck), database=None)
@given(document=_mutated(), overrides=_OVERRIDES, as_mapping=st.dictionaries(_NAMES, _VALUES, max_size=2))
def test_a_recipe_is_taken_or_refused_in_words(
    document: dict[Any, Any], overrides: list[str], as_mapping: dict[str, Any]
) -> None:
    for given_overrides in (overrides, as_mapping):
        try:
            loaded = load_recipe(document, given_overrides)
            settings_with_origin(loaded)
            load_recipe(YAML(typ="safe", pure=True).load(recipe_yaml(loaded.recipe)))
            early_look(loaded.recipe, None)
        except HftransferError as error:
            _require_readable(error)


@pytest.mark.slow
@settings(max_examples=300, derandomize=True, deadline=5000, suppress_health_check=list(HealthCheck), database=None)
@given(
    text=st.text(st.one_of(st.sampled_from("{}[]:-#&*!|>'\"% \n\tabtask01.~?"), st.characters()), max_size=80),
    cut=st.integers(0, 400),
)
def test_a_file_is_taken_or_refused_in_words(tmp_path_factory: pytest.TempPathFactory, text: str, cut: int) -> None:
    file = Path(tmp_path_factory.getbasetemp()) / "fuzzed.yaml"
    whole = shipped_recipes()["sst2_lora"].read_text(encoding="utf-8")
    file.write_text(whole[:cut] + text + whole[cut:], encoding="utf-8", errors="surrogatepass")
    try:
        load_recipe(file)
    except HftransferError as error:
        _require_readable(error)
