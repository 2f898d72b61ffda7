from abacus.topics.v1 import topics_pb2 as _topics_pb2
from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ProductMessage(_message.Message):
    __slots__ = ("id", "name", "measurments", "description", "cost", "tax", "version")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    MEASURMENTS_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    TAX_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    id: int
    name: str
    measurments: Measurments
    description: str
    cost: int
    tax: int
    version: int
    def __init__(self, id: _Optional[int] = ..., name: _Optional[str] = ..., measurments: _Optional[_Union[Measurments, _Mapping]] = ..., description: _Optional[str] = ..., cost: _Optional[int] = ..., tax: _Optional[int] = ..., version: _Optional[int] = ...) -> None: ...

class Measurments(_message.Message):
    __slots__ = ("weight", "height", "width", "lenght")
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    LENGHT_FIELD_NUMBER: _ClassVar[int]
    weight: int
    height: int
    width: int
    lenght: int
    def __init__(self, weight: _Optional[int] = ..., height: _Optional[int] = ..., width: _Optional[int] = ..., lenght: _Optional[int] = ...) -> None: ...
