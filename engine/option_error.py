"""What is said of options that can't be meant."""


class OptionError(ValueError):
    """Options that contradict each other or a checkpoint."""
