"""What is counted of two sides' texts beside each other."""

import numpy as np
import pandas as pd

from layeratlas.extraction.balance import shared_token_share


def test_the_share_of_tokens_that_two_texts_share_by_hand():
    a = pd.Series([[1, 2, 3], [1, 2], [], [4]])
    b = pd.Series([np.array([2, 3, 4]), np.array([5]), np.array([], dtype=int), np.array([4])])
    np.testing.assert_allclose(shared_token_share(a, b), [0.5, 0, np.nan, 1])
