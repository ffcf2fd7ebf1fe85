"""Command lines of options."""

from argparse import ArgumentParser
from typing import NoReturn


class OneLineParser(ArgumentParser):
    """Parser that reports an error in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Print the message, and exit with 2."""
        self.exit(2, f"{self.prog}: {message[:1].upper()}{message[1:]}: see `--help`.\n")
