#!/usr/bin/env bash
# pyarrow 26.0.1, 2026-11-29: reading a Parquet file batch by batch ends with all of its bytes in memory; in 24.0.0 it
# does not.
#
# Guess: `ParquetFile.iter_batches`, the way to read files larger than memory, holds a few batches at a time.
# Seen: since 25.0.0 files are read ahead by default (`pre_buffer=True`), and what was read is freed with the
# `ParquetFile`, not with the batches. With images, which don't compress, that is the whole file. `pre_buffer=False`
# brings the former behaviour back.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
cd "$folder"
cat > kept.py <<'PY'
import random
import sys

import pyarrow
import pyarrow.parquet

# 20 row groups of 100 images' worth of bytes: 20 MB.
images = pyarrow.table({"image": [random.Random(row).randbytes(10_000) for row in range(2_000)]})
pyarrow.parquet.write_table(images, "images.parquet", row_group_size=100)
del images


def held_after(**options):
    before = pyarrow.total_allocated_bytes()
    file = pyarrow.parquet.ParquetFile("images.parquet", **options)
    for batch in file.iter_batches(100):
        del batch
    return (pyarrow.total_allocated_bytes() - before) / 1e6


held, without = held_after(), held_after(pre_buffer=False)
print(f"pyarrow {pyarrow.__version__}: {held:.1f} MB held after the last batch; with pre_buffer=False {without:.1f} MB")
assert without < 3, "this has changed: more is held without reading ahead"
assert (held > 19) == (sys.argv[1] == "kept"), "this has changed"
PY
for version in 24.0.0:freed 26.0.1:kept; do
  "$folder/venv/bin/python" -m pip install -q --disable-pip-version-check "pyarrow==${version%:*}"
  "$folder/venv/bin/python" kept.py "${version#*:}"
done
echo "still so"
