from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor
ACCESS_FIELD_NUMBER: _ClassVar[int]
access: _descriptor.FieldDescriptor
SERVICES_ONLY_FIELD_NUMBER: _ClassVar[int]
services_only: _descriptor.FieldDescriptor

class Access(_message.Message):
    __slots__ = ("public", "user", "owner", "admin", "services")
    PUBLIC_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    ADMIN_FIELD_NUMBER: _ClassVar[int]
    SERVICES_FIELD_NUMBER: _ClassVar[int]
    public: bool
    user: bool
    owner: str
    admin: bool
    services: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, public: _Optional[bool] = ..., user: _Optional[bool] = ..., owner: _Optional[str] = ..., admin: _Optional[bool] = ..., services: _Optional[_Iterable[str]] = ...) -> None: ...
