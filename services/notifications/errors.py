"""The errors of notifications: one row each, a gRPC code and a stable reason."""

from google.rpc import code_pb2

from kit.errors import Reason

TEMPLATE_NOT_FOUND = Reason(
    code_pb2.NOT_FOUND, "TEMPLATE_NOT_FOUND", "no template of that name may be sent by hand through this channel"
)
VARIABLE_MISSING = Reason(
    code_pb2.INVALID_ARGUMENT, "VARIABLE_MISSING", "the template needs a variable that is not given, or is empty"
)
VARIABLE_UNKNOWN = Reason(
    code_pb2.INVALID_ARGUMENT, "VARIABLE_UNKNOWN", "the template has no such variable through this channel"
)
ADDRESS_INVALID = Reason(
    code_pb2.INVALID_ARGUMENT, "ADDRESS_INVALID", "`to` is no e-mail address, or no phone as E.164 has it"
)
NOTIFICATION_NOT_FOUND = Reason(
    code_pb2.NOT_FOUND, "NOTIFICATION_NOT_FOUND", "no such message; one with a code is forgotten after a week"
)
