"""`python -m deploy.gateway write FOLDER …`: make Envoy's configuration from the contracts."""

import argparse
import json
from pathlib import Path

from deploy import contracts
from deploy.gateway import config
from deploy.gateway.filters import JWKS
from deploy.gateway.settings import Settings
from deploy.native.parts import SERVICES
from kit.settings import read


def main() -> None:
    """Write it; the arguments say where everything is, the settings GATEWAY_… what may differ."""
    parser = argparse.ArgumentParser(prog="python -m deploy.gateway")
    command = parser.add_subparsers(dest="command", required=True).add_parser("write")
    command.add_argument("folder", type=Path)
    names = ("listen", "admin", JWKS, *SERVICES)
    for name in names:
        command.add_argument(f"--{name}", required=True, metavar="HOST:PORT")
    command.add_argument("--service-keys", required=True, type=Path, metavar="FILE")
    given = vars(parser.parse_args())
    config.write(
        given["folder"],
        {name: given[name] for name in names},
        contracts.services(SERVICES),
        json.loads(given["service_keys"].read_bytes()),
        read(Settings),
    )


if __name__ == "__main__":
    main()
