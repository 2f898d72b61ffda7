"""Making an account, signing in, and changing the password."""

import asyncio
import weakref

from abacus.identity.v1 import identity_pb2
from identity import addresses, codes, credentials, names, passwords, users
from identity.errors import ACCOUNT_DISABLED, CREDENTIALS_INVALID, PASSWORD_WRONG
from identity.limits import Limits
from identity.passwords import Hasher, Place
from identity.sessions import Sessions
from identity.users import Channel, Target, User
from kit.calls import Call
from kit.db import Connection, Database
from kit.errors import Error


class Accounts:
    """The use cases of a password. Hashing needs a place in the queue, which is asked for before anything is done."""

    def __init__(self, db: Database, sessions: Sessions, hasher: Hasher, limits: Limits):
        self.db = db
        self.sessions = sessions
        self.hasher = hasher
        self.limits = limits
        self._turns: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def register(
        self,
        asked: identity_pb2.RegisterByEmailRequest | identity_pb2.RegisterByPhoneRequest,
        call: Call,
    ) -> identity_pb2.Tokens:
        """Make an account and sign in; the shop is told how the person is reached, and to welcome them.

        All of it or nothing, whenever the call ends. What stays of one that was refused or cut short is that it counts
        as a try from its address; one that found no place in the queue does not even count.

        Raises:
            Error: USER_EXISTS, PASSWORD_TOO_COMMON, TOO_MANY_TRIES, OVERLOADED; INVALID_FIELD of names and addresses.
        """
        first_name = names.name(asked.first_name, field="first_name")
        last_name = names.name(asked.last_name, field="last_name")
        email = addresses.email(asked.email) if asked.email else ""
        phone = addresses.phone(asked.phone) if asked.phone else ""
        own = (first_name, last_name, email, phone)
        passwords.check(asked.password, field="password", own=own)
        with self.hasher.place() as place:
            await self.limits.take(self.limits.registration(call.address))
            password_hash = await place.hash(asked.password)
        async with self.db.transaction() as conn:
            user, promo_id = await users.add(
                conn,
                first_name=first_name,
                last_name=last_name,
                email=email,
                phone=phone,
                language=asked.language or call.language,
            )
            await credentials.keep(conn, user.id, password_hash)
            await users.tell_contacts(conn, [user])
            opened = await self._open(conn, user, call)
            if channel := await self._welcoming(conn, user):
                await users.tell_registration(conn, user, promo_id, channel)
        return opened

    async def login(self, target: Target, password: str, call: Call) -> identity_pb2.Tokens:
        """Sign in. Whether there is an account, and whether it has a password, shows neither in answer nor time.

        Raises:
            Error: CREDENTIALS_INVALID, TOO_MANY_TRIES, OVERLOADED; ACCOUNT_DISABLED after the right password.
        """
        # Of one e-mail or phone one login after another: each is counted as a failure until it is known to be none, and
        # many right ones at once would refuse each other. Who waits has a place among the hashes, so they are few.
        turn = self._turns.setdefault(str(target), asyncio.Lock())
        with self.hasher.place() as place:
            async with turn:
                return await self._login(target, password, call, place)

    async def _login(self, target: Target, password: str, call: Call, place: Place) -> identity_pb2.Tokens:
        charges = self.limits.login(str(target), call.address)
        await self.limits.take(charges)
        async with self.db.pool.acquire() as conn:
            user_id = await users.id_by_target(conn, target)
            stored = await credentials.password_hash(conn, user_id)
        if not await place.matches(stored, password):
            raise _credentials_invalid()
        assert user_id is not None
        assert stored is not None
        renewed = await place.hash(password) if place.is_outdated(stored) else None
        async with self.db.transaction() as conn:
            user = await users.lock(conn, user_id)
            # Changed since it was read, the password was a right one no more: nobody stays in by it.
            if await credentials.password_hash(conn, user_id) != stored:
                raise _credentials_invalid()
            if renewed:
                await credentials.keep(conn, user_id, renewed)
            tokens = None if user.disabled_at else await self._open(conn, user, call)
            await self.limits.give_back(conn, charges)
        if tokens is None:
            raise ACCOUNT_DISABLED("this account is disabled")
        return tokens

    async def change_password(self, current: str, new: str, call: Call) -> None:
        """Set the caller's password; their other sessions end.

        Raises:
            Error: PASSWORD_WRONG, PASSWORD_TOO_COMMON, SESSION_ENDED, TOO_MANY_TRIES, OVERLOADED.
        """
        user_id = call.principal.user
        assert user_id is not None
        charges = self.limits.change(user_id, call.address)
        with self.hasher.place() as place:
            async with self.db.pool.acquire() as conn:
                await self.sessions.require_open(conn, call.principal)
                user = await users.get(conn, user_id)
                stored = await credentials.password_hash(conn, user_id)
            passwords.check(new, field="new_password", own=user.known)
            await self.limits.take(charges)
            if not await place.matches(stored, current):
                raise _password_wrong()
            password_hash = await place.hash(new)
        async with self.db.transaction() as conn:
            await users.lock(conn, user_id)
            await self.sessions.require_open(conn, call.principal)
            if await credentials.password_hash(conn, user_id) != stored:
                raise _password_wrong()
            await credentials.keep(conn, user_id, password_hash)
            await codes.forget_tokens(conn, user_id)
            await self.sessions.end_all(conn, user_id, but=call.principal.session)
            await self.limits.give_back(conn, charges)

    async def _welcoming(self, conn: Connection, user: User) -> Channel | None:
        """How a new person is welcomed: by SMS if they have a phone and its money is not used up, else by e-mail.

        None: not at all. Takes the last locks of the transaction.
        """
        if user.phone and await self.limits.take_if_free(conn, self.limits.welcome_sms()):
            return Channel.SMS
        return Channel.EMAIL if user.email else None

    async def _open(self, conn: Connection, user: User, call: Call) -> identity_pb2.Tokens:
        return await self.sessions.open(conn, user.id, user.roles, address=call.address, user_agent=call.user_agent)


def _credentials_invalid() -> Error:
    return CREDENTIALS_INVALID("login or password is wrong")


def _password_wrong() -> Error:
    return PASSWORD_WRONG("the current password is wrong", field="current_password")
