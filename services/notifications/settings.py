"""The settings of notifications, read once from NOTIFICATIONS_… variables."""

from pathlib import Path
from zoneinfo import ZoneInfo

from pydantic import Field, FilePath, field_validator
from pydantic_settings import SettingsConfigDict

from kit.settings import Address, Addresses, ServiceSettings
from notifications import seals

MIGRATIONS = Path(__file__).parent / "migrations"


class Settings(ServiceSettings):
    """What notifications has beside a door and a database."""

    model_config = SettingsConfigDict(env_prefix="NOTIFICATIONS_")

    kafka: Addresses = Field(description="Kafka's bootstrap address, host:port")
    smtp: Address = Field(description="of the mail relay, host:port; STARTTLS where it offers it")
    smtp_user: str = Field("", description="login at the mail relay; empty: none")
    smtp_password_file: FilePath | None = Field(None, description="of that login")
    smtp_from: str = Field(
        "Abacus <shop@abacus.example>",
        pattern=r'^[^<>@,;:"\x00-\x1f]*<[^\s<>@]+@[^\s<>@]+>$',
        description="sender of e-mails, name <address>",
    )
    sms_url: str = Field(pattern=r"^https?://\S+$", description="of the SMS gateway; messages are POSTed to it as JSON")
    sms_token_file: FilePath | None = Field(None, description="bearer token for the SMS gateway")
    seal_key_file: FilePath = Field(description="private key that opens what identity sealed, one JWK on P-256")
    send_timeout_s: float = Field(5, gt=0, le=20, description="for one try to send one message")
    max_attempts: int = Field(24, ge=1, le=100, description="tries to send a message before it counts as failed")
    contact_wait_s: float = Field(3600, gt=0, description="how long a message waits for its user's address")
    timezone: str = Field("Europe/Moscow", description="of the times in messages")

    @field_validator("seal_key_file")
    @classmethod
    def _is_key(cls, value: Path) -> Path:
        seals.read_key(value)
        return value

    @field_validator("timezone")
    @classmethod
    def _is_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, OSError, ValueError) as error:
            raise ValueError("no such time zone") from error
        return value
