"""Evaluation streams: what is held does not grow with the rows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import TinyModels

CLASSES = 20_000
_EVALUATE = """
import sys
from pathlib import Path
import hftransfer as ht

model = ht.load(sys.argv[1])
rows = [("the film was good", model.class_names[number % 50]) for number in range(int(sys.argv[2]))]
model.evaluate(rows)
(peak,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
print(int(peak.split()[1]) * 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ten_times_the_rows_take_no_more_memory(tiny: TinyModels, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from hftransfer.adapters.libraries import quiet_transformers

    names = {place: f"class {place}" for place in range(CLASSES)}
    folder = tmp_path / "wide"
    with quiet_transformers():
        model = AutoModelForSequenceClassification.from_pretrained(tiny("bert"), num_labels=CLASSES, id2label=names)
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(tiny("bert")).save_pretrained(folder)

    def peak_bytes(rows: int) -> int:
        command = [sys.executable, "-W", "ignore", "-c", _EVALUATE, str(folder), str(rows)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return int(done.stdout.split()[-1])

    few, many = peak_bytes(400), peak_bytes(4000)
    assert many <= 1.1 * few
    # All logits would not have fitted in: the bound tells something.
    assert 0.1 * few < 4 * CLASSES * 3600
