"""What an LMDB is for: training or evaluation, by its folder's name or by options."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from records.lmdb_file import DataError

TRAINING, EVALUATION = "training", "evaluation"
FOLDERS = {"training": TRAINING, "evaluation": EVALUATION, "validation": EVALUATION}


def find_purposes(
    lmdbs: Sequence[Path], named: Mapping[str, Sequence[str]]
) -> dict[Path, str | None]:
    """TRAINING, EVALUATION, or None where nothing says.

    A folder's name on the LMDB's path says it, the last one where there are several; what `named`
    says goes first.

    Args:
        lmdbs: folders of LMDBs.
        named: for TRAINING and EVALUATION, folders or names of folders.

    Raises:
        DataError: a name fits no LMDB, or both purposes fit one.

    """
    purposes = {path: _by_folder(path) for path in lmdbs}
    chosen: dict[Path, str] = {}
    for purpose, names in named.items():
        for name in names:
            fitting = [path for path in lmdbs if _lies_in(path, name)]
            if not fitting:
                raise DataError(
                    f"--{purpose} {name}: none of the {len(lmdbs):,} LMDBs lies there. Give a "
                    "folder that is among the data to check, or the name of one."
                )
            for path in fitting:
                if chosen.setdefault(path, purpose) != purpose:
                    raise DataError(
                        f"{path} would be for both, by --{chosen[path]} and by --{purpose} {name}; "
                        "name narrower folders."
                    )
    return purposes | chosen


def _by_folder(path: Path) -> str | None:
    return next((FOLDERS[part] for part in reversed(path.parts) if part in FOLDERS), None)


def _lies_in(path: Path, name: str) -> bool:
    folder = Path(name)
    if folder.is_dir() and path.resolve().is_relative_to(folder.resolve()):
        return True
    return name in path.parts
