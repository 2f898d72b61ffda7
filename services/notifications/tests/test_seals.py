"""Whatever is written on a seal, it opens to a message or it does not; nothing else happens."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kit import json
from notifications.seals import Seal, SealError
from notifications.tests.conftest import sealed, secret

# The file of the key is the same for all examples of a test.
_one_key = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def test_it_opens_what_was_sealed_for_us(key_file):
    """To the letter."""
    opened = Seal(key_file).open(secret(code="x7-GkQ", link="https://shop.example/r", first_name="Анна").sealed)
    assert ("email", "user7@example.com", "x7-GkQ", "https://shop.example/r", "Анна", "ru") == (
        opened.channel,
        opened.address,
        opened.code,
        opened.link,
        opened.first_name,
        opened.language,
    )


@_one_key
@given(text=st.text(max_size=300))
def test_any_text_is_no_seal(key_file, text):
    """A SealError that does not quote it, with nothing behind it."""
    with pytest.raises(SealError, match=r"^the seal cannot be opened: another key, or spoilt$") as caught:
        Seal(key_file).open(text)
    assert caught.value.__suppress_context__


@_one_key
@given(content=st.one_of(st.binary(max_size=300), st.sampled_from([b"{}", b"[]", b"null", b'{"channel": "fax"}'])))
def test_any_content_is_no_message(key_file, content):
    """Also where the seal itself is good."""
    with pytest.raises(SealError, match=r"^what is sealed is no message$"):
        Seal(key_file).open(sealed(content).sealed)


@_one_key
@given(st.data())
def test_a_sign_changed_on_the_way_changes_no_message(key_file, data):
    """It does not open, or, where the sign's last bits mean nothing, to the same."""
    message = secret().sealed
    at = data.draw(st.integers(0, len(message) - 1))
    other = data.draw(st.characters(max_codepoint=127))
    try:
        opened = Seal(key_file).open(message[:at] + other + message[at + 1 :])
    except SealError:
        return
    assert json.dumps(opened) == json.dumps(Seal(key_file).open(message))


@pytest.mark.parametrize("text", ["", "{", "[]", "5", '{"kty": "oct", "k": "AAAA"}', '{"kty": "EC"}'])
def test_a_file_without_a_key_is_refused(tmp_path, text):
    """In words that do not quote it."""
    path = tmp_path / "key.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"^not a "):
        Seal(path)
