"""E-mail addresses and phones as they are stored and compared. Pure."""

import email_validator
import phonenumbers

from kit.errors import INVALID_FIELD

DEFAULT_REGION = "RU"  # of a number that names no country


def email(text: str, *, field: str = "email") -> str:
    """An e-mail address in the one form that is stored: its domain in lower case and in ASCII, no space around it.

    Whether two are the same is asked of the lower case of the whole: by RFC 5321 a mail server may tell Anna@ from
    anna@, but none that matters does, and people write it both ways. What a provider does beyond that (Gmail's dots,
    +tags) is the provider's affair: there they are other addresses. Local parts beyond ASCII need an extension
    (SMTPUTF8) that many relays lack: a code could not be sent to them.

    Raises:
        Error: INVALID_FIELD.
    """
    try:
        found = email_validator.validate_email(text.strip(), check_deliverability=False, allow_smtputf8=False)
    except email_validator.EmailNotValidError:
        raise INVALID_FIELD(f"{field}: not an e-mail address", field=field) from None
    assert found.ascii_email is not None  # without SMTPUTF8 there is always one
    # `=?` begins an encoded word: in an e-mail's header it would be read as another address.
    if "=?" in found.ascii_email:
        raise INVALID_FIELD(f"{field}: not an e-mail address", field=field)
    return found.ascii_email


def readable(email: str) -> str:
    """An e-mail address that is stored, with its domain as people write it: `anna@пример.рф`."""
    return email_validator.validate_email(email, check_deliverability=False).normalized


def phone(text: str, *, field: str = "phone") -> str:
    """A phone as E.164, `+79001234567`; without a country's code it is read as a Russian one.

    A possible number (its country exists, its length is right there) is enough: which ranges are in use changes faster
    than a library's tables, and whether somebody answers is what the code that is sent shows.

    Raises:
        Error: INVALID_FIELD.
    """
    try:
        found = phonenumbers.parse(text, DEFAULT_REGION)
    except phonenumbers.NumberParseException:
        raise INVALID_FIELD(f"{field}: not a phone number", field=field) from None
    possible = phonenumbers.is_possible_number_with_reason(found) == phonenumbers.ValidationResult.IS_POSSIBLE
    # No SMS reaches an extension.
    if found.extension or not possible:
        raise INVALID_FIELD(f"{field}: not a phone number", field=field)
    return phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.E164)
