"""Real data for small trainings: 1797 scans of handwritten digits, 8 by 8 pixels.

digits.csv.gz is scikit-learn's copy of the test set of "Optical Recognition of Handwritten Digits" (E. Alpaydin and
C. Kaynak, UCI Machine Learning Repository, CC BY 4.0): a scan a line, 64 pixels from 0 to 16 and the digit.
"""

from pathlib import Path

import numpy as np

DATA = Path(__file__).with_name("digits.csv.gz")
SEED = 7


def load():
    """Return the training and the test part as (pixels, digits), the same in every process."""
    rows = np.loadtxt(DATA, delimiter=",", dtype=np.float32)
    rows = rows[np.random.RandomState(SEED).permutation(len(rows))]
    x, y = rows[:, :64] / 16, rows[:, 64].astype(np.int64)
    split = len(rows) * 4 // 5
    return (x[:split], y[:split]), (x[split:], y[split:])
