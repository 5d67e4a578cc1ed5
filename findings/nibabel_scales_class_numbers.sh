#!/usr/bin/env bash
# nibabel 5.4.2 with numpy 2.4.6, 2026-11-30: of classes 0 to 4, saved as uint8, class 2 comes back as class 1.
#
# Guess: a label map of whole numbers from 0 to 4, saved with set_data_dtype(np.uint8), has the same numbers once
# loaded, as every one fits, and as an array of int16 is saved so. Seen: an array of float64 or float32, as arg max
# over resampled or averaged predictions and get_fdata() leave it, is stretched to the range of uint8 and gets a slope.
# Loaded, the classes are 0, 1.004, 1.992, 2.996 and 4; cast to integers, as usual, classes 2 and 3 are 1 and 2. Other
# tools that read the bytes without the slope find classes up to 255.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check nibabel==5.4.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import nibabel
import numpy as np

labels = np.arange(5).repeat(25).reshape(5, 5, 5)


def back(array, name):
    """The labels, saved as uint8 and loaded as a data set does."""
    image = nibabel.Nifti1Image(array, np.eye(4))
    image.set_data_dtype(np.uint8)
    nibabel.save(image, name)
    loaded = nibabel.load(name)
    return loaded.get_fdata(), np.unique(loaded.dataobj.get_unscaled())


for kind in (np.int16, np.float32, np.float64):
    values, stored = back(labels.astype(kind), f"{np.dtype(kind)}.nii.gz")
    cast = values.astype(int)
    by_class = {k: sorted(set(cast[labels == k].tolist())) for k in range(5)}
    print(f"{np.dtype(kind)}: values {np.unique(values).round(4).tolist()}, cast {by_class}, stored {stored.tolist()}")
    if kind == np.int16:
        assert (values == labels).all() and stored.tolist() == [0, 1, 2, 3, 4], "this has changed"
    else:
        assert stored.max() == 255, "this has changed: the numbers are stored as they are"
        assert by_class[2] == [1] and (cast != labels).mean() > 0.3, "this has changed"
PY
echo "still so"
