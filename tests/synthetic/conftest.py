"""Faces and words shared by the tests, found once."""

import numpy as np
import pytest

from synthetic.fonts import find_faces


class FewWords:
    """Words with the shapes that boxes may get wrong; needs no vocabulary file."""

    WORDS = ("Agility", "JUMP", "1947", "i", "Wj", "fjord", "Typography", "EXIT", "flow", "Q7")

    def draw(self, rng: np.random.Generator) -> str:
        return self.WORDS[rng.integers(len(self.WORDS))]


@pytest.fixture(scope="session")
def faces():
    return find_faces(system_fonts=False)


@pytest.fixture(scope="session")
def few_words():
    return FewWords()
