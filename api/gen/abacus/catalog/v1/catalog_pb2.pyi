from abacus.access.v1 import access_pb2 as _access_pb2
from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetProductRequest(_message.Message):
    __slots__ = ("token", "sku", "language")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    SKU_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    token: str
    sku: int
    language: str
    def __init__(self, token: _Optional[str] = ..., sku: _Optional[int] = ..., language: _Optional[str] = ...) -> None: ...

class GetProductResponse(_message.Message):
    __slots__ = ("name", "price", "sku", "currency")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    SKU_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    name: str
    price: int
    sku: int
    currency: str
    def __init__(self, name: _Optional[str] = ..., price: _Optional[int] = ..., sku: _Optional[int] = ..., currency: _Optional[str] = ...) -> None: ...

class GetProductsRequest(_message.Message):
    __slots__ = ("token", "skus", "language")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    SKUS_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    token: str
    skus: _containers.RepeatedScalarFieldContainer[int]
    language: str
    def __init__(self, token: _Optional[str] = ..., skus: _Optional[_Iterable[int]] = ..., language: _Optional[str] = ...) -> None: ...

class GetProductsResponse(_message.Message):
    __slots__ = ("products", "missing_skus")
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    MISSING_SKUS_FIELD_NUMBER: _ClassVar[int]
    products: _containers.RepeatedCompositeFieldContainer[GetProductResponse]
    missing_skus: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, products: _Optional[_Iterable[_Union[GetProductResponse, _Mapping]]] = ..., missing_skus: _Optional[_Iterable[int]] = ...) -> None: ...

class ListSkusRequest(_message.Message):
    __slots__ = ("token", "start_after_sku", "count")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    START_AFTER_SKU_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    token: str
    start_after_sku: int
    count: int
    def __init__(self, token: _Optional[str] = ..., start_after_sku: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class ListSkusResponse(_message.Message):
    __slots__ = ("skus",)
    SKUS_FIELD_NUMBER: _ClassVar[int]
    skus: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, skus: _Optional[_Iterable[int]] = ...) -> None: ...

class UpsertProductRequest(_message.Message):
    __slots__ = ("token", "sku", "name_ru", "name_en", "price", "currency", "is_active", "request_id")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    SKU_FIELD_NUMBER: _ClassVar[int]
    NAME_RU_FIELD_NUMBER: _ClassVar[int]
    NAME_EN_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    IS_ACTIVE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    token: str
    sku: int
    name_ru: str
    name_en: str
    price: int
    currency: str
    is_active: bool
    request_id: str
    def __init__(self, token: _Optional[str] = ..., sku: _Optional[int] = ..., name_ru: _Optional[str] = ..., name_en: _Optional[str] = ..., price: _Optional[int] = ..., currency: _Optional[str] = ..., is_active: _Optional[bool] = ..., request_id: _Optional[str] = ...) -> None: ...

class UpsertProductResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
