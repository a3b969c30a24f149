"""What is settled when a world begins, and stays."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

SERIALS = ("gapless", "random")


@dataclass(frozen=True, slots=True)
class Settings:
    """A world's settings. Raises ValueError for one that makes no sense.

    `seed`      what its people, numbers and events are a function of.
    `storage`   empty for a SQLite file to each actor, or the URL of a PostgreSQL database (a schema to each actor).
    `keys`      where the authorities' keys are made and kept: `software`, or a token as an RFC 7512 `pkcs11:` URI.
    `serials`   `gapless` as the real authorities count, or `random` (64 bits) for comparison.
    `evening`   the hour in Japan at which what was handed in on paper leaves the municipality for Juki-Net.
    `hop_minutes`  how long a message takes over each hop of Juki-Net.
    `crl_minute`   minutes after midnight in Japan at which the day's revocation lists are made.
    `opens`, `closes`  the hours in Japan between which the services to verifiers answer.
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
            raise ValueError("storage is a URL that begins with postgresql://, or empty for SQLite files")
        if self.keys != "software" and not self.keys.startswith("pkcs11:"):
            raise ValueError("keys are kept in 'software' or in a token named by a pkcs11: URI")
        if self.serials not in SERIALS:
            raise ValueError(f"serials are one of {', '.join(SERIALS)}")
        if not 0 <= self.evening <= 23 or not 0 <= self.crl_minute < 24 * 60 or self.hop_minutes < 0:
            raise ValueError("evening is an hour, crl_minute a minute of the day, hop_minutes not negative")
        if not 0 <= self.opens < self.closes <= 24:
            raise ValueError("the services open before they close, between 0 and 24")

    def as_dict(self) -> dict[str, object]:
        """The settings that differ from the defaults, for the world's file."""
        defaults = {field.name: field.default for field in fields(self)}
        return {name: value for name, value in asdict(self).items() if value != defaults[name]}
