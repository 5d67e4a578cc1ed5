#!/usr/bin/env bash
# webdataset 1.0.2 with numpy 2.4.6, 2026-11-30: shardshuffle gives every epoch the same order of shards.
#
# Guess: WebDataset(shardshuffle=100), without a seed, draws a new order of shards for each pass, as .shuffle does for
# examples, and shuffle=True for torch's DataLoader. Seen: a seed is drawn once, as the data set is made, and each pass
# begins with it anew. All epochs read the shards in one order, and a buffer of .shuffle mixes neighbours alone: an
# example comes at about the same place in each epoch, after the same examples. With workers it is the same. Only
# detshuffle=True draws anew for each epoch, in this process or in workers that persist. Nothing is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check webdataset==1.0.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W error - <<'PY'
import numpy as np
import webdataset as wds

shards, size, epochs = 20, 10, 6
for shard in range(shards):
    with wds.TarWriter(f"part-{shard:02}.tar") as file:
        for row in range(size):
            file.write({"__key__": f"{shard * size + row:04}", "cls": shard * size + row})


def passes(buffer: int, **settings: object) -> list[list[int]]:
    rows = wds.WebDataset("part-{00..19}.tar", **settings)
    rows = (rows.shuffle(buffer) if buffer else rows).decode().to_tuple("cls")
    return [[row for (row,) in rows] for _ in range(epochs)]


def order_of_shards(rows: list[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(row // size for row in rows))


def likeness(runs: list[list[int]]) -> float:
    places = np.argsort(np.array(runs), axis=1)
    return float(np.corrcoef(places)[np.triu_indices(len(runs), 1)].mean())


drawn = np.random.default_rng(0)
cases = {
    "shardshuffle=100": passes(0, shardshuffle=100),
    "shardshuffle=100, shuffle(20)": passes(20, shardshuffle=100),
    "shardshuffle=100, seed=3": passes(0, shardshuffle=100, seed=3),
    "detshuffle=True": passes(0, shardshuffle=100, detshuffle=True),
    "shuffle(200) of examples": passes(200, shardshuffle=False),
    "numpy's permutations": [drawn.permutation(shards * size).tolist() for _ in range(epochs)],
}
for name, runs in cases.items():
    orders = len({order_of_shards(rows) for rows in runs})
    alike, distinct = likeness(runs), len(set(map(tuple, runs)))
    print(f"{name}: {distinct} orders in {epochs} epochs; places of epochs correlate by {alike:.2f}")
    assert all(sorted(rows) == list(range(shards * size)) for rows in runs)
    assert order_of_shards(runs[0]) != tuple(range(shards)) or not name.startswith("shard"), "they are shuffled"
    if name.startswith("shardshuffle"):
        assert alike > 0.8 and (distinct == 1 or "shuffle(" in name), "this has changed"
    else:
        assert orders == epochs and alike < 0.3, "this has changed: the others"
others = {order_of_shards(passes(0, shardshuffle=100)[0]) for _ in range(5)}
print(f"five data sets made one after another have {len(others)} orders")
assert len(others) > 1, "this has changed: the seed is drawn"
PY
echo "still so"
