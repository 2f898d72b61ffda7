"""What may differ from stack to stack; the addresses are told apart, by whoever writes the configuration."""

from pydantic import Field, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Limits and names; each has a default that suits one machine."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_")

    calls_per_s: PositiveInt = Field(20_000, description="of all callers together")
    signin_per_s: PositiveInt = Field(50, description="of one address, on identity's public RPCs")
    signin_burst: PositiveInt = Field(100, description="of one address, on identity's public RPCs")
    # Each is an open file, of which a process has 1024 unless it is given more.
    connections_max: PositiveInt = Field(800, description="of all clients together")
    origins: str = Field(
        "http://localhost:*,http://127.0.0.1:*", description="pages that may call, with commas; port * is any port"
    )
    jwks_cache_s: int = Field(30, ge=6, le=60, description="age of identity's keys; each is out 120 s before it signs")
