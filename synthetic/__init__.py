"""Rendered word images: seeded, endless, with a box for every character.

`Renderer(level, words, fonts, seed).sample(i)` is a pure function of (seed, i), so a stream can be
cut, shuffled, resumed and spread over workers at will. Imports nothing else of the project but
`parallel`.

>>> from synthetic import Renderer
>>> word = Renderer("easy", seed=1).sample(0)
>>> word.image.shape, word.text, word.boxes[0]
"""

from synthetic.fonts import Face, NoFontsError, find_faces
from synthetic.levels import LEVELS, Look
from synthetic.renderer import RenderedWord, Renderer
from synthetic.settings import StreamSettings
from synthetic.words import EASY_WORDS, EasyWords, VocabularyWords

__all__ = [
    "EASY_WORDS",
    "LEVELS",
    "EasyWords",
    "Face",
    "Look",
    "NoFontsError",
    "RenderedWord",
    "Renderer",
    "StreamSettings",
    "VocabularyWords",
    "find_faces",
]
