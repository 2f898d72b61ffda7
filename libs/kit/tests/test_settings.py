"""Settings are refused early, by the variable's name."""

import pytest
from pydantic_settings import SettingsConfigDict

from kit import settings


class Settings(settings.ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="SHOP_")


def test_a_wrong_value_names_its_variable(monkeypatch, capsys):
    """Each wrong or missing variable is named, the process exits with 2, secrets are not shown."""
    monkeypatch.setenv("SHOP_DATABASE_URL", "mysql://user:geheim@host/db")
    monkeypatch.setenv("SHOP_CALL_TIMEOUT_S", "soon")
    with pytest.raises(SystemExit) as caught:
        settings.read(Settings)
    assert 2 == caught.value.code
    said = capsys.readouterr().err
    named = {line.split()[1].strip(":") for line in said.splitlines()}
    assert {
        "SHOP_LISTEN", "SHOP_DATABASE_URL", "SHOP_CALL_TIMEOUT_S", "SHOP_JWKS_URL", "SHOP_SERVICE_KEYS_FILE"
    } == named  # fmt: skip
    assert "geheim" not in said


def test_a_secret_is_a_files_first_line(tmp_path):
    """The line's end is no part of the password."""
    (tmp_path / "password").write_text("geheim\n")
    assert "geheim" == settings.secret(tmp_path / "password")
