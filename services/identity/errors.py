"""The errors of identity: one row each, a gRPC code and a stable reason."""

from google.rpc import code_pb2

from kit.errors import Reason

USER_EXISTS = Reason(
    code_pb2.ALREADY_EXISTS, "USER_EXISTS", "an account has this address or phone; BadRequest names which"
)
USER_NOT_FOUND = Reason(code_pb2.NOT_FOUND, "USER_NOT_FOUND", "no such account, or `id` is another's")
NOT_ON_YOURSELF = Reason(
    code_pb2.FAILED_PRECONDITION, "NOT_ON_YOURSELF", "nobody disables or enables themselves, or changes their own roles"
)
CREDENTIALS_INVALID = Reason(code_pb2.UNAUTHENTICATED, "CREDENTIALS_INVALID", "login or password is wrong")
ACCOUNT_DISABLED = Reason(
    code_pb2.PERMISSION_DENIED, "ACCOUNT_DISABLED", "the password is right, the account is disabled"
)  # told after the right password only
PASSWORD_WRONG = Reason(code_pb2.INVALID_ARGUMENT, "PASSWORD_WRONG", "the current password is another")
PASSWORD_TOO_COMMON = Reason(
    code_pb2.INVALID_ARGUMENT, "PASSWORD_TOO_COMMON", "the password is on lists, or is the person's own name or address"
)
CODE_INVALID = Reason(code_pb2.INVALID_ARGUMENT, "CODE_INVALID", "the code is wrong, used or too old")
RESET_TOKEN_INVALID = Reason(code_pb2.INVALID_ARGUMENT, "RESET_TOKEN_INVALID", "the token is wrong, used or too old")
REFRESH_TOKEN_INVALID = Reason(
    code_pb2.UNAUTHENTICATED,
    "REFRESH_TOKEN_INVALID",
    "the refresh token is none, used or too old, or its session has ended",
)
SESSION_ENDED = Reason(code_pb2.UNAUTHENTICATED, "SESSION_ENDED", "the access token's session has ended: sign in again")
SESSION_NOT_FOUND = Reason(code_pb2.NOT_FOUND, "SESSION_NOT_FOUND", "the caller has no such open session")
TOO_MANY_TRIES = Reason(
    code_pb2.RESOURCE_EXHAUSTED,
    "TOO_MANY_TRIES",
    "a limit is reached; RetryInfo says how long to wait, in whole minutes",
)  # always with retry_after_s
