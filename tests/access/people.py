"""Persons and services who call the shop, with real tokens of a running stack."""

import re
import uuid
from dataclasses import dataclass

from abacus.identity.v1 import identity_pb2
from deploy.native import keys, stack
from deploy.native.parts import SERVICES
from identity.settings import Settings
from tests.access.samples import PASSWORD
from tests.callers import calling

# For a process of identity that is to be asked more than people ask.
NO_LIMITS = {
    f"IDENTITY_{name.upper()}": "999999999/1"
    for name, field in Settings.model_fields.items()
    if re.fullmatch(r"\d+/\d+(,\d+/\d+)*", str(field.default))
}


@dataclass(frozen=True)
class Caller:
    """One kind of caller. Neither user nor service: anonymous."""

    name: str
    token: str = ""
    user: int = 0
    is_admin: bool = False

    @property
    def is_service(self) -> bool:
        return bool(self.token) and not self.user


async def register(shop: stack.Shop, *, email: str = "", phone: str = "") -> identity_pb2.Tokens:
    """Make an account, with an address of its own where none is given."""
    request = identity_pb2.RegisterByEmailRequest(
        first_name="Ann", email=email or f"{uuid.uuid4().hex}@mail.example", phone=phone, password=PASSWORD
    )
    async with calling("identity", shop.address("identity")) as identity:
        answer = await identity.call("RegisterByEmail", request)
    return answer.tokens


async def person(shop: stack.Shop, name: str, *, admin: bool = False) -> Caller:
    """A person who is signed in."""
    tokens = await register(shop)
    if admin:
        roles = [identity_pb2.ROLE_CUSTOMER, identity_pb2.ROLE_ADMIN]
        async with calling("identity", shop.address("identity")) as identity:
            await identity.call("SetUserRoles", identity_pb2.SetUserRolesRequest(user_id=tokens.user_id, roles=roles))
            # Roles count from the next token on.
            again = await identity.call("Refresh", identity_pb2.RefreshRequest(refresh_token=tokens.refresh_token))
        tokens = again.tokens
    return Caller(name, tokens.access_token, tokens.user_id, admin)


def service(shop: stack.Shop, name: str) -> Caller:
    """A service of the stack, or the developer's own key; its token is meant for every service."""
    return Caller(name, keys.service_key(shop.home, name).sign(list(SERVICES), 3600))


async def lenient_identity(shop: stack.Shop) -> str:
    """Start `identity-lenient`, a process whose limits let everything through; return its address."""
    ports = stack.free_ports(["jwks"])
    env = {"IDENTITY_JWKS_LISTEN": f"127.0.0.1:{ports['jwks']}", **NO_LIMITS}
    await shop.start_replica("identity", name="identity-lenient", args=["api"], env=env)
    return shop.address("identity-lenient")
