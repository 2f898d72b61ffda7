"""Keys and sessions on a test's database, with settings of the test's own."""

from cryptography.fernet import Fernet

from identity.keys import Keys
from identity.sessions import Sessions
from identity.settings import Settings

VAULT_KEY = Fernet.generate_key().decode()


def given(db, tmp_path, **changes):
    """Settings as a process would read them."""
    for name in ("vault.key", "seal.json", "services.json"):
        (tmp_path / name).touch()
    return Settings(
        listen="127.0.0.1:0",
        database_url=db.url,
        jwks_url="http://127.0.0.1:1/",
        service_keys_file=tmp_path / "services.json",
        kafka="127.0.0.1:1",
        jwks_listen="127.0.0.1:0",
        vault_key_file=tmp_path / "vault.key",
        seal_key_file=tmp_path / "seal.json",
        **changes,
    )


async def keys_of(db, tmp_path, *, vault_key=VAULT_KEY, **changes):
    """Keys of one process, started."""
    keys = Keys(db, vault_key, given(db, tmp_path, **changes))
    await keys.start()
    return keys


async def sessions_of(db, tmp_path, **changes):
    """Sessions of one process."""
    return Sessions(db, await keys_of(db, tmp_path, **changes), given(db, tmp_path, **changes))


async def a_user(db, number=1, *, roles=("customer",)):
    """An account's id."""
    return await db.pool.fetchval(
        """
        INSERT INTO users (first_name, last_name, email, language, roles, search)
        VALUES ('Ann', 'Lee', $1, 'en', $2, '')
        RETURNING id
        """,
        f"ann{number}@example.com",
        list(roles),
    )
