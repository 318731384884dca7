"""Where weights are: a path, or the name of some that the repository ships.

Shipped weights are `assets/weights/<name>.safetensors`. Without a name, `DEFAULT` is meant or,
where that is not there, the only file.
"""

from pathlib import Path

from models.checkpoint_error import CheckpointError

SHIPPED = Path(__file__).resolve().parents[1] / "assets" / "weights"
DEFAULT = "acds_char_str_small"


def shipped_weights() -> dict[str, Path]:
    """Files of the shipped weights, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.safetensors"))}


def find_weights(name_or_path: str | Path | None) -> Path:
    """The file or folder that is meant; what exists at a path goes before a shipped name.

    Raises:
        CheckpointError: there is none; the message says what there is.

    """
    shipped = shipped_weights()
    if name_or_path is None:
        if DEFAULT not in shipped and len(shipped) != 1:
            found = f"several weights, and none is {DEFAULT}: {', '.join(shipped)}"
            raise CheckpointError(
                f"{SHIPPED} has {found if shipped else 'no weights'}; give Reader.load a name or "
                "a path, and a script --model_dir."
            )
        return shipped.get(DEFAULT) or next(iter(shipped.values()))
    path = Path(name_or_path)
    if path.exists():
        return path
    if str(name_or_path) in shipped:
        return shipped[str(name_or_path)]
    known = f"the shipped ones are {', '.join(shipped)}" if shipped else "none are shipped here"
    raise CheckpointError(
        f"There is no file or folder {name_or_path}, and no shipped weights of that name ({known})."
    )
