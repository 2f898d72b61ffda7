import datetime

from abacus.topics.v1 import topics_pb2 as _topics_pb2
from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Contact(_message.Message):
    __slots__ = ("username", "first_name", "last_name", "email", "phone", "user_id", "language")
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    FIRST_NAME_FIELD_NUMBER: _ClassVar[int]
    LAST_NAME_FIELD_NUMBER: _ClassVar[int]
    EMAIL_FIELD_NUMBER: _ClassVar[int]
    PHONE_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    username: str
    first_name: str
    last_name: str
    email: str
    phone: str
    user_id: int
    language: str
    def __init__(self, username: _Optional[str] = ..., first_name: _Optional[str] = ..., last_name: _Optional[str] = ..., email: _Optional[str] = ..., phone: _Optional[str] = ..., user_id: _Optional[int] = ..., language: _Optional[str] = ...) -> None: ...

class Registration(_message.Message):
    __slots__ = ("type", "user_phone", "user_email", "promo_id")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    USER_PHONE_FIELD_NUMBER: _ClassVar[int]
    USER_EMAIL_FIELD_NUMBER: _ClassVar[int]
    PROMO_ID_FIELD_NUMBER: _ClassVar[int]
    type: str
    user_phone: str
    user_email: str
    promo_id: str
    def __init__(self, type: _Optional[str] = ..., user_phone: _Optional[str] = ..., user_email: _Optional[str] = ..., promo_id: _Optional[str] = ...) -> None: ...

class SecretMessage(_message.Message):
    __slots__ = ("kind", "user_id", "sealed", "expires_at")
    KIND_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    kind: str
    user_id: int
    sealed: str
    expires_at: _timestamp_pb2.Timestamp
    def __init__(self, kind: _Optional[str] = ..., user_id: _Optional[int] = ..., sealed: _Optional[str] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Secret(_message.Message):
    __slots__ = ("channel", "address", "code", "link", "first_name", "language")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    FIRST_NAME_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    channel: str
    address: str
    code: str
    link: str
    first_name: str
    language: str
    def __init__(self, channel: _Optional[str] = ..., address: _Optional[str] = ..., code: _Optional[str] = ..., link: _Optional[str] = ..., first_name: _Optional[str] = ..., language: _Optional[str] = ...) -> None: ...
