"""The words that people are found by, and those that are asked for. Pure."""

import itertools
import re
import unicodedata

from identity import addresses

DIGITS_MIN = 3  # of a phone without its country's code


def vector(first_name: str, last_name: str, email: str, phone: str) -> str:
    """The words of a person as a tsvector: `'7900…' 'ann' 'ann-mary' 'mary'`."""
    return " ".join(map(_lexeme, words(first_name, last_name, email, phone)))


def words(first_name: str, last_name: str, email: str, phone: str) -> list[str]:
    """What a person is found by: each word of the names, those of a double name also, the address, the digits."""
    names = _folded(f"{first_name} {last_name}")
    written = _folded(addresses.readable(email)) if "xn--" in email.lower() else ""
    found_by = {*names.split(), *re.split(r"[\s-]+", names), email.lower(), written, phone.removeprefix("+")}
    return sorted(found_by - {""})


def prefixes(query: str) -> str | None:
    """The tsquery `('ann':*) & ('+7(900)':* | '7900':*)` of `Ann +7 (900)`; None where nothing is asked for."""
    asked: list[list[str]] = []
    # Neighbours of digits and their marks are one phone; a lone + is a word like others.
    for is_phone, words in itertools.groupby(_folded(query).split(), key=lambda word: bool(_digits(word))):
        if is_phone:
            asked.append(_phones("".join(words)))
        else:
            asked += ([word] for word in words)
    return " & ".join(map(_any_of, asked)) or None


def _phones(typed: str) -> list[str]:
    """What may be meant: a word as it is, a phone's digits; a Russian one may lack the 7, or have an 8 for it."""
    digits = _digits(typed)
    meant = [typed, digits]
    if "+" not in typed and len(digits) >= DIGITS_MIN:
        meant += [f"7{digits}", *([f"7{digits[1:]}"] if digits.startswith("8") else [])]
    return list(dict.fromkeys(meant))


def _any_of(words: list[str]) -> str:
    return f"({' | '.join(f'{_lexeme(word)}:*' for word in words)})"


def user_id(query: str) -> int | None:
    """The id that a query is, if it can be one."""
    return int(query) if re.fullmatch(r"[1-9][0-9]{0,17}", query.strip()) else None


def _lexeme(word: str) -> str:
    """A word as tsquery and tsvector take it from text."""
    return "'" + word.replace("\\", "\\\\").replace("'", "''") + "'"


def _folded(text: str) -> str:
    # ё is written е as often as not.
    return unicodedata.normalize("NFKC", text).casefold().replace("ё", "е")


def _digits(word: str) -> str:
    return re.sub(r"\D", "", word) if re.fullmatch(r"[+()\d.-]+", word, re.ASCII) else ""
