from abacus.access.v1 import access_pb2 as _access_pb2
from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AddToCartRequest(_message.Message):
    __slots__ = ("user", "sku", "count", "request_id")
    USER_FIELD_NUMBER: _ClassVar[int]
    SKU_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    user: int
    sku: int
    count: int
    request_id: str
    def __init__(self, user: _Optional[int] = ..., sku: _Optional[int] = ..., count: _Optional[int] = ..., request_id: _Optional[str] = ...) -> None: ...

class AddToCartResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DeleteFromCartRequest(_message.Message):
    __slots__ = ("user", "sku", "count", "request_id")
    USER_FIELD_NUMBER: _ClassVar[int]
    SKU_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    user: int
    sku: int
    count: int
    request_id: str
    def __init__(self, user: _Optional[int] = ..., sku: _Optional[int] = ..., count: _Optional[int] = ..., request_id: _Optional[str] = ...) -> None: ...

class DeleteFromCartResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListCartRequest(_message.Message):
    __slots__ = ("user", "language")
    USER_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    user: int
    language: str
    def __init__(self, user: _Optional[int] = ..., language: _Optional[str] = ...) -> None: ...

class ListCartResponse(_message.Message):
    __slots__ = ("items", "total_price", "currency")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_PRICE_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[CartItem]
    total_price: int
    currency: str
    def __init__(self, items: _Optional[_Iterable[_Union[CartItem, _Mapping]]] = ..., total_price: _Optional[int] = ..., currency: _Optional[str] = ...) -> None: ...

class CartItem(_message.Message):
    __slots__ = ("sku", "count", "name", "price", "is_gone")
    SKU_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    IS_GONE_FIELD_NUMBER: _ClassVar[int]
    sku: int
    count: int
    name: str
    price: int
    is_gone: bool
    def __init__(self, sku: _Optional[int] = ..., count: _Optional[int] = ..., name: _Optional[str] = ..., price: _Optional[int] = ..., is_gone: _Optional[bool] = ...) -> None: ...

class PurchaseRequest(_message.Message):
    __slots__ = ("user", "request_id", "expected_total", "language")
    USER_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_TOTAL_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    user: int
    request_id: str
    expected_total: int
    language: str
    def __init__(self, user: _Optional[int] = ..., request_id: _Optional[str] = ..., expected_total: _Optional[int] = ..., language: _Optional[str] = ...) -> None: ...

class PurchaseResponse(_message.Message):
    __slots__ = ("order_id", "total_price", "currency")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    TOTAL_PRICE_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    order_id: int
    total_price: int
    currency: str
    def __init__(self, order_id: _Optional[int] = ..., total_price: _Optional[int] = ..., currency: _Optional[str] = ...) -> None: ...
