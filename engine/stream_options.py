"""The options of a rendered stream of words, the same in every script that renders."""

from argparse import Namespace, _ArgumentGroup
from pathlib import Path

from console.argument_types import share_or_none
from synthetic import LEVELS, StreamSettings


def add_stream_options(group: _ArgumentGroup, level: str, prefix: str = "") -> None:
    """Add the options.

    Args:
        group: of a parser.
        level: the default one.
        prefix: of their names.

    """
    group.add_argument(
        f"--{prefix}level",
        choices=LEVELS,
        default=level,
        help=f"how hard the images are to read (default: {level})",
    )
    group.add_argument(
        f"--{prefix}words",
        metavar="WORDS",
        help="what is written: easy, vocabulary, or a UTF-8 file with one word per line (default: "
        "easy words for the easy level, else vocabulary)",
    )
    group.add_argument(
        f"--{prefix}fonts",
        action="append",
        default=[],
        metavar="DIR",
        type=Path,
        help="folder with more .ttf and .otf files; may be repeated (default: none)",
    )
    group.add_argument(
        f"--{prefix}packaged_fonts_only",
        action="store_true",
        help="leave out the system's fonts: the same images on every machine (default: off)",
    )
    for name, text in (
        ("curved", "on an arc or a wave (of those that are wide enough to bend)"),
        ("perspective", "seen at an angle"),
        ("occluded", "with a part hidden"),
    ):
        group.add_argument(
            f"--{prefix}{name}",
            type=share_or_none,
            metavar="SHARE",
            help=f"share of words {text}, 0 to 1 (default: the level's, "
            + ", ".join(f"{key} {getattr(look, name):g}" for key, look in LEVELS.items())
            + ")",
        )


def stream_settings(options: Namespace, prefix: str = "") -> StreamSettings:
    """What the options say."""
    names = (
        "level",
        "words",
        "packaged_fonts_only",
        "curved",
        "perspective",
        "occluded",
    )
    values = {name: getattr(options, prefix + name) for name in names}
    return StreamSettings(fonts=tuple(getattr(options, f"{prefix}fonts")), **values)
