"""What a message says: templates/<language>/<kind>.txt, with the blocks subject, text and, where sent, sms.

Templates are sandboxed and strict: one that names what it is not given fails, it does not leave a gap.
"""

from pathlib import Path
from zoneinfo import ZoneInfo

from jinja2 import FileSystemLoader, StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from kit import json
from notifications import accounts, by_hand, orders
from notifications.failures import Failure
from notifications.kinds import Words, one_line
from notifications.messages import Channel, Claimed

TEMPLATES = Path(__file__).parent / "templates"
LANGUAGES = ("ru", "en")
KINDS = orders.KINDS | accounts.KINDS | by_hand.KINDS

_BLOCKS = {Channel.EMAIL: ("subject", "text"), Channel.SMS: ("sms",)}


class RenderError(Failure):
    """A message that cannot be put into words; its templates need a look."""


class Texts:
    """The templates, compiled and complete.

    Raises:
        RenderError: a template or a block of one is missing.
    """

    def __init__(self, timezone: str, folder: Path = TEMPLATES):
        self.timezone = ZoneInfo(timezone)
        environment = ImmutableSandboxedEnvironment(
            loader=FileSystemLoader(folder),
            undefined=StrictUndefined,
            autoescape=False,  # plain text
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates: dict[tuple[str, str], Template] = {}
        for language in LANGUAGES:
            for kind, its in KINDS.items():
                name = f"{language}/{kind}.txt"
                try:
                    template = environment.get_template(name)
                except TemplateError as error:
                    raise RenderError(f"template {name}:", repr(error)) from error
                if missing := {block for channel in its.channels for block in _BLOCKS[channel]} - set(template.blocks):
                    raise RenderError(f"template {name} lacks {', '.join(sorted(missing))}")
                self._templates[language, kind] = template

    def render(self, channel: Channel, claimed: Claimed) -> tuple[str, str]:
        """Return subject (empty for SMS) and text.

        Raises:
            RenderError: the template failed, or the event holds what cannot be shown.
        """
        name = f"{claimed.language}/{claimed.kind}.txt"
        try:
            kind = KINDS[claimed.kind]
            template = self._templates[claimed.language, claimed.kind]
            content = json.loads(kind.content, (claimed.event or "").encode())
            context = template.new_context(kind.values(content, claimed, Words(claimed.language, self.timezone)))
            parts = {block: "".join(template.blocks[block](context)).strip() for block in _BLOCKS[channel]}
        except Exception as error:  # whatever a template may do, and a date that no calendar has
            raise RenderError(f"template {name}: {type(error).__name__}", str(error)) from error
        if channel is Channel.EMAIL:
            return one_line(parts["subject"]), parts["text"] + "\n"
        return "", parts["sms"]
