"""Detokenizers: text from separate words."""

import re
from typing import Final

# Patterns and their replacements, applied in order: no rule sees the changes of a later one.
_RULES: Final = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(https?) : / / ", r"\1://"),
        (r" '(\w+)", r"'\1"),
        (r" (\w+) \. ", r" \1. "),
        (r" (\w+) \.$", r" \1."),
        *((rf" \{mark}{after}", f"{mark}{after.strip('$')}") for mark in "?!" for after in (" ", "$")),
        *((f" {mark} ", f"{mark} ") for mark in ",:;"),
        (" / ", "/"),
        (r'" ([^"]+) "', r'"\1"'),
        (r"' ([^']+) '", r"'\1'"),
        (r"\( ([^()]+) \)", r"(\1)"),
        (r"\[ ([^\[\]]+) \]", r"[\1]"),
        (r"([$£]) ", r"\1"),
    )
)


def lm1b_detokenized(text: str) -> str:
    """Join the tokens of a sentence of LM1B by the rules that SEDD, MDLM and UDLM share.

    Addresses, clitics ("it 's"), sentence and other punctuation, slashes, quotes, brackets, and the signs of dollar and
    pound, in this order (arXiv 2406.07524 and 2412.10193).
    """
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text
