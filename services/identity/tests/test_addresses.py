"""E-mail addresses and phones, without a database."""

import re

import pytest
from hypothesis import given as generated
from hypothesis import strategies as st

from identity import addresses, search
from kit.errors import Error

# What notifications takes from a contact, and the table of users.
SENDABLE = re.compile(r"(?!.*=\?)[^\s@<>()\[\],;:\\\"\x00-\x1f\x7f]{1,64}@[^\s@<>()\[\],;:\\\"\x00-\x1f\x7f]{1,189}")
E164 = re.compile(r"\+[1-9][0-9]{6,14}")


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("Anna.L+shop@EXAMPLE.com", "Anna.L+shop@example.com"),
        (" anna@example.com\t\u00a0", "anna@example.com"),
        ("o'neil@shop.example", "o'neil@shop.example"),
        ("anna@пример.рф", "anna@xn--e1afmkfd.xn--p1ai"),
        ("anna@xn--e1afmkfd.xn--p1ai", "anna@xn--e1afmkfd.xn--p1ai"),
    ],
)
def test_an_email_is_stored_so(typed, stored):
    """Its domain in lower case and in ASCII; the local part as it was typed."""
    assert stored == addresses.email(typed)


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("+7 900 123-45-67", "+79001234567"),
        ("\u2003+7 900 123-45-67\r\n", "+79001234567"),
        ("8 (900) 123-45-67", "+79001234567"),
        ("9001234567", "+79001234567"),
        ("+79000000001", "+79000000001"),
        ("+1 555 123 4567", "+15551234567"),  # possible, and in no range that is in use
        ("+49 30 901820", "+4930901820"),
        ("tel:+7-900-123-45-67", "+79001234567"),
    ],
)
def test_a_phone_is_stored_so(typed, stored):
    """E.164; Russian where it names no country."""
    assert stored == addresses.phone(typed)


_PARTS = st.sampled_from(
    [
        "anna",
        "@",
        ".",
        "example",
        "com",
        "=?",
        "ё",
        "рф",
        "\x00",
        "\n",
        " ",
        '"',
        "[",
        "1",
        "+7",
        "900",
        ";ext=5",
        "e" * 90,
    ]
)


@generated(st.one_of(st.text(max_size=40), st.lists(_PARTS, max_size=8).map("".join), st.emails()))
def test_what_is_taken_can_be_sent_to(text):
    """Whatever is typed: refused by name without being quoted, or stored in a form that notifications takes too."""
    for normalise, form in ((addresses.email, SENDABLE), (addresses.phone, E164)):
        stored, refusal = "", ""
        try:
            stored = normalise(text)
        except Error as error:
            refusal = str(error)
        if stored:
            assert form.fullmatch(stored)
            assert stored == normalise(stored)
        else:
            refusals = ("INVALID_FIELD: email: not an e-mail address", "INVALID_FIELD: phone: not a phone number")
            assert refusal in refusals


@generated(st.text(max_size=30), st.text(max_size=30))
def test_every_word_finds_its_person(first_name, last_name):
    """A search for a name as it was typed asks for words that the account has."""
    found_by = search.words(first_name, last_name, "", "+79001234567")
    asked = search._folded(f"{first_name} {last_name}").split()
    assert all(any(word.startswith(one) for word in found_by) for one in asked)
