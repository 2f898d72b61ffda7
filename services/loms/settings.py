"""What loms can be told: the variables LOMS_*."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from kit.settings import Addresses, ServiceSettings


class Settings(ServiceSettings):
    """Settings of loms, beside those of every service."""

    model_config = SettingsConfigDict(env_prefix="LOMS_")

    kafka: Addresses = Field(description="bootstrap servers, host:port with commas")
    payment_timeout_s: float = Field(
        600, gt=0, le=365 * 24 * 3600, allow_inf_nan=False, description="how long an order waits for its payment"
    )
    max_positions: int = Field(20, ge=1, le=100, description="most skus in one order")
