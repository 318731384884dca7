"""The error of every form that weights are kept in; known without torch."""


class CheckpointError(ValueError):
    """A file that is no checkpoint, is damaged, or does not fit; the message says which."""
