import datetime

from abacus.loms.v1 import loms_pb2 as _loms_pb2
from abacus.topics.v1 import topics_pb2 as _topics_pb2
from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OrderStatusChanged(_message.Message):
    __slots__ = ("order_id", "version", "user", "previous_status", "status", "reason", "actor", "at", "pay_by", "items", "total_price", "currency")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATUS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    PAY_BY_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_PRICE_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    order_id: int
    version: int
    user: int
    previous_status: _loms_pb2.OrderStatus
    status: _loms_pb2.OrderStatus
    reason: str
    actor: str
    at: _timestamp_pb2.Timestamp
    pay_by: _timestamp_pb2.Timestamp
    items: _containers.RepeatedCompositeFieldContainer[OrderLine]
    total_price: int
    currency: str
    def __init__(self, order_id: _Optional[int] = ..., version: _Optional[int] = ..., user: _Optional[int] = ..., previous_status: _Optional[_Union[_loms_pb2.OrderStatus, str]] = ..., status: _Optional[_Union[_loms_pb2.OrderStatus, str]] = ..., reason: _Optional[str] = ..., actor: _Optional[str] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., pay_by: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., items: _Optional[_Iterable[_Union[OrderLine, _Mapping]]] = ..., total_price: _Optional[int] = ..., currency: _Optional[str] = ...) -> None: ...

class OrderLine(_message.Message):
    __slots__ = ("sku", "count", "name", "price")
    SKU_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    sku: int
    count: int
    name: str
    price: int
    def __init__(self, sku: _Optional[int] = ..., count: _Optional[int] = ..., name: _Optional[str] = ..., price: _Optional[int] = ...) -> None: ...
