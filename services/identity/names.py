"""Names of people as they are stored. Pure."""

import unicodedata

from kit.errors import INVALID_FIELD

# What turns the direction of the text around it, in a message or an administrator's list.
_BIDI = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_BREAKS = {"Cc", "Zl", "Zp"}  # categories: controls, separators of lines and of paragraphs


def name(text: str, *, field: str) -> str:
    """A name without the spaces around it; an empty one is none.

    Names go into messages that we send: `://` would make them somebody's advertisement. Joiners between letters stay,
    some scripts need them.

    Raises:
        Error: INVALID_FIELD.
    """
    kinds = {unicodedata.category(letter) for letter in text}
    if text and all(kind[0] in "CZ" for kind in kinds):
        raise INVALID_FIELD(f"{field}: has nothing that can be seen", field=field)
    if kinds & _BREAKS or _BIDI & set(text):
        raise INVALID_FIELD(f"{field}: has controls or line breaks", field=field)
    if "://" in unicodedata.normalize("NFKC", text):
        raise INVALID_FIELD(f"{field}: not a name", field=field)
    return text.strip()
