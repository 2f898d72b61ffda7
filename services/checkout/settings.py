"""What checkout can be told: the variables CHECKOUT_*."""

from pydantic import Field, FilePath
from pydantic_settings import SettingsConfigDict

from kit.settings import Addresses, ServiceSettings


class Settings(ServiceSettings):
    """Settings of checkout, beside those of every service."""

    model_config = SettingsConfigDict(env_prefix="CHECKOUT_")

    loms: Addresses = Field(description="where loms listens, host:port, several with commas")
    catalog: Addresses = Field(description="where catalog listens, host:port, several with commas")
    service_key_file: FilePath = Field(description="private key that signs what checkout says to its peers, PEM")
    catalog_token_file: FilePath | None = Field(None, description="holds the token that catalog asks for")
    max_positions: int = Field(20, ge=1, le=100, description="most skus in one cart, or in one list to order")
    resume_after_s: float = Field(
        5, gt=0, le=3600, allow_inf_nan=False, description="a purchase open for so long is finished by the worker"
    )
