"""The settings of catalog."""

from pydantic import Field, FilePath, field_validator
from pydantic_settings import SettingsConfigDict

from kit.settings import ServiceSettings, secret


class Settings(ServiceSettings):
    """What every service has, and the token that callers must know."""

    model_config = SettingsConfigDict(env_prefix="CATALOG_")

    token_file: FilePath | None = Field(None, description="holds the token that calls must carry; none: no check")

    @field_validator("token_file")
    @classmethod
    def _holds_a_token(cls, path: FilePath | None) -> FilePath | None:
        if path and not secret(path):
            raise ValueError("the file is empty, which would let everybody in")
        return path
