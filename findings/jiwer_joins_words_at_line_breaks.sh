#!/usr/bin/env bash
# jiwer 4.0.0, 2026-11-30: two equal texts have a word error rate of 0.4, where a line ends elsewhere.
#
# Guess: wer() compares words, which any white space parts, as str.split() has it. Seen: spaces alone part them. A line
# break or a tab stays within a word: "cat\nsat" is one word, and not the words of "cat sat". Each line break in one of
# two texts costs two edits. Transcripts of several lines, such as subtitles and pages of OCR, have a rate above 0 when
# all words are right, and mer, wil and hits with them. RemoveMultipleSpaces and Strip, which are the default, don't
# help; SubstituteRegexes does.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  jiwer==4.0.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import jiwer


def by_hand(reference: str, hypothesis: str) -> float:
    true, told = reference.split(), hypothesis.split()
    row = list(range(len(told) + 1))
    for place, word in enumerate(true, 1):
        last, row = row, [place]
        for other, given in enumerate(told, 1):
            row.append(min(last[other - 1] + (word != given), last[other] + 1, row[-1] + 1))
    return row[-1] / len(true)


reference = "the cat sat on the mat and looked at the dog"
spoken = {
    "one line": reference,
    "double spaces": reference.replace(" ", "  "),
    "two lines": "the cat sat on the mat\nand looked at the dog",
    "lines elsewhere": "the cat sat\non the mat and\nlooked at the dog",
    "tabs": reference.replace(" and ", "\tand\t"),
    "one word wrong": reference.replace("mat", "hat"),
}
words = jiwer.Compose([
    jiwer.SubstituteRegexes({r"\s+": " "}), jiwer.Strip(), jiwer.ReduceToListOfListOfWords(),
])  # fmt: skip
for name, hypothesis in spoken.items():
    told, true = jiwer.wer(reference, hypothesis), by_hand(reference, hypothesis)
    parted = jiwer.wer(reference, hypothesis, reference_transform=words, hypothesis_transform=words)
    print(f"{name}: {told:.3f}, by hand {true:.3f}, with white space replaced {parted:.3f}")
    assert abs(parted - true) < 1e-9, "this has changed: by hand"
    assert (told > true) == (name in ("two lines", "lines elsewhere", "tabs")), "this has changed"
both = jiwer.process_words(spoken["two lines"], spoken["lines elsewhere"])
print(f"two lines against lines elsewhere: {both.wer:.3f}, {both.hits} of {len(reference.split())} words hit")
assert both.wer > 0.3 and both.hits < 9, "this has changed"
PY
echo "still so"
