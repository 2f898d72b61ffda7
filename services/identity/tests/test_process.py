"""The real program: killed, and looked at for what must not be in its log."""

import asyncio
import contextlib
import json
import os
import sys

import grpc
import pytest
from grpc import StatusCode

from abacus.identity.v1 import identity_pb2, identity_pb2_grpc
from deploy.native import stack
from identity.tests.conftest import EMAIL, OTHER_PASSWORD, PASSWORD, PHONE, House
from kit.testing import read_topic, refused, until


class Program:
    """`python -m identity` with the settings of the test."""

    def __init__(self, given, log):
        self.given = given
        self.log = log

    async def run(self, *command):
        """A process of it; its output is in the log."""
        variables = {f"IDENTITY_{name.upper()}": str(value) for name, value in self.given.items()}
        with self.log.open("ab") as out:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", "identity", *command,
                env={**os.environ, **variables}, stdout=out, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip

    @contextlib.asynccontextmanager
    async def running(self, *command):
        """A process that listens; killed at the end where it still runs."""
        process = await self.run(*command)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest.fixture
async def program(native, given, tmp_path):
    ports = stack.free_ports(["door", "jwks"])
    changed = {
        "listen": f"127.0.0.1:{ports['door']}",
        "jwks_listen": f"127.0.0.1:{ports['jwks']}",
        "jwks_url": f"http://127.0.0.1:{ports['jwks']}/.well-known/jwks.json",
        "kafka": native.kafka,
        "log_level": "debug",
    }
    return Program(given.model_dump(exclude_unset=True) | changed, tmp_path / "log")


@pytest.fixture
async def outside(db, program, seal_key):
    async with grpc.aio.insecure_channel(program.given["listen"]) as channel:
        yield House(db, identity_pb2_grpc.IdentityServiceStub(channel), seal_key, None)


async def answered(call):
    """Call again and again until the program is there; give the answer."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await call()
            except grpc.aio.AioRpcError as error:
                if error.code() != StatusCode.UNAVAILABLE:
                    raise
            await asyncio.sleep(0.1)


def signed(tokens):
    return (("authorization", f"Bearer {tokens.access_token}"),)


async def test_the_sixth_guess_is_refused_after_kill_9(program, outside):
    """Five wrong guesses, each followed by a kill: all five were counted. What was sent is still good to nobody."""
    async with program.running("api"):
        await answered(outside.register)
        await outside.send()
    code = await outside.code()
    for _ in range(2):
        async with program.running("api"):
            with refused(StatusCode.INVALID_ARGUMENT, "CODE_INVALID"):
                await answered(lambda: outside.confirm("wrong"))
            await asyncio.gather(*(outside.confirm("wrong") for _ in range(2)), return_exceptions=True)
    async with program.running("api"):
        with refused(StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_TRIES"):
            await answered(lambda: outside.confirm(code))


async def test_its_log_tells_nothing_of_people(program, outside, native):
    """All that was typed and handed out, in every flow, at the loudest level; nor do the topics, contacts apart."""
    async with program.running("api"):  # what was sent waits in the outbox meanwhile, and is read there
        first = await answered(lambda: outside.register(phone=PHONE))
        with refused(StatusCode.ALREADY_EXISTS):
            await outside.register(phone=PHONE)
        login = await outside.login()
        refreshed = await outside.refresh(login)
        with refused(StatusCode.UNAUTHENTICATED):
            await outside.refresh(login)
        with refused(StatusCode.UNAUTHENTICATED):
            await outside.login(password="mistyped canary")
        await outside.send()
        await outside.send_sms()
        await outside.confirm((await outside.letters())[0][1].code)
        confirmed = identity_pb2.ConfirmPhoneRequest(phone=PHONE, code=await outside.code())
        await outside.stub.ConfirmPhone(confirmed)
        with refused(StatusCode.INVALID_ARGUMENT):
            await outside.confirm("canary-code")
        await outside.ask_reset(phone=PHONE)
        await outside.reset(await outside.code())
        with refused(StatusCode.INVALID_ARGUMENT):
            await outside.reset(await outside.code())
        again = await outside.login(password=OTHER_PASSWORD)
        changed = identity_pb2.ChangePasswordRequest(current_password=OTHER_PASSWORD, new_password="a third of them")
        await outside.stub.ChangePassword(changed, metadata=signed(again))
        me = (await outside.stub.GetMe(identity_pb2.GetMeRequest(), metadata=signed(again))).user
        assert (EMAIL, PHONE, True, True) == (me.email, me.phone, me.email_verified, me.phone_verified)
        secrets = [secret.code for _, secret in await outside.letters()]
    async with program.running("all") as process:
        kinds = ["verify_email", "verify_phone", "reset_password"]
        await until(lambda: told_kinds(native, first.user_id), kinds)
        process.terminate()
        assert 0 == await process.wait()
    tokens = [text for it in (first, login, refreshed, again) for text in (it.access_token, it.refresh_token)]
    typed = [PASSWORD, OTHER_PASSWORD, "a third of them", "mistyped canary", "canary-code", EMAIL, "anna@", PHONE]
    log = program.log.read_text()
    assert log.count("IdentityService/LoginByEmail") >= 3
    assert [] == [text for text in (*secrets, *tokens, *typed, PHONE[1:]) if text in log]
    for name in ("secret", "registration"):
        for record in await read_topic(native.kafka, f"abacus.identity.{name}.v1"):
            known = (PHONE,) if name == "registration" else ()
            assert [] == [
                text for text in (*secrets, *tokens, *typed) if text in str(record.value) and text not in known
            ]


async def told_kinds(native, user_id):
    """Which secrets of a person are out."""
    records = await read_topic(native.kafka, "abacus.identity.secret.v1")
    return [json.loads(record.value)["kind"] for record in records if int(record.key) == user_id]


async def test_its_commands(program, tmp_path, db):
    """`seed` and `status` say in figures what there is."""
    customers = tmp_path / "customers.jsonl"
    customers.write_text('{"user_id": 7, "first_name": "Ann", "email": "ann@example.com"}\n')
    for command in (["seed", str(customers)], ["seed", str(customers)], ["status"]):
        assert 0 == await (await program.run(*command)).wait()
    figures = [json.loads(line) for line in program.log.read_text().splitlines()]
    assert [{"users_added": 1}, {"users_added": 0}] == figures[:2]
    assert (1, 0, 1) == (figures[2]["users"], figures[2]["users_disabled"], figures[2]["outbox_waiting"])


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("vault.key", "short", "the vault key is none"),
        ("seal.json", "{}", "seal.json holds no public key"),
        ("seal.json", "private", "seal.json holds a private key"),
    ],
)
async def test_a_wrong_key_is_refused_early(program, tmp_path, seal_key, name, text, said):
    """It says which, in one line, and ends."""
    (tmp_path / name).write_text(json.dumps(seal_key.as_dict(private=True)) if text == "private" else text)
    assert 1 == await (await program.run("api")).wait()
    last = program.log.read_text().splitlines()[-1]
    assert last.startswith("a key of identity is not good: ")
    assert said in last
