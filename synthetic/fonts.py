"""The font faces that can write 0-9, A-Z and a-z, found on this machine in a fixed order."""

import os
import string
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from fontTools.ttLib import TTCollection, TTFont
from PIL import ImageFont

REQUIRED = string.digits + string.ascii_uppercase + string.ascii_lowercase
SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")
ENTRY_POINT_GROUPS = ("fonts_ttf", "fonts_otf", "fonts_ttc")
PICTURE_FONTS = ("symbol", "dingbat", "emoji", "icon", "barcode", "braille", "wingding", "webding")
LATIN_PICTORIAL = 5  # PANOSE family type


class NoFontsError(RuntimeError):
    """No font file that covers 0-9A-Za-z was found."""


@dataclass(frozen=True)
class Face:
    """One style of one family in one file.

    Attributes:
        family: Typographic family, "Roboto".
        style: Style within it, "Bold Italic".
        path: The font file.
        index: Which font of a collection file; 0 in plain files.
        weight: 100 (thin) to 1000 (black), 400 being regular.
        italic: Slanted or cursive style.
        caps_only: Lower-case letters are drawn as capitals, so the case can't be seen.
        narrow: Mean advance of the small letters is below 0.38 em.
    """

    family: str
    style: str
    path: str
    index: int
    weight: int
    italic: bool
    caps_only: bool
    narrow: bool

    def open(self, size: int) -> ImageFont.FreeTypeFont:
        """The face at `size` pixels an em."""
        return _open(self.path, self.index, size)


def find_faces(
    extra_dirs: Iterable[str | Path] = (), system_fonts: bool = True, characters: str = REQUIRED
) -> list[Face]:
    """All usable faces, one per family and style, sorted by their names.

    Args:
        extra_dirs: Folders searched besides, with everything below them.
        system_fonts: Also search the system's font folders. Without them (and without extra
            folders) the result is that of the installed `font-*` packages: the same everywhere.
        characters: A face must be able to write all of them, each with ink.

    Raises:
        NoFontsError: Nothing usable, or an extra folder is missing.
    """
    folders = [Path(folder) for folder in extra_dirs]
    for folder in folders:
        if not folder.is_dir():
            raise NoFontsError(f"There is no font folder {folder}: check the path.")
    if system_fonts:
        folders += [folder for folder in system_folders() if folder.is_dir()]
    files = list(packaged_files())
    for folder in folders:
        files += sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)

    faces: dict[tuple[str, str], Face] = {}
    useful = []
    for path in files:
        found = read_faces(path, characters)
        useful += [path] if found else []
        for face in found:
            faces.setdefault((face.family.lower(), face.style.lower()), face)
    if not faces:
        places = ", ".join(str(folder) for folder in folders) or "no folders"
        raise NoFontsError(
            f"No font that covers {_named(characters)} was found: looked at the installed font-* "
            f"packages and in {places} ({len(files)} font files). "
            "Cure: pip install -r requirements.txt, or name a folder of .ttf or .otf files."
        )
    for folder in map(Path, extra_dirs):
        if not any(file.is_relative_to(folder) for file in useful):
            own = sum(file.is_relative_to(folder) for file in files)
            raise NoFontsError(
                f"None of the {own} font files in {folder} can write {_named(characters)}; "
                "name a folder with .ttf or .otf files of whole alphabets."
            )
    return [faces[name] for name in sorted(faces)]


def packaged_files() -> Iterator[Path]:
    """Font files of the installed PyPI font packages, in a fixed order.

    They are taken from the packages' file lists; none of their code is run.
    """
    packages = {}
    for group in ENTRY_POINT_GROUPS:
        for entry in metadata.entry_points(group=group):
            packages[entry.dist.name.lower()] = entry.dist
    for name in sorted(packages):
        files = packages[name].files or []
        for file in sorted(files, key=str):
            if file.suffix.lower() in SUFFIXES:
                yield Path(str(packages[name].locate_file(file)))


def system_folders() -> list[Path]:
    """Where this operating system keeps fonts; not all of them need exist."""
    try:
        homes = [Path.home()]
    except RuntimeError:  # a user without one, as in some containers
        homes = []
    if sys.platform == "win32":
        windows = Path(os.environ.get("WINDIR", "C:/Windows"))
        own = [Path(os.environ.get("LOCALAPPDATA", h / "AppData" / "Local")) for h in homes]
        return [windows / "Fonts", *(local / "Microsoft" / "Windows" / "Fonts" for local in own)]
    if sys.platform == "darwin":
        own = [home / "Library" / "Fonts" for home in homes]
        return [Path("/System/Library/Fonts"), Path("/Library/Fonts"), *own]
    return [
        Path("/usr/share/fonts"),
        Path("/usr/local/share/fonts"),
        *(home / ".fonts" for home in homes),
        *(home / ".local" / "share" / "fonts" for home in homes),
    ]


def _named(characters: str) -> str:
    others = sorted(set(characters) - set(REQUIRED))
    others = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in others)
    return "0-9A-Za-z" + (f" and {others[:60]}{'…' if len(others) > 60 else ''}" if others else "")


def read_faces(path: Path, characters: str = REQUIRED) -> list[Face]:
    """The usable faces of a font file; none for broken, symbol and partial fonts."""
    # Font files are found, not chosen: whatever a broken one makes its parser raise, skip it.
    try:
        if path.suffix.lower() in (".ttc", ".otc"):
            with TTCollection(str(path), lazy=True) as collection:
                found = [
                    _describe(font, path, i, characters) for i, font in enumerate(collection.fonts)
                ]
        else:
            with TTFont(str(path), lazy=True) as font:
                found = [_describe(font, path, 0, characters)]
    except Exception:
        return []
    return [face for face in found if face is not None]


def _open(path: str | Path, index: int, size: int) -> ImageFont.FreeTypeFont:
    """Basic layout: Raqm, the other one, isn't there on every machine."""
    basic = ImageFont.Layout.BASIC
    return ImageFont.truetype(str(path), size, index=index, layout_engine=basic)


def _describe(font: TTFont, path: Path, index: int, characters: str) -> Face | None:
    """The face of an opened font, or None where it can't write words."""
    glyph_names = font.getBestCmap() or {}
    if any(ord(char) not in glyph_names for char in characters):
        return None
    # "Last resort" fonts cover everything with one and the same glyph.
    if len({glyph_names[ord(char)] for char in REQUIRED}) < len(string.ascii_uppercase) + 10:
        return None
    names = font["name"]
    family = names.getDebugName(16) or names.getDebugName(1) or path.stem
    style = names.getDebugName(17) or names.getDebugName(2) or "Regular"
    os2 = font["OS/2"]
    if os2.panose.bFamilyType == LATIN_PICTORIAL:
        return None
    if any(word in family.lower() for word in PICTURE_FONTS):
        return None
    opened = _open(path, index, 64)
    boxes = {char: opened.getbbox(char, anchor="ls") for char in characters}
    if any(box[2] <= box[0] or box[3] <= box[1] for box in boxes.values()):
        return None
    descent = sum(boxes[char][3] for char in "gpy") / 3
    small = string.ascii_lowercase
    return Face(
        family=family.strip(),
        style=style.strip(),
        path=str(path),
        index=index,
        weight=int(os2.usWeightClass),
        italic=bool(os2.fsSelection & 1) or font["post"].italicAngle != 0,
        caps_only=descent < 0.08 * -boxes["H"][1],
        narrow=sum(map(opened.getlength, small)) < 0.38 * 64 * len(small),
    )
