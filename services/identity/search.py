"""The words that people are found by, and those that are asked for. Pure."""

import re
import unicodedata


def vector(first_name: str, last_name: str, email: str, phone: str) -> str:
    """The words of a person as a tsvector: `'7900…' 'ann' 'ann-mary' 'mary'`."""
    return " ".join(map(_lexeme, words(first_name, last_name, email, phone)))


def words(first_name: str, last_name: str, email: str, phone: str) -> list[str]:
    """What a person is found by: each word of the names, those of a double name also, the address, the digits."""
    names = _folded(f"{first_name} {last_name}")
    return sorted({*names.split(), *re.split(r"[\s-]+", names), email.lower(), phone.removeprefix("+")} - {""})


def prefixes(query: str) -> str | None:
    """The tsquery `'ann':* & '7900':*` of `Ann +7-900`; None where nothing is asked for."""
    # A phone may be written with its marks; a lone + is a word like others.
    asked = [_digits(word) or word for word in _folded(query).split()]
    return " & ".join(f"{_lexeme(word)}:*" for word in asked) or None


def user_id(query: str) -> int | None:
    """The id that a query is, if it can be one."""
    return int(query) if re.fullmatch(r"[1-9][0-9]{0,17}", query.strip()) else None


def _lexeme(word: str) -> str:
    """A word as tsquery and tsvector take it from text."""
    return "'" + word.replace("\\", "\\\\").replace("'", "''") + "'"


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _digits(word: str) -> str:
    return re.sub(r"\D", "", word) if re.fullmatch(r"[+()\d-]+", word, re.ASCII) else ""
