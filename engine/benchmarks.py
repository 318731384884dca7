"""The benchmark sets of the field: folder names, image counts, and which make up a total."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Benchmark:
    """A test set: the name of its folder, and how many images it must have."""

    name: str
    images: int


EIGHT = (
    Benchmark("IIIT5k_3000", 3000),
    Benchmark("SVT", 647),
    Benchmark("IC13_857", 857),
    Benchmark("IC13_1015", 1015),
    Benchmark("IC15_1811", 1811),
    Benchmark("IC15_2077", 2077),
    Benchmark("SVTP", 645),
    Benchmark("CUTE80", 288),
)
# The reference's --fast_acc.
SIX = tuple(b for b in EIGHT if b.name not in ("IC13_1015", "IC15_2077"))
EXPECTED_IMAGES = {b.name: b.images for b in EIGHT}
