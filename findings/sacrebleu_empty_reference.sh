#!/usr/bin/env bash
# sacrebleu 2.6.0, 2026-11-28: an empty text in place of a missing reference takes the brevity penalty away.
#
# Guess: where predictions have different numbers of references, those that are missing can be filled with "" (evaluate
# wants as many for each): no word matches an empty text, so the score stays. Seen: its length, 0, is the nearest one to
# a prediction shorter than half its reference; the brevity penalty of 0.16 becomes 1, and BLEU of 16 becomes 100. None
# in its place is left out, and gives the score without it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check sacrebleu==2.6.0
"$folder/venv/bin/python" - <<'PY'
import sacrebleu

written = ["go to the shop", "it rains"]
right = ["go to the shop now please and buy some bread", "it rains in the old town today"]
alone = sacrebleu.corpus_bleu(written, [right])
left_out = sacrebleu.corpus_bleu(written, [right, [None, None]])
filled = sacrebleu.corpus_bleu(written, [right, ["", ""]])
for name, found in (("one reference", alone), ("and None", left_out), ("and an empty text", filled)):
    print(f"{name}: BLEU {found.score:.1f}, brevity penalty {found.bp:.2f}, length of references {found.ref_len}")
assert left_out.score == alone.score, "this has changed: None is no longer left out"
assert alone.bp < 0.4 and filled.bp == 1, "this has changed: an empty reference has no length"
assert filled.score > 2 * alone.score, "this has changed: the score stays"
PY
echo "still so"
