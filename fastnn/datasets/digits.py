"""The bundled data set: handwritten digits of 8 x 8 pixels.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998,
https://doi.org/10.24432/C50P49, the 1797 rows of ``optdigits.tes``.  Licence: Creative Commons Attribution 4.0
International (CC BY 4.0).  Changed: the text file was packed into ``digits.npz``; no value was touched.
"""
from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def load_digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read the bundled digits, in the order of the original file.

    Returns
    -------
    images : ndarray of shape (1797, 8, 8), uint8
        Grey values 0 (paper) to 16 (ink).
    labels : ndarray of shape (1797,), int64
        The digit, 0 to 9; each stands about 180 times.

    Notes
    -----
    Alpaydin, E. and Kaynak, C. (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning Repository,
    https://doi.org/10.24432/C50P49, CC BY 4.0.

    Examples
    --------
    >>> images, labels = load_digits()
    >>> images.shape, int(images.max()), labels[:5].tolist()
    ((1797, 8, 8), 16, [0, 1, 2, 3, 4])
    """
    with (files("fastnn.datasets") / "digits.npz").open("rb") as file, np.load(file, allow_pickle=False) as stored:
        return stored["images"], stored["labels"].astype(np.int64)
