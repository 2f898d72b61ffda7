"""Passwords and their hashes, without a database."""

import asyncio
import os
import threading
import time

import pytest

from identity import passwords
from identity.passwords import Hasher
from kit.errors import Error
from kit.testing import until

OWN = ("Bartholomew", "Montgomery", "bart.mont@example.com", "+79001234567")


@pytest.mark.parametrize(
    "password",
    [
        "password",
        "PASSWORD",
        "Password1",
        "iloveyou",
        "sunshine",
        "ｐａｓｓｗｏｒｄ",  # NFKC makes it the common one
        "aaaaaaaa",
        "        ",
        "bartholomew",
        "Montgomery",
        "Bartholomew Montgomery",
        "bartholomewmontgomery",
        "bart.mont",
        "йцукенгш",  # qwertyui in the other layout
        "ЙЦУКЕНГШ",
        "drowssap",
        "шгнекуцй",
        "вкщцыыфз",  # drowssap in the other layout
        "yremogtnom",
        "Bart.Mont@Example.com",
        "+79001234567",
        "79001234567",
    ],
)
def test_what_is_guessed_first_is_refused(password):
    """Common passwords, words and names; what everybody knows of the person. The password is not quoted."""
    with pytest.raises(Error) as caught:
        passwords.check(password, field="password", own=OWN)
    assert "PASSWORD_TOO_COMMON" == caught.value.reason
    assert "password: too easy to guess, take another one" == caught.value.message


@pytest.mark.parametrize(
    "password", ["zebra violin moon", "Пароль Анны 7", "qX7!pfzk", "a" * 100 + "b", "bartholomew2!", "12 34 56 78"]
)
def test_others_are_good(password):
    """No rule of composition; a known word in a longer one is allowed."""
    passwords.check(password, field="password", own=OWN)
    passwords.check(password, field="password", own=("", "", "", ""))


def test_a_name_in_the_other_layout_is_guessed_first():
    """Бартоломей, typed on Latin keys."""
    with pytest.raises(Error) as caught:
        passwords.check(",fhnjkjvtq", field="password", own=("Бартоломей", "", "", ""))
    assert "PASSWORD_TOO_COMMON" == caught.value.reason


async def test_a_hash_is_argon2id_with_the_parameters_that_are_stated():
    """19 MiB, 2 passes, 1 lane, a salt of its own; the right password matches, another does not, nobody's never."""
    hasher = Hasher(threads=1, queue=1)
    with hasher.place() as place:
        first, second = await place.hash("correct horse"), await place.hash("correct horse")
        assert first.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        assert first != second
        assert await place.matches(second, "correct horse")
        assert not await place.matches(second, "correct Horse")
        assert not await place.matches(None, "correct horse")
        assert not place.is_outdated(first)


async def test_nobodys_hash_takes_as_long():
    """What an unknown account is compared with has the same parameters."""
    hasher = Hasher(threads=1, queue=1)

    async def seconds(place, stored):
        started = time.perf_counter()
        await place.matches(stored, "wrong horse")
        return time.perf_counter() - started

    with hasher.place() as place:
        stored = await place.hash("correct horse")
        known, unknown = [], []
        for _ in range(9):
            known.append(await seconds(place, stored))
            unknown.append(await seconds(place, None))
    assert abs(min(known) - min(unknown)) < 0.3 * min(known)


async def test_hashing_steps_back_for_other_work():
    """Its threads have a lower priority, the others keep theirs."""
    seen = []
    hasher = Hasher(threads=2, queue=1)
    with hasher.place():
        await hasher.run(lambda: seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
    ours = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert [max(passwords.NICENESS, ours)] == seen
    assert ours < passwords.NICENESS


async def test_who_gives_up_leaves_the_queue():
    """A call whose deadline ended leaves no work behind: of five that wait only those that stay are computed."""
    hasher = Hasher(threads=1, queue=10)
    done = []
    gate = threading.Event()

    async def wait_for(number):
        with hasher.place():
            await hasher.run(lambda: gate.wait(5) if number == 0 else done.append(number))

    calls = [asyncio.create_task(wait_for(number)) for number in range(6)]
    await asyncio.sleep(0)
    for number in (1, 2, 4):
        calls[number].cancel()
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*calls, return_exceptions=True)

    async def order():
        return done

    await until(order, [3, 5])
    with hasher.place():
        pass
    assert 11 == hasher._places
