"""The reader through torch.hub, from a local clone.

>>> reader = torch.hub.load("path/to/the/clone", "reader", "best_accuracy.pth", source="local")
>>> reader("word.jpg").text
"""

import sys
from importlib import import_module
from pathlib import Path

dependencies = ["numpy", "PIL", "safetensors", "tokenizers", "torch"]

_ROOT = Path(__file__).resolve().parent
_OWN = ("console", "loading", "models", "modules", "reading", "system", "text")
# torch.hub takes this folder off the path when it is done: what is imported later than the rest,
# only when a model needs it, is imported now.
_LATE = ("models.checkpoint", "reading.torch_recognition")


def _import_all() -> None:
    # What is there already is looked at first: what is imported then would take it for its own.
    for name in sorted(_OWN, key=lambda name: name not in sys.modules):
        module = sys.modules.get(name) or import_module(name)
        file = getattr(module, "__file__", None)
        if file is None or _ROOT not in Path(file).resolve().parents:
            raise ImportError(
                f"Another project's module `{name}` ({file or module}) is imported already, and "
                f"hides the one in {_ROOT}; load the reader in a process of its own."
            )
    for name in _LATE:
        import_module(name)


_import_all()


def reader(name_or_path: str | None = None, **settings):
    """A `Reader` of weights in any form.

    Args:
        name_or_path: a file or folder, or the name of shipped weights; None for their default.
        settings: the other arguments of `reading.Reader.load`.

    """
    return sys.modules["reading"].Reader.load(name_or_path, **settings)
