"""What schemathesis learns of this shop: whose token its calls carry, what is there, which refusals are right.

Its command loads it by SCHEMATHESIS_HOOKS, in a process of its own.
"""

import atexit
import json
import os
from collections import Counter, defaultdict
from pathlib import Path

import schemathesis
from hypothesis import strategies as st
from schemathesis import AuthContext, Case, CheckContext, HookContext, Response

# A file with an access token, which is exchanged while it runs; not set: the calls carry none of ours.
TOKEN_FILE = "ABACUS_TOKEN_FILE"
# A file that gets, at the end, how often each operation gave each status: {"GET /api/v1/cart": {"200": 5}}.
STATUSES_FILE = "ABACUS_STATUSES_FILE"

# Refusals that say: this is not what the document describes.
NOT_AS_DESCRIBED = {"INVALID_FIELD", "MALFORMED_REQUEST"}
# Fields with rules that no schema can say, by their last names.
BEYOND_SCHEMAS = {"pageToken", "email", "phone", "firstName", "lastName"}
# From where ids rise, by the names of variables of paths.
FIRST_IDS = {"orderId": 1, "reservationId": 1, "notificationId": 1, "userId": 1, "productId": 1001, "sku": 1001}
IDS = 20  # that are likely to be there

# Real enough to reach what lies behind the check of their form.
schemathesis.openapi.format("email", st.from_regex(r"[a-z]{1,20}[0-9]{0,5}@mail\.example", fullmatch=True))
schemathesis.openapi.format("phone", st.from_regex(r"\+7900[0-9]{7}", fullmatch=True))

if TOKEN_FILE in os.environ:

    @schemathesis.auth(refresh_interval=5)
    class Token:
        """The token in the file."""

        def get(self, case: Case, context: AuthContext) -> str:
            return Path(os.environ[TOKEN_FILE]).read_text()

        def set(self, case: Case, data: str, context: AuthContext) -> None:
            case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: object) -> None:
    """Of the ids that are valid, take those that are there: of 64 bits no other would be met by chance.

    Likewise of users: every second one is the caller.
    """
    if case.meta is not None and case.meta.generation.mode.is_positive:
        for name, first in FIRST_IDS.items():
            if name in case.path_parameters:
                given = int(case.path_parameters[name])
                case.path_parameters[name] = first + (given - first) % IDS
        if case.query and int(case.query.get("user") or 1) % 2 == 0:
            del case.query["user"]


@schemathesis.check
def valid_input_is_understood(ctx: CheckContext, response: Response, case: Case) -> bool | None:
    """Input that the document allows is refused for what it means, if at all, and not for its form.

    The reason is one of those that the document names for this operation: that response_schema_conformance checks.
    """
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code != 400:
        return None
    details = response.json()["details"]
    if not {detail.get("reason") for detail in details} & NOT_AS_DESCRIBED:
        return None
    fields = {one["field"].rpartition(".")[2] for detail in details for one in detail.get("fieldViolations", [])}
    assert fields, f"valid input was refused: {response.text}"
    assert fields <= BEYOND_SCHEMAS, f"valid input was refused: {response.text}"
    return None


if STATUSES_FILE in os.environ:
    statuses: dict[str, Counter[int]] = defaultdict(Counter)

    @schemathesis.hook
    def after_call(context: HookContext, case: Case, response: Response) -> None:
        """Count."""
        statuses[case.operation.label][response.status_code] += 1

    atexit.register(lambda: Path(os.environ[STATUSES_FILE]).write_text(json.dumps(statuses)))
