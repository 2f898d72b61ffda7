"""The settings of catalog."""

from pydantic import Field, FilePath, field_validator
from pydantic_settings import SettingsConfigDict

from kit.settings import Addresses, ServiceSettings, secret


class Settings(ServiceSettings):
    """Settings of catalog, beside those of every service."""

    model_config = SettingsConfigDict(env_prefix="CATALOG_")

    kafka: Addresses = Field(description="Kafka's bootstrap address, host:port")
    loms: Addresses = Field(description="where loms listens, host:port, several with commas")
    service_key_file: FilePath = Field(description="private key that signs what catalog says to its peers, PEM")
    stock_timeout_s: float = Field(
        0.2, gt=0, le=5, allow_inf_nan=False, description="a list of products waits so long for their stock"
    )
    token_file: FilePath | None = Field(None, description="holds the token that calls must carry; none: no check")

    @field_validator("token_file")
    @classmethod
    def _holds_a_token(cls, path: FilePath | None) -> FilePath | None:
        if path and not secret(path):
            raise ValueError("the file is empty, which would let everybody in")
        return path
