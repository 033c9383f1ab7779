"""Text for terminals and pipes whose encoding lacks some of our characters: `+-` for `±`, never a traceback."""

from __future__ import annotations

import codecs
import io
import unicodedata
from typing import TextIO

NAME = "softmoe-bench"
"""What this way of spelling is called among Python's error handlers."""

SPELT = {
    "±": "+-", "×": "x", "·": "*", "µ": "u", "–": "-", "—": "-", "−": "-", "…": "...", "→": "->", "≤": "<=", "≥": ">=",
    "“": '"', "”": '"', "‘": "'", "’": "'",
}  # fmt: skip


def adapt(stream: TextIO) -> None:
    """Lets a stream write every text; one that has every character stays as it is."""
    if isinstance(stream, io.TextIOWrapper) and not stream.encoding.lower().startswith("utf"):
        stream.reconfigure(errors=NAME)


def spell(text: str, encoding: str) -> str:
    """Returns a text as a stream of this encoding writes it, so that its width is known before."""
    return text.encode(encoding, errors=NAME).decode(encoding)


def _replace(error: UnicodeError) -> tuple[str, int]:
    """Returns what stands for characters that an encoding lacks: a spelling, the letter without its accent, or `?`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_letter, error.object[error.start : error.end])), error.end


def _letter(letter: str) -> str:
    """Returns what stands for one character."""
    bare = unicodedata.normalize("NFKD", letter).encode("ascii", errors="ignore").decode("ascii")
    return SPELT.get(letter) or bare or "?"


codecs.register_error(NAME, _replace)
