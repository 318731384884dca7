"""The parser of the scripts' options: @FILEs of options, and words for what is not known."""

import argparse
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn


class OptionParser(argparse.ArgumentParser):
    """A parser of options as they are written, in full, on the command line or in @FILEs.

    Args:
        script: the file that is run.
        description: what it does.
        explain: words for arguments that are not known.

    """

    def __init__(self, script: str, description: str, explain: Callable[[list[str]], str]):
        super().__init__(
            prog=script,
            description=description,
            allow_abbrev=False,
            epilog="@FILE, a path from the current folder, stands for the options in that text "
            "file; # begins a remark.",
        )
        self._explain = explain

    def parse_known_args(self, args=None, namespace=None):
        """As argparse does, with the options of @files in their place."""
        self._given = self._in_full(sys.argv[1:] if args is None else args)
        return super().parse_known_args(self._given, namespace)

    def _in_full(self, arguments: Sequence[str], within: tuple[str, ...] = ()) -> list[str]:
        found = []
        for argument in arguments:
            file = argument.removeprefix("@")
            if file == argument:
                found.append(argument)
                continue
            if file in within:
                self.error(f"the file of @{file} names itself, directly or by way of others.")
            if Path(file).suffix in (".json", ".yaml", ".yml"):
                form = "JSON" if file.endswith(".json") else "YAML"
                self.error(f"@{file} must hold options as on the command line, not {form}.")
            try:
                # Notepad begins a file with a mark.
                lines = Path(file).read_text(encoding="utf-8-sig").splitlines()
            except (OSError, ValueError) as error:
                self.error(f"the file of @{file} can't be read: {error}")
            for number, line in enumerate(lines, start=1):
                try:
                    words = shlex.split(_without_remark(line))
                except ValueError as error:
                    self.error(f"line {number} of {file}: {error}: {line.strip()}")
                found += self._in_full(words, (*within, file))
        return found

    def error(self, message: str) -> NoReturn:
        """End with a message; an option that is not known goes before one that is missing."""
        if "required" in message:
            names = (a.split("=")[0] for a in self._given if re.match("--?[A-Za-z]", a))
            unknown = [name for name in names if name not in self._option_string_actions]
            if unknown:
                message = f"unrecognized arguments: {unknown[0]}"
        if message.startswith("unrecognized arguments: "):
            message = self._explain(message.removeprefix("unrecognized arguments: ").split())
        super().error(message)


def _without_remark(line: str) -> str:
    """A line up to a `#` that begins a word; within one, or in quotes, it is a character."""
    quote = ""
    for place, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "#" and (place == 0 or line[place - 1].isspace()):
            return line[:place]
    return line
