"""Settings: one typed class per service, read once at the start from the environment, refused early."""

import ipaddress
import re
import sys
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, FilePath, ValidationError
from pydantic_settings import BaseSettings

S = TypeVar("S", bound=BaseSettings)


_ADDRESS = re.compile(r"(?:[^\s,:\[\]]+|\[[\da-fA-F:.]+\]):(?P<port>\d{1,5})")


def _address(text: str) -> str:
    match = _ADDRESS.fullmatch(text)
    if not match or int(match["port"]) > 65535:
        raise ValueError("not host:port")
    return text


def _addresses(text: str) -> str:
    for address in text.split(","):
        _address(address)
    return text


Address = Annotated[str, AfterValidator(_address)]  # host:port, of IPv6 in brackets: [::1]:50051
Addresses = Annotated[str, AfterValidator(_addresses)]  # host:port, several with commas


def host_and_port(address: str) -> tuple[str, int]:
    """Take an Address apart; a host of IPv6 loses its brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _networks(text: str) -> str:
    for network in text.split(","):
        ipaddress.ip_network(network)
    return text


class DatabaseSettings(BaseSettings):
    """What reaches a database."""

    database_url: str = Field(pattern=r"^postgres(ql)?://", description="of the service's own database")
    database_password_file: FilePath | None = Field(None, description="where the URL has no password")
    database_connections: int = Field(10, ge=1, le=1000, description="most connections of one process")

    @property
    def database_password(self) -> str | None:
        """The password, without the line's end."""
        return secret(self.database_password_file)


class ServiceSettings(DatabaseSettings):
    """What every service with a door and a database has; a service adds its own and its prefix."""

    listen: Address = Field(description="address of the gRPC door, host:port")
    door: Literal["pyvoy", "grpcio"] = Field(
        "grpcio", description="what serves it: pyvoy is faster and takes more memory"
    )
    processes: int = Field(1, ge=1, le=64, description="how many processes serve it, on one port")
    jwks_url: str = Field(pattern=r"^https?://\S+$", description="of identity's public keys")
    service_keys_file: FilePath = Field(description="public keys of the services that may call, by name: JWK sets")
    trusted_proxies: Annotated[str, AfterValidator(_networks)] = Field(
        "127.0.0.0/8", description="networks whose `x-forwarded-for` is believed, with commas"
    )
    call_timeout_s: float = Field(
        5, gt=0, le=300, allow_inf_nan=False, description="longest time for one call, whatever its caller allows"
    )
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="debug, info, warning or error")


def secret(path: Path | None) -> str | None:
    """The first line of a secret's file; None where there is no file."""
    return path.read_text().strip() if path else None


def read(kind: type[S]) -> S:
    """Read settings from the environment, or say which variable is wrong and exit with 2."""
    try:
        return kind()
    except ValidationError as error:
        prefix = kind.model_config.get("env_prefix", "")
        for wrong in error.errors(include_input=False, include_url=False):
            name = prefix + "_".join(str(part) for part in wrong["loc"])
            print(f"setting {name.upper()}: {wrong['msg']}", file=sys.stderr)  # noqa: T201  # no log exists yet
        sys.exit(2)
