"""The errors of catalog: one row each, a gRPC code and a stable reason."""

from google.rpc import code_pb2

from kit.errors import Reason

PRODUCT_NOT_FOUND = Reason(code_pb2.NOT_FOUND, "PRODUCT_NOT_FOUND", "no such product, or not on sale")
TOKEN_INVALID = Reason(
    code_pb2.UNAUTHENTICATED, "TOKEN_INVALID", "the token is wrong or missing, where one is configured"
)
STALE_VERSION = Reason(
    code_pb2.ABORTED, "STALE_VERSION", "the product is not at the version that the caller saw: read it again"
)
