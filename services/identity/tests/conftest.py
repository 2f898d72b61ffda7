"""identity behind a real door on a database of its own; a person is a short word of the tests."""

import json

import pytest
from cryptography.fernet import Fernet
from joserfc import jwe
from joserfc.jwk import ECKey

from abacus.identity.v1 import events_pb2, identity_pb2, identity_pb2_grpc
from identity import __main__ as program
from identity.codes import SECRET_TOPIC
from identity.keys import Keys
from identity.settings import Settings
from kit import json as event_json
from kit.testing import person_token, service_token

PASSWORD = "correct horse battery"
OTHER_PASSWORD = "staple of another colour"
EMAIL = "anna@example.com"
PHONE = "+79001234567"


class House:
    """What a test says to identity, in short."""

    def __init__(self, db, stub, seal_key, served):
        self.db = db
        self.stub = stub  # anonymous
        self.served = served
        self._seal_key = seal_key

    async def register(self, email=EMAIL, password=PASSWORD, **more):
        asked = identity_pb2.RegisterByEmailRequest(
            **{"first_name": "Анна", "last_name": "Лебедева", "email": email, "password": password, **more}
        )
        return (await self.stub.RegisterByEmail(asked)).tokens

    async def register_by_phone(self, phone=PHONE, password=PASSWORD, **more):
        asked = identity_pb2.RegisterByPhoneRequest(
            **{"first_name": "Анна", "last_name": "Лебедева", "phone": phone, "password": password, **more}
        )
        return (await self.stub.RegisterByPhone(asked)).tokens

    async def login(self, email=EMAIL, password=PASSWORD):
        return (await self.stub.LoginByEmail(identity_pb2.LoginByEmailRequest(email=email, password=password))).tokens

    async def login_by_phone(self, phone=PHONE, password=PASSWORD):
        return (await self.stub.LoginByPhone(identity_pb2.LoginByPhoneRequest(phone=phone, password=password))).tokens

    async def refresh(self, tokens):
        asked = identity_pb2.RefreshRequest(refresh_token=tokens.refresh_token)
        return (await self.stub.Refresh(asked)).tokens

    async def me(self, tokens):
        return (await self.stub.GetMe(identity_pb2.GetMeRequest(), metadata=person(tokens))).user

    async def send(self, email=EMAIL):
        return await self.stub.SendEmailCode(identity_pb2.SendEmailCodeRequest(email=email))

    async def confirm(self, code, email=EMAIL):
        return await self.stub.ConfirmEmail(identity_pb2.ConfirmEmailRequest(email=email, code=code))

    async def send_sms(self, phone=PHONE):
        return await self.stub.SendPhoneCode(identity_pb2.SendPhoneCodeRequest(phone=phone))

    async def ask_reset(self, **target):
        return await self.stub.RequestPasswordReset(identity_pb2.RequestPasswordResetRequest(**target))

    async def reset(self, token, password=OTHER_PASSWORD):
        asked = identity_pb2.ResetPasswordRequest(reset_token=token, new_password=password)
        return await self.stub.ResetPassword(asked)

    async def change(self, tokens, current=PASSWORD, new=OTHER_PASSWORD):
        asked = identity_pb2.ChangePasswordRequest(current_password=current, new_password=new)
        return await self.stub.ChangePassword(asked, metadata=person(tokens))

    async def events(self, topic):
        """(key, payload) of what waits for a topic, the oldest first."""
        rows = await self.db.pool.fetch("SELECT key, payload FROM outbox WHERE topic = $1 ORDER BY id", topic)
        return [(row["key"], row["payload"]) for row in rows]

    async def letters(self):
        """The secrets that were sent, opened as notifications does, with their messages."""
        opened = []
        for _, payload in await self.events(SECRET_TOPIC):
            message = event_json.loads(events_pb2.SecretMessage, payload.encode())
            content = jwe.decrypt_compact(message.sealed, self._seal_key).plaintext
            opened.append((message, event_json.loads(events_pb2.Secret, content)))
        return opened

    async def age_codes(self):
        """Let every code run out of time."""
        await self.db.pool.execute("UPDATE codes SET expires_at = clock_timestamp() - interval '1 s'")

    async def waiting(self):
        """How many calls wait for a row that another holds."""
        return await self.db.pool.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )

    async def code(self):
        """The last one that was sent."""
        return (await self.letters())[-1][1].code


def person(tokens, *roles):
    """The header of who has these tokens."""
    signed = person_token(tokens.user_id, session=tokens.session_id, roles=roles or ("customer",))
    return (("authorization", f"Bearer {signed}"),)


def developer():
    return (("authorization", f"Bearer {service_token('local', 'identity')}"),)


@pytest.fixture
def overrides():
    """Settings of a test that differ; a test may override it."""
    return {}


@pytest.fixture
def seal_key():
    return ECKey.generate_key("P-256", auto_kid=True)


@pytest.fixture
def given(db, tmp_path, seal_key, overrides):
    texts = {
        "vault.key": Fernet.generate_key().decode(),
        "seal.json": json.dumps(seal_key.as_dict(private=False)),
        "services.json": "{}",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return Settings(
        **{
            "listen": "127.0.0.1:0",
            "database_url": db.url,
            "jwks_url": "http://127.0.0.1:1/",
            "service_keys_file": tmp_path / "services.json",
            "kafka": "127.0.0.1:1",
            "jwks_listen": "127.0.0.1:0",
            "vault_key_file": tmp_path / "vault.key",
            "seal_key_file": tmp_path / "seal.json",
            **overrides,
        }
    )


@pytest.fixture
async def open_house(db, open_door, given, seal_key):
    """Make a process of identity; several share the test's database."""

    async def make(**door):
        keys = Keys(db, given.vault_key_file.read_text(), given)
        await keys.start()
        served = program.servicer(db, keys, given)
        channel = await open_door(program.SERVICE, served, token="", **door)
        return House(db, identity_pb2_grpc.IdentityServiceStub(channel), seal_key, served)

    return make


@pytest.fixture
async def house(open_house):
    return await open_house()
