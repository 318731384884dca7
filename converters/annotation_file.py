"""Annotation files: that they are there, and which version of them."""

import json
from pathlib import Path

from records.labelled_folder import BadLineError
from records.lmdb_file import DataError


def require_file(file: Path, contents: str) -> Path:
    """The file itself.

    Args:
        file: where it must be.
        contents: what it should hold, for the message.

    Raises:
        DataError: it is not there.

    """
    if not file.is_file():
        raise DataError(f"There is no file {file}, which has {contents}; check the path.")
    return file


def find_file(folder: Path, names: tuple[str, ...], option: str) -> Path:
    """The one file of a folder that has one of the names.

    Raises:
        DataError: none of them is there, or several.

    """
    found = [folder / name for name in names if (folder / name).is_file()]
    if len(found) == 1:
        return found[0]
    state = "several of" if found else "none of"
    raise DataError(
        f"The folder {folder} has {state} {', '.join(names)}; name the file with {option}."
    )


def fingerprint(file: Path) -> list[str | int]:
    """Name, size and time, which tell a job's annotation file from another one in its place."""
    status = file.stat()
    return [str(file), status.st_size, status.st_mtime_ns]


def parse_texts(line: str, *keys: str) -> dict:
    """The JSON object of a line, with texts under the keys.

    Raises:
        BadLineError: it is something else.

    """
    try:
        entry = parse_json(line)
    except ValueError as error:
        raise BadLineError(f"not JSON: {error}") from None
    if type(entry) is not dict or any(type(entry.get(key)) is not str for key in keys):
        named = " and ".join(f"`{key}`" for key in keys)
        raise BadLineError(f"no JSON object with the texts {named}: {line[:60]!r}")
    return entry


def parse_json(text: str | bytes) -> object:
    """What JSON holds.

    Raises:
        ValueError: not JSON, or nested too deeply.

    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
