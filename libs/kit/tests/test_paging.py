"""Pages of a list, whatever it is ordered by."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import Error
from kit.paging import Page

KEYS = st.integers(-(2**63) + 1, 2**63 - 1)


def page(size=0, token="", keys=1):
    return Page(SimpleNamespace(page_size=size, page_token=token), keys=keys)


@given(st.sets(st.tuples(KEYS, KEYS), max_size=30), st.integers(1, 7))
def test_pages_show_every_row_once(rows, size):
    """Following the tokens to the end gives the list, in its order."""
    rows, shown, token = sorted(rows), [], ""
    while True:
        asked = page(size, token, keys=2)
        rest = [row for row in rows if asked.last is None or row > asked.last]
        some, token = asked.cut(rest[: asked.limit], key=lambda row: row)
        shown += some
        if not token:
            break
    assert rows == shown


@pytest.mark.parametrize(
    ("token", "keys"),
    [
        ("x", 1),
        ("1", 2),
        ("1.2", 1),
        ("1.", 2),
        ("01", 1),
        ("-0", 1),
        ("1 ", 1),
        ("１", 1),
        ("9" * 19, 1),
        ("1.2.3", 2),
    ],
)
def test_a_token_that_is_none_of_ours_is_refused(token, keys):
    """Also one that no database could compare with."""
    with pytest.raises(Error) as refused:
        page(token=token, keys=keys)
    assert ("INVALID_FIELD", "page_token") == (refused.value.reason, refused.value.fields[0][0])
