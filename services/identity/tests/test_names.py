"""Names, without a database."""

import pytest
from hypothesis import given as generated
from hypothesis import strategies as st

from identity import names
from kit.errors import Error


@pytest.mark.parametrize(
    ("typed", "stored"),
    [("", ""), (" Анна ", "Анна"), ("O'Neil", "O'Neil"), ("علی\u200cرضا", "علی\u200cرضا"), ("A: B / C", "A: B / C")],
)
def test_a_name_is_stored_so(typed, stored):
    """As it was typed, without the spaces around it."""
    assert stored == names.name(typed, field="first_name")


@pytest.mark.parametrize(
    "typed",
    [
        " ",
        "\u3000\u00a0",
        "\u200b\u2060",
        "\ue000",
        "a\nb",
        "a\x85",
        "\u2028Anna",
        "a\u2029b",
        "\u202eanna",
        "a\u2066b",
        "a\u200f",
        "see https://shop.example",
        "a：//b",
    ],
)
def test_what_is_no_name(typed):
    """Nothing to be seen, line breaks and controls, what turns the text around it, links: refused by the field."""
    with pytest.raises(Error) as caught:
        names.name(typed, field="last_name")
    assert "INVALID_FIELD" == caught.value.reason
    assert caught.value.message.startswith("last_name: ")


@generated(st.text(max_size=20))
def test_what_is_stored_is_a_name(text):
    """Whatever is typed: refused, or stored so that it is stored again as it is."""
    try:
        stored = names.name(text, field="first_name")
    except Error:
        return
    assert bool(text) == bool(stored)
    assert stored == names.name(stored, field="first_name")
