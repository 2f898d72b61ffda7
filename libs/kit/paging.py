"""Pages of a list: requests have page_size and page_token.

A token is the keys of the last row shown, by which the list is ordered: what is added or taken away meanwhile shifts no
page.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from kit.errors import INVALID_FIELD

T = TypeVar("T")
SIZE_DEFAULT = 50
_NUMBER = "(?:0|-?[1-9][0-9]{0,18})"


class Page:
    """The page that a request asks for.

    Args:
        request: has page_size and page_token.
        keys: how many numbers a list is ordered by.

    Raises:
        Error: INVALID_FIELD, the token is none of ours.
    """

    def __init__(self, request: Any, *, keys: int = 1):
        self.size = request.page_size or SIZE_DEFAULT
        self.limit = self.size + 1  # one more tells whether there is a next page
        self.last: tuple[int, ...] | None = None  # the keys of the last row of the page before
        if request.page_token:
            if re.fullmatch(rf"{_NUMBER}(\.{_NUMBER}){{{keys - 1}}}", request.page_token):
                self.last = tuple(map(int, request.page_token.split(".")))
            if self.last is None or any(abs(key) >= 2**63 for key in self.last):
                raise INVALID_FIELD("page_token: not one that we gave", field="page_token")

    @property
    def last_id(self) -> int | None:
        """The id of the last row of the page before, where a list is ordered by ids alone."""
        return self.last[0] if self.last else None

    def cut(self, rows: Sequence[T], *, key: Callable[[T], int | tuple[int, ...]]) -> tuple[Sequence[T], str]:
        """What of at most `limit` rows goes on this page, and the token of the next one, empty where none is."""
        shown = rows[: self.size]
        if len(rows) <= self.size:
            return shown, ""
        last = key(shown[-1])
        return shown, ".".join(map(str, last if isinstance(last, tuple) else (last,)))
