"""The round of a feedback loop in T-RECS.

Version 0.2.1, the last one, asks for releases of pandas and of lenskit that no longer install. It runs with today's
pandas; lenskit serves its matrix factorisation only, which is not used here, and is replaced by an empty module.
"""

import importlib.metadata
import os
import sys
import tempfile
import types
import warnings

# It writes a log to the current directory, whatever it is told.
FOLDER = tempfile.TemporaryDirectory()
os.chdir(FOLDER.name)

for name in ("lenskit", "lenskit.algorithms", "lenskit.algorithms.als"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["lenskit.algorithms"].als = sys.modules["lenskit.algorithms.als"]

import numpy as np
from trecs.models import PopularityRecommender

ITEMS, SHOWN, FEATURES = 200, 10, 8

VERSION = importlib.metadata.version("trecs")


def recommend_round(users):
    """One timestep: each user is shown the 10 most popular items and takes one; then popularity is counted."""
    warnings.simplefilter("ignore")  # that nothing is measured
    # Each step turns the scores into text, for a log that is off: all of them unless told otherwise.
    np.set_printoptions(threshold=0, edgeitems=1)
    generator = np.random.default_rng(1)
    recommender = PopularityRecommender(
        user_representation=np.ones((users, 1), dtype=int),
        item_representation=np.zeros((1, ITEMS), dtype=int),
        actual_user_representation=generator.normal(size=(users, FEATURES)),
        actual_item_representation=generator.normal(size=(FEATURES, ITEMS)),
        num_items_per_iter=SHOWN,
        seed=1,
    )

    def step():
        recommender.run(timesteps=1, repeated_items=True, disable_tqdm=True)

    return step
