"""The settings of identity, read once from IDENTITY_… variables."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, FilePath
from pydantic_settings import SettingsConfigDict

from kit.settings import Address, Addresses, ServiceSettings
from kit.tokens import PERSON_TOKEN_S_MAX

MIGRATIONS = Path(__file__).parent / "migrations"
DAY_S = 24 * 3600


def _rates(text: str) -> str:
    if not re.fullmatch(r"[1-9]\d{0,8}/[1-9]\d{0,6}(,[1-9]\d{0,8}/[1-9]\d{0,6})*", text):
        raise ValueError("not count/seconds, several with commas")
    return text


Rates = Annotated[str, AfterValidator(_rates)]  # count/seconds: so many in so long; several with commas, all hold


class Settings(ServiceSettings):
    """What identity has beside a door and a database."""

    model_config = SettingsConfigDict(env_prefix="IDENTITY_")

    kafka: Addresses = Field(description="Kafka's bootstrap address, host:port")
    jwks_listen: Address = Field(description="address of the server of public keys, host:port")
    vault_key_file: FilePath = Field(
        description="Fernet key: encrypts signing keys, keys the hashes of codes and limits"
    )
    seal_key_file: FilePath = Field(description="public JWK of notifications: codes and tokens are encrypted for it")

    access_token_s: int = Field(PERSON_TOKEN_S_MAX, ge=1, le=PERSON_TOKEN_S_MAX, description="life of an access token")
    refresh_token_s: int = Field(30 * DAY_S, ge=1, le=400 * DAY_S, description="a session unused for so long ends")
    refresh_race_s: float = Field(
        10,
        ge=0,
        le=60,
        description="a used refresh token that comes again so soon is refused, later it ends the session",
    )
    key_life_s: float = Field(30 * DAY_S, gt=0, description="a signing key signs for so long")
    key_ahead_s: float = Field(120, gt=0, description="a signing key is published so long before it signs")

    code_life_s: int = Field(600, ge=1, le=3600, description="life of a code and of a reset token")
    code_tries: int = Field(5, ge=1, le=10, description="guesses at one code or reset token")
    reset_url: str = Field(
        "", pattern=r"^(https?://\S+)?$", max_length=500, description="page for a new password, the token is appended"
    )
    hash_threads: int = Field(1, ge=1, le=64, description="password hashes that are computed at the same time")
    hash_queue: int = Field(32, ge=1, le=10_000, description="password hashes that may wait; further calls are refused")

    registrations_per_address: Rates = Field(
        "120/60,5000/86400", description="registrations from one address, count/seconds"
    )
    sends_per_target: Rates = Field(
        "5/600,10/86400", description="codes and reset tokens to one e-mail address or phone, count/seconds"
    )
    sends_per_address: Rates = Field(
        "60/60,3000/86400", description="codes and reset tokens asked for from one address, count/seconds"
    )
    sms_in_all: Rates = Field(
        "10000/86400", description="codes and reset tokens by SMS, count/seconds: they cost money"
    )
    welcome_sms_in_all: Rates = Field(
        "5000/86400", description="welcomes by SMS, count/seconds: they cost money as well, and none of that for codes"
    )
    failures_per_pair: Rates = Field(
        "10/300", description="wrong passwords of one login or account from one address, count/seconds"
    )
    failures_per_target: Rates = Field("100/3600", description="wrong passwords of one login or account, count/seconds")
    failures_per_address: Rates = Field(
        "300/60", description="wrong passwords, codes and reset tokens from one address, count/seconds"
    )
