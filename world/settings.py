"""The settings of a world, which are chosen when it is created and do not change."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields
from urllib.parse import unquote

SERIALS = ("gapless", "random")

_PASSWORD = re.compile(r"(?<=://)([^:@]*):.*(?=@)")
_SECRETS = ("password", "sslpassword", "pin-value")
"""Parameters of a database's URL (libpq) and of a token's URI (RFC 7512) that are secrets."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A world's settings. Raises ValueError for an invalid value.

    `seed`      the seed from which its people, numbers and events are derived.
    `storage`   empty for one SQLite file per actor, or the URL of a PostgreSQL database (one schema per actor).
    `keys`      where the authorities' keys are made and kept: `software`, or a token as an RFC 7512 `pkcs11:` URI.
    `serials`   `gapless`, as the real authorities count, or `random` (64 bits) for comparison.
    `evening`   the hour in Japan at which events reported on paper leave the municipality for Juki-Net.
    `hop_minutes`  the time in minutes that a message takes over each hop of Juki-Net.
    `crl_minute`   the time at which the day's revocation lists are made, in minutes after midnight in Japan.
    `opens`, `closes`  the hours in Japan between which the services to verifiers respond.
    """

    seed: str
    storage: str = ""
    keys: str = "software"
    serials: str = "gapless"
    evening: int = 20
    hop_minutes: int = 0
    crl_minute: int = 30
    opens: int = 0
    closes: int = 24

    def __post_init__(self) -> None:
        if self.storage and not self.storage.startswith("postgresql://"):
            raise ValueError("storage must be a URL that begins with postgresql://, or empty for SQLite files")
        if self.keys != "software" and not self.keys.startswith("pkcs11:"):
            raise ValueError("keys must be 'software' or a token's pkcs11: URI")
        if self.serials not in SERIALS:
            raise ValueError(f"serials must be one of {', '.join(SERIALS)}")
        if not 0 <= self.evening <= 23 or not 0 <= self.crl_minute < 24 * 60 or self.hop_minutes < 0:
            raise ValueError(
                "evening must be an hour (0 to 23), crl_minute a minute of the day, and hop_minutes not negative"
            )
        if not 0 <= self.opens < self.closes <= 24:
            raise ValueError("opens must be before closes, both between 0 and 24")

    def shown(self) -> dict[str, object]:
        """All settings, for people: without the passwords and PINs that worlds of earlier versions may have."""
        return {name: without_secrets(value) if isinstance(value, str) else value
                for name, value in asdict(self).items()}  # fmt: skip

    def as_dict(self) -> dict[str, object]:
        """The settings that differ from the defaults, for the world's settings file."""
        defaults = {field.name: field.default for field in fields(self)}
        return {name: value for name, value in asdict(self).items() if value != defaults[name]}


def without_secrets(address: str) -> str:
    """Return a URL or `pkcs11:` URI with asterisks instead of the passwords and PINs in it."""
    parts = re.split(r"([?&;])", _PASSWORD.sub(r"\1:***", address))
    for place, part in enumerate(parts):
        name, equals, _ = part.partition("=")
        if equals and unquote(name).lower() in _SECRETS:
            parts[place] = f"{name}=***"
    return "".join(parts)


def check_no_secrets(address: str, option: str, instead: str) -> None:
    """Raise ValueError if there is a password or a PIN in an address that was given on the command line."""
    if without_secrets(address) != address:
        raise ValueError(
            f"there is a secret in {option}, where everybody on this machine can see it, and the shell keeps it;"
            f" {instead}; nothing was done"
        )
