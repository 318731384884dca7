"""MATLAB files, one variable at a time."""

from pathlib import Path

import numpy as np
import scipy.io

from converters.annotation_file import require_file
from records.lmdb_file import DataError


class MatlabFile:
    """A `.mat` file of version 7 or before.

    Args:
        path: the file.
        names: the variables that it must have.

    Raises:
        DataError: no such file, none of this format, or variables are missing.

    """

    def __init__(self, path: Path, names: tuple[str, ...]):
        self.path = require_file(path, f"the MATLAB variables {', '.join(names)}")
        found = [name for name, _, _ in self._read(scipy.io.whosmat)]
        missing = [name for name in names if name not in found]
        if missing:
            raise DataError(
                f"{path} lacks the variables {', '.join(missing)}; it has "
                f"{', '.join(found) or 'none'}. Is it the file of another set?"
            )

    def cells(self, name: str) -> np.ndarray:
        """A cell array as an object array [N] of what the cells hold, mostly arrays.

        Raises:
            DataError: damaged, or no cell array.

        """
        variable = self._variable(name, squeeze_me=False)
        if variable.dtype != object:
            raise DataError(f"{name} of {self.path} is no cell array; is it the right file?")
        return variable.ravel()

    def structs(self, name: str, fields: tuple[str, ...]) -> list[tuple]:
        """The fields of each element of an array of structures, without superfluous axes.

        Raises:
            DataError: damaged, or no such array.

        """
        elements = np.atleast_1d(self._variable(name, squeeze_me=True)).ravel()
        found = elements.dtype.names or ()
        if not set(fields) <= set(found):
            raise DataError(
                f"{name} of {self.path} is no array of structures with the fields "
                f"{', '.join(fields)}; it has {', '.join(found) or 'none'}."
            )
        return [tuple(element[field] for field in fields) for element in elements]

    def _variable(self, name: str, squeeze_me: bool) -> np.ndarray:
        return np.asarray(
            self._read(scipy.io.loadmat, variable_names=[name], squeeze_me=squeeze_me)[name]
        )

    def _read(self, function, **options):
        try:
            return function(str(self.path), **options)
        except NotImplementedError:  # what SciPy says of HDF5
            raise DataError(
                f"{self.path} is a MATLAB file of version 7.3 (HDF5), which can't be read here. "
                "Save its variables in MATLAB again with `save(..., '-v7')`."
            ) from None
        # SciPy raises nearly anything on damaged data, MemoryError and OSError among it.
        except Exception as error:
            raise DataError(
                f"{self.path} can't be read as a MATLAB file ({type(error).__name__}: {error}). "
                "Copy or unpack it again."
            ) from None


def texts_in(cell: object) -> list[str]:
    """The strings that a cell holds: a character array, or a cell array of such."""
    if isinstance(cell, np.ndarray) and cell.dtype == object:
        return [text for inner in cell.flat for text in _strings(inner)]
    return _strings(cell)


def _strings(array: object) -> list[str]:
    is_text = isinstance(array, np.ndarray) and array.dtype.kind == "U"
    return array.ravel().tolist() if is_text else []
