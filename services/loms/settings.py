"""What loms can be told: the variables LOMS_*."""

from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from kit.settings import Addresses, ServiceSettings


class Settings(ServiceSettings):
    """Settings of loms, beside those of every service."""

    model_config = SettingsConfigDict(env_prefix="LOMS_")

    door: Literal["pyvoy", "grpcio"] = Field("pyvoy", description="what serves the gRPC door: orders come fast")
    kafka: Addresses = Field(description="bootstrap servers, host:port with commas")
    payment_timeout_s: float = Field(
        600, gt=0, le=365 * 24 * 3600, allow_inf_nan=False, description="how long an order waits for its payment"
    )
    new_ttl_s: float = Field(
        3600, gt=0, le=365 * 24 * 3600, allow_inf_nan=False, description="how long a placed order waits to be reserved"
    )
    max_positions: int = Field(20, ge=1, le=100, description="most skus in one order")
    batch_max: int = Field(128, ge=1, le=1000, description="most calls that one transaction serves")
    queue_max: int = Field(1000, ge=1, le=100_000, description="most calls of a kind at a time; others are refused")
