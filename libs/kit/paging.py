"""Pages of a list, the newest first: requests have page_size and page_token, keys are rising ids."""

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from kit.errors import INVALID_FIELD

T = TypeVar("T")
SIZE_DEFAULT = 50


class Page:
    """The page that a request asks for.

    Raises:
        Error: INVALID_FIELD, the token is none of ours.
    """

    def __init__(self, request: Any):
        self.size = request.page_size or SIZE_DEFAULT
        self.limit = self.size + 1  # one more tells whether there is a next page
        self.before: int | None = None
        if request.page_token:
            if not re.fullmatch(r"[1-9][0-9]{0,18}", request.page_token) or int(request.page_token) >= 2**63:
                raise INVALID_FIELD("page_token: not one that we gave", field="page_token")
            self.before = int(request.page_token)

    def cut(self, rows: Sequence[T], *, key: Callable[[T], int]) -> tuple[Sequence[T], str]:
        """What of at most `limit` rows goes on this page, and the token of the next one, empty where none is."""
        shown = rows[: self.size]
        return shown, str(key(shown[-1])) if len(rows) > self.size else ""
