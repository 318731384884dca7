"""What an error of a library comes to, in a line."""


def cause_of(error: BaseException) -> str:
    """The first line of what an error says; its type, where it says nothing."""
    lines = str(error).split("\n")
    return next((line.strip() for line in lines if line.strip()), type(error).__name__)
