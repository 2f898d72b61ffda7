from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor
TOPIC_FIELD_NUMBER: _ClassVar[int]
topic: _descriptor.FieldDescriptor

class Topic(_message.Message):
    __slots__ = ("name", "key", "partitions", "publisher")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    PUBLISHER_FIELD_NUMBER: _ClassVar[int]
    name: str
    key: str
    partitions: int
    publisher: str
    def __init__(self, name: _Optional[str] = ..., key: _Optional[str] = ..., partitions: _Optional[int] = ..., publisher: _Optional[str] = ...) -> None: ...
