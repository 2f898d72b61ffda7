import datetime

from abacus.access.v1 import access_pb2 as _access_pb2
from buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.api import httpbody_pb2 as _httpbody_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ProductSort(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRODUCT_SORT_UNSPECIFIED: _ClassVar[ProductSort]
    PRODUCT_SORT_RELEVANCE: _ClassVar[ProductSort]
    PRODUCT_SORT_PRICE_ASC: _ClassVar[ProductSort]
    PRODUCT_SORT_PRICE_DESC: _ClassVar[ProductSort]
    PRODUCT_SORT_NEWEST: _ClassVar[ProductSort]
    PRODUCT_SORT_DISCOUNT: _ClassVar[ProductSort]
PRODUCT_SORT_UNSPECIFIED: ProductSort
PRODUCT_SORT_RELEVANCE: ProductSort
PRODUCT_SORT_PRICE_ASC: ProductSort
PRODUCT_SORT_PRICE_DESC: ProductSort
PRODUCT_SORT_NEWEST: ProductSort
PRODUCT_SORT_DISCOUNT: ProductSort

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
    __slots__ = ("token", "sku", "name_ru", "name_en", "price", "currency", "is_active", "request_id", "description_ru", "description_en", "attributes", "measures", "pictures", "discount", "version")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    SKU_FIELD_NUMBER: _ClassVar[int]
    NAME_RU_FIELD_NUMBER: _ClassVar[int]
    NAME_EN_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    IS_ACTIVE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_RU_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_EN_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    MEASURES_FIELD_NUMBER: _ClassVar[int]
    PICTURES_FIELD_NUMBER: _ClassVar[int]
    DISCOUNT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    token: str
    sku: int
    name_ru: str
    name_en: str
    price: int
    currency: str
    is_active: bool
    request_id: str
    description_ru: str
    description_en: str
    attributes: _containers.RepeatedCompositeFieldContainer[ProductAttribute]
    measures: Measures
    pictures: _containers.RepeatedScalarFieldContainer[str]
    discount: int
    version: int
    def __init__(self, token: _Optional[str] = ..., sku: _Optional[int] = ..., name_ru: _Optional[str] = ..., name_en: _Optional[str] = ..., price: _Optional[int] = ..., currency: _Optional[str] = ..., is_active: _Optional[bool] = ..., request_id: _Optional[str] = ..., description_ru: _Optional[str] = ..., description_en: _Optional[str] = ..., attributes: _Optional[_Iterable[_Union[ProductAttribute, _Mapping]]] = ..., measures: _Optional[_Union[Measures, _Mapping]] = ..., pictures: _Optional[_Iterable[str]] = ..., discount: _Optional[int] = ..., version: _Optional[int] = ...) -> None: ...

class ProductAttribute(_message.Message):
    __slots__ = ("name", "value_ru", "value_en")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_RU_FIELD_NUMBER: _ClassVar[int]
    VALUE_EN_FIELD_NUMBER: _ClassVar[int]
    name: str
    value_ru: str
    value_en: str
    def __init__(self, name: _Optional[str] = ..., value_ru: _Optional[str] = ..., value_en: _Optional[str] = ...) -> None: ...

class Measures(_message.Message):
    __slots__ = ("weight_g", "height_mm", "width_mm", "length_mm")
    WEIGHT_G_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_MM_FIELD_NUMBER: _ClassVar[int]
    WIDTH_MM_FIELD_NUMBER: _ClassVar[int]
    LENGTH_MM_FIELD_NUMBER: _ClassVar[int]
    weight_g: int
    height_mm: int
    width_mm: int
    length_mm: int
    def __init__(self, weight_g: _Optional[int] = ..., height_mm: _Optional[int] = ..., width_mm: _Optional[int] = ..., length_mm: _Optional[int] = ...) -> None: ...

class UpsertProductResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListProductsRequest(_message.Message):
    __slots__ = ("query", "attributes", "min_price", "max_price", "discounted", "sort", "facets", "page_size", "page_token", "language")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    MIN_PRICE_FIELD_NUMBER: _ClassVar[int]
    MAX_PRICE_FIELD_NUMBER: _ClassVar[int]
    DISCOUNTED_FIELD_NUMBER: _ClassVar[int]
    SORT_FIELD_NUMBER: _ClassVar[int]
    FACETS_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    query: str
    attributes: _containers.RepeatedScalarFieldContainer[str]
    min_price: int
    max_price: int
    discounted: bool
    sort: ProductSort
    facets: bool
    page_size: int
    page_token: str
    language: str
    def __init__(self, query: _Optional[str] = ..., attributes: _Optional[_Iterable[str]] = ..., min_price: _Optional[int] = ..., max_price: _Optional[int] = ..., discounted: _Optional[bool] = ..., sort: _Optional[_Union[ProductSort, str]] = ..., facets: _Optional[bool] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., language: _Optional[str] = ...) -> None: ...

class ListProductsResponse(_message.Message):
    __slots__ = ("products", "next_page_token", "facets", "facets_of")
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FACETS_FIELD_NUMBER: _ClassVar[int]
    FACETS_OF_FIELD_NUMBER: _ClassVar[int]
    products: _containers.RepeatedCompositeFieldContainer[Product]
    next_page_token: str
    facets: _containers.RepeatedCompositeFieldContainer[Facet]
    facets_of: int
    def __init__(self, products: _Optional[_Iterable[_Union[Product, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., facets: _Optional[_Iterable[_Union[Facet, _Mapping]]] = ..., facets_of: _Optional[int] = ...) -> None: ...

class Product(_message.Message):
    __slots__ = ("id", "name", "description", "stock", "price", "currency", "attributes", "is_active", "old_price", "discount", "measures", "pictures", "stocks", "version", "created_at", "updated_at")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    STOCK_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    IS_ACTIVE_FIELD_NUMBER: _ClassVar[int]
    OLD_PRICE_FIELD_NUMBER: _ClassVar[int]
    DISCOUNT_FIELD_NUMBER: _ClassVar[int]
    MEASURES_FIELD_NUMBER: _ClassVar[int]
    PICTURES_FIELD_NUMBER: _ClassVar[int]
    STOCKS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    id: int
    name: str
    description: str
    stock: int
    price: int
    currency: str
    attributes: _containers.ScalarMap[str, str]
    is_active: bool
    old_price: int
    discount: int
    measures: Measures
    pictures: _containers.RepeatedScalarFieldContainer[str]
    stocks: _containers.RepeatedCompositeFieldContainer[WarehouseStock]
    version: int
    created_at: _timestamp_pb2.Timestamp
    updated_at: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[int] = ..., name: _Optional[str] = ..., description: _Optional[str] = ..., stock: _Optional[int] = ..., price: _Optional[int] = ..., currency: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ..., is_active: _Optional[bool] = ..., old_price: _Optional[int] = ..., discount: _Optional[int] = ..., measures: _Optional[_Union[Measures, _Mapping]] = ..., pictures: _Optional[_Iterable[str]] = ..., stocks: _Optional[_Iterable[_Union[WarehouseStock, _Mapping]]] = ..., version: _Optional[int] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class WarehouseStock(_message.Message):
    __slots__ = ("warehouse_id", "count")
    WAREHOUSE_ID_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    warehouse_id: int
    count: int
    def __init__(self, warehouse_id: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class Facet(_message.Message):
    __slots__ = ("name", "values")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    name: str
    values: _containers.RepeatedCompositeFieldContainer[FacetValue]
    def __init__(self, name: _Optional[str] = ..., values: _Optional[_Iterable[_Union[FacetValue, _Mapping]]] = ...) -> None: ...

class FacetValue(_message.Message):
    __slots__ = ("value", "count")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    value: str
    count: int
    def __init__(self, value: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class GetProductDetailsRequest(_message.Message):
    __slots__ = ("product_id", "language")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    product_id: int
    language: str
    def __init__(self, product_id: _Optional[int] = ..., language: _Optional[str] = ...) -> None: ...

class GetProductDetailsResponse(_message.Message):
    __slots__ = ("product",)
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    product: Product
    def __init__(self, product: _Optional[_Union[Product, _Mapping]] = ...) -> None: ...

class GetProductPriceRequest(_message.Message):
    __slots__ = ("product_id",)
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    product_id: int
    def __init__(self, product_id: _Optional[int] = ...) -> None: ...

class GetProductPriceResponse(_message.Message):
    __slots__ = ("product_id", "price", "currency", "old_price", "discount")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    OLD_PRICE_FIELD_NUMBER: _ClassVar[int]
    DISCOUNT_FIELD_NUMBER: _ClassVar[int]
    product_id: int
    price: int
    currency: str
    old_price: int
    discount: int
    def __init__(self, product_id: _Optional[int] = ..., price: _Optional[int] = ..., currency: _Optional[str] = ..., old_price: _Optional[int] = ..., discount: _Optional[int] = ...) -> None: ...

class GetProductStockRequest(_message.Message):
    __slots__ = ("product_id",)
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    product_id: int
    def __init__(self, product_id: _Optional[int] = ...) -> None: ...

class GetProductStockResponse(_message.Message):
    __slots__ = ("product_id", "available", "stocks")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    STOCKS_FIELD_NUMBER: _ClassVar[int]
    product_id: int
    available: int
    stocks: _containers.RepeatedCompositeFieldContainer[WarehouseStock]
    def __init__(self, product_id: _Optional[int] = ..., available: _Optional[int] = ..., stocks: _Optional[_Iterable[_Union[WarehouseStock, _Mapping]]] = ...) -> None: ...

class GetProductPictureRequest(_message.Message):
    __slots__ = ("product_id",)
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    product_id: int
    def __init__(self, product_id: _Optional[int] = ...) -> None: ...
