"""The benchmark sets of the field: folder names, image counts, and which make up a total."""

from collections.abc import Collection
from pathlib import Path

# Images that each must have, by the name of its folder.
_EIGHT_IMAGES = {
    "IIIT5k_3000": 3000,
    "SVT": 647,
    "IC13_857": 857,
    "IC13_1015": 1015,
    "IC15_1811": 1811,
    "IC15_2077": 2077,
    "SVTP": 645,
    "CUTE80": 288,
}
EIGHT = tuple(_EIGHT_IMAGES)
# The reference's --fast_acc.
SIX = tuple(name for name in EIGHT if name not in ("IC13_1015", "IC15_2077"))
LARGE = ("ArT", "COCO", "Uber")
UNION14M = tuple(
    f"Union14M-Benchmark/{part}"
    for part in (
        "curve",
        "multi_oriented",
        "artistic",
        "contextless",
        "salient",
        "multi_words",
        "general",
    )
)
OST = ("OST/weak", "OST/heavy")
# What is summed up, in the order of the tables.
TOTALS = (
    ("six sets", SIX),
    ("eight sets", EIGHT),
    ("ArT, COCO, Uber", LARGE),
    ("Union14M-Benchmark", UNION14M),
    ("OST", OST),
)
# The IC03 sets are in no total: older papers report them.
EXPECTED_IMAGES = _EIGHT_IMAGES | {"IC03_860": 860, "IC03_867": 867}
# Of the training sets, as the field's LMDBs have them.
TRAINING_IMAGES = {"MJ_train": 7_224_586, "MJ_valid": 802_731, "MJ_test": 891_924}
# All images of the first are in the second.
_PART_OF = {
    "IC13_857": "IC13_1015",
    "IC13_1015": "IC13_1095",
    "IC15_1811": "IC15_2077",
    "IC03_860": "IC03_867",
}
# Benchmarks of several LMDBs: those are called by their paths below the benchmark's folder.
_OF_PARTS = {
    "union14mbenchmark": "Union14M-Benchmark",
    "union14mbenchmarks": "Union14M-Benchmark",
    "u14m": "Union14M-Benchmark",
    "ost": "OST",
}
# Other names that folders go by.
_ALSO_CALLED = {
    "iiit5k": "IIIT5k_3000",
    "cocov1.4": "COCO",
    "coco_text": "COCO",
    "uber_text": "Uber",
    "wordart_test": "WordArt",
    # In the reference's lists for ACDS-STR.
    "ic131095": "IC13_1015",
    "ic152077": "IC15_2077",
}


def benchmark_name(path: Path) -> str | None:
    """Name of the benchmark whose folder a path leads to.

    None where the folder has that name already, or is no benchmark's.
    """
    for depth, part in enumerate(path.parts):
        whole = _OF_PARTS.get(part.lower().replace("-", "").replace("_", ""))
        if whole:
            below = path.parts[depth + 1 :]
            return "/".join([whole, *(p.lower().replace("-", "_") for p in below)])
    return _ALSO_CALLED.get(path.name.lower())


def lies_in_another(name: str, names: Collection[str]) -> bool:
    """Whether all images of a benchmark are in another one of those named."""
    whole = _PART_OF.get(name)
    return whole is not None and (whole in names or lies_in_another(whole, names))
