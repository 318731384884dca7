"""Image augmentation for word images: eight groups of operations, and how they are composed.

    >>> from augmentation import OPERATIONS, Augmenter
    >>> augment = Augmenter(seed=1)
    >>> image, core_area = augment(image, core_area, epoch=0, sample=17)

``python3 -m augmentation.sheet OUT.png`` draws every operation at every magnitude.
"""

from .augmenter import GROUPS, MODES, OPERATIONS, Augmenter

__all__ = ["GROUPS", "MODES", "OPERATIONS", "Augmenter"]
