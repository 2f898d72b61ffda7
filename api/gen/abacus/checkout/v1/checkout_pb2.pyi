import datetime

from abacus.access.v1 import access_pb2 as _access_pb2
from abacus.loms.v1 import loms_pb2 as _loms_pb2
from buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
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

class PlaceOrderRequest(_message.Message):
    __slots__ = ("user", "product_id", "items", "country", "region", "city", "street", "card", "phone", "request_id", "language")
    USER_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    CITY_FIELD_NUMBER: _ClassVar[int]
    STREET_FIELD_NUMBER: _ClassVar[int]
    CARD_FIELD_NUMBER: _ClassVar[int]
    PHONE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    user: int
    product_id: int
    items: _containers.RepeatedCompositeFieldContainer[WantedProduct]
    country: str
    region: str
    city: str
    street: str
    card: str
    phone: str
    request_id: str
    language: str
    def __init__(self, user: _Optional[int] = ..., product_id: _Optional[int] = ..., items: _Optional[_Iterable[_Union[WantedProduct, _Mapping]]] = ..., country: _Optional[str] = ..., region: _Optional[str] = ..., city: _Optional[str] = ..., street: _Optional[str] = ..., card: _Optional[str] = ..., phone: _Optional[str] = ..., request_id: _Optional[str] = ..., language: _Optional[str] = ...) -> None: ...

class WantedProduct(_message.Message):
    __slots__ = ("product_id", "quantity")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    product_id: int
    quantity: int
    def __init__(self, product_id: _Optional[int] = ..., quantity: _Optional[int] = ...) -> None: ...

class PlaceOrderResponse(_message.Message):
    __slots__ = ("order_id", "status", "total_amount", "currency", "items", "created_at")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    order_id: int
    status: _loms_pb2.OrderStatus
    total_amount: int
    currency: str
    items: _containers.RepeatedCompositeFieldContainer[_loms_pb2.OrderedProduct]
    created_at: _timestamp_pb2.Timestamp
    def __init__(self, order_id: _Optional[int] = ..., status: _Optional[_Union[_loms_pb2.OrderStatus, str]] = ..., total_amount: _Optional[int] = ..., currency: _Optional[str] = ..., items: _Optional[_Iterable[_Union[_loms_pb2.OrderedProduct, _Mapping]]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
