"""Messages of other libraries in one line."""


def first_line(error: Exception) -> str:
    """Return the first line of an error, or the name of its class if it has no message."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
