"""The lowest rooms: messages, progress, the cache folder."""

from __future__ import annotations

import csv
import io
import os
import time

import pytest

from hftransfer.base import cache
from hftransfer.base.errors import DataError, HftransferError, OutputError, must_be, nearest, printable, some
from hftransfer.base.progress import Progress
from hftransfer.base.tabular import csv_text


def test_a_message_says_place_allowed_value_and_remedy():
    assert (
        must_be("train.seed", "a whole number", "'x'", "Try 0.") == "train.seed must be a whole number; got 'x'. Try 0."
    )


def test_a_message_without_remedy_ends_with_a_full_stop():
    assert must_be("a", "b", "c") == "a must be b; got c."


def test_a_near_name_is_suggested():
    assert nearest("resnt", ["vit", "resnet"]) == "Did you mean 'resnet'?"


def test_a_word_that_begins_with_another_letter_is_meant_only_where_all_else_is_alike():
    emotions = ["anger", "gratitude", "surprise"]
    assert nearest("pride", emotions) == "Known: anger, gratitude, surprise."
    assert nearest("linear", ["fine-tune", "linear-probe"]) == "Did you mean 'linear-probe'?"
    assert nearest("durprise", emotions) == "Did you mean 'surprise'?"
    assert nearest("Surprize", emotions) == "Did you mean 'surprise'?"


def test_without_a_near_name_all_known_ones_are_listed():
    assert nearest("zzz", ["vit", "resnet"]) == "Known: resnet, vit."


def test_without_known_names_nothing_is_suggested():
    assert nearest("zzz", []) == ""


def test_long_lists_are_shortened():
    assert some("abcdefg", 3) == "a, b, c and 4 more"
    assert some("ab") == "a, b"


def test_an_error_holds_all_its_faults():
    error = DataError("one", "two")
    assert isinstance(error, HftransferError)
    assert error.faults == ("one", "two")
    assert str(error) == "one\ntwo"


def test_progress_without_a_terminal_is_plain_lines():
    stream = io.StringIO()
    with Progress(stream).stage("reading", 3) as advance:
        advance(1)
        advance(2)
    assert stream.getvalue() == "reading: 3/3\n"


def test_silent_progress_still_keeps_a_log(tmp_path):
    progress = Progress(None)
    progress.line("before the log")
    progress.write_log(tmp_path / "log.txt")
    progress.line("after it")
    with progress.stage("counting", 2) as advance:
        advance(2)
    log = (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert "before the log" in log
    assert "after it" in log
    assert "counting: 2 in" in log


def test_progress_on_a_terminal_is_a_bar():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    with Progress(stream).stage("reading", 2) as advance:
        advance(2)
    assert "reading" in stream.getvalue()
    assert "2/2" in stream.getvalue()


def test_the_cache_lies_where_the_variable_says(cache_of_its_own):
    assert cache.cache_root() == cache_of_its_own
    folder = cache.cache_folder("activations")
    assert folder == cache_of_its_own / "activations"
    assert folder.is_dir()
    assert (cache_of_its_own / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")


def test_without_the_variable_the_cache_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.delenv("HFTRANSFER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.cache_root() == tmp_path / "hftransfer"


def test_an_unwritable_cache_is_told(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HFTRANSFER_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(OutputError, match=r"cache folder .* must be writable; got .*HFTRANSFER_CACHE"):
        cache.cache_folder("activations")


def test_a_new_folder_appears_whole_or_not_at_all(tmp_path):
    def half_done() -> None:
        with cache.new_folder(tmp_path / "whole") as draft:
            (draft / "first").touch()
            assert not (tmp_path / "whole").exists()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half_done()
    assert list(tmp_path.iterdir()) == []
    with cache.new_folder(tmp_path / "whole") as draft:
        (draft / "first").touch()
    assert [p.name for p in tmp_path.rglob("*")] == ["whole", "first"]


def test_a_folder_that_another_process_made_meanwhile_stays(tmp_path):
    with cache.new_folder(tmp_path / "shared") as draft:
        (draft / "ours").touch()
        (tmp_path / "shared").mkdir()
        (tmp_path / "shared" / "theirs").touch()
    assert [p.name for p in (tmp_path / "shared").iterdir()] == ["theirs"]
    assert [p.name for p in tmp_path.iterdir()] == ["shared"]


def test_a_new_file_replaces_the_old_one_only_when_whole(tmp_path):
    target = tmp_path / "numbers"
    target.write_text("old")

    def half_done() -> None:
        with cache.new_file(target) as draft:
            draft.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half_done()
    assert target.read_text() == "old"
    with cache.new_file(target) as draft:
        draft.write_text("new")
    assert target.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["numbers"]


def test_usage_counts_entries_and_bytes():
    (cache.cache_folder("models") / "one").mkdir()
    (cache.cache_folder("models") / "one" / "weights").write_bytes(b"12345")
    found = {entry.kind: (entry.entries, entry.size_bytes) for entry in cache.usage()}
    assert found == {"activations": (0, 0), "models": (1, 5), "data": (0, 0), "audits": (0, 0)}


def test_clearing_frees_what_it_says():
    for kind in cache.KINDS:
        (cache.cache_folder(kind) / "entry").write_bytes(b"123")
    assert cache.clear(("models",)) == 3
    assert [entry.entries for entry in cache.usage()] == [1, 0, 1, 1]
    assert cache.clear() == 9
    assert cache.clear() == 0


def test_clearing_spares_what_is_young():
    folder = cache.cache_folder("models")
    for name, days in (("young", 0.5), ("old", 3)):
        (folder / name).write_bytes(b"1234")
        when = time.time() - days * 86_400
        os.utime(folder / name, (when, when))
    assert cache.clear(older_than_days=1) == 4
    assert [p.name for p in folder.iterdir()] == ["young"]


def test_clearing_a_cache_that_was_never_made_is_nothing():
    assert cache.clear() == 0


def test_a_folder_that_is_not_a_cache_is_never_cleared(monkeypatch, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").touch()
    monkeypatch.setenv("HFTRANSFER_CACHE", str(tmp_path))
    with pytest.raises(OutputError, match="Nothing was deleted"):
        cache.clear()
    assert (tmp_path / "data" / "thesis.txt").exists()


def test_another_programs_cache_is_never_cleared(monkeypatch, tmp_path):
    (tmp_path / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n# made by another program\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "theirs").touch()
    monkeypatch.setenv("HFTRANSFER_CACHE", str(tmp_path))
    with pytest.raises(OutputError, match="Nothing was deleted"):
        cache.clear()
    assert (tmp_path / "data" / "theirs").exists()


def test_a_folder_with_files_of_a_person_is_not_taken_as_cache(monkeypatch, tmp_path):
    """A project folder with `data/` in it, named by mistake, must not be wiped by the next clearing."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").touch()
    monkeypatch.setenv("HFTRANSFER_CACHE", str(tmp_path))
    with pytest.raises(OutputError, match="cache folder"):
        cache.cache_folder("activations")
    with pytest.raises(OutputError):
        cache.clear()
    assert (tmp_path / "data" / "thesis.txt").exists()


def test_links_in_the_cache_are_removed_but_not_followed(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").touch()
    (cache.cache_folder("data") / "link").symlink_to(tmp_path / "outside")
    cache.clear()
    assert (tmp_path / "outside" / "kept").exists()


def test_what_steers_a_terminal_is_written_as_escapes() -> None:
    assert printable("a\x1b[31m\tb\udce9\r\n\u202egnp.猫 é") == "a\\x1b[31m\tb\\udce9\\r\n\\u202egnp.猫 é"
    stream = io.StringIO()
    Progress(stream).line("cat\x1b[2J.jpg")
    assert stream.getvalue() == "cat\\x1b[2J.jpg\n"


def test_a_table_reads_back_and_holds_no_formulas() -> None:
    text = csv_text(["name", "score"], [["=1+1", 0.5], ["-3", -3], ['a\rb,"c"\nd', 1], ["@x", 2], ["- x", 3]])
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[1:] == [["'=1+1", "0.5"], ["-3", "-3"], ['a\\rb,"c"\nd', "1"], ["'@x", "2"], ["'- x", "3"]]
