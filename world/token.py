"""A PKCS#11 token that keeps keys and never exports them: its address, and a session with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import unquote


class TokenUnavailable(Exception):
    """The token with a key cannot be reached, or it refused. The key was not used and nothing was written."""


@dataclass(frozen=True, slots=True)
class TokenAddress:
    """A token's address, from an RFC 7512 URI: `pkcs11:token=NAME?module-path=FILE&pin-source=FILE`."""

    token: str
    module: str
    pin: str

    @classmethod
    def parse(cls, uri: str) -> TokenAddress:
        """Parse the URI. Raises TokenUnavailable, which names what is missing."""
        path, _, query = uri.removeprefix("pkcs11:").partition("?")
        pairs = [part.partition("=") for part in (*path.split(";"), *query.split("&")) if part]
        parts = {key: unquote(value) for key, _, value in pairs}
        for needed in ("token", "module-path"):
            if needed not in parts:
                raise TokenUnavailable(
                    f"the token's address lacks {needed}; write pkcs11:token=NAME?module-path=FILE&pin-source=FILE"
                )
        pin = parts.get("pin-value", "")
        if source := parts.get("pin-source", "").removeprefix("file:"):
            try:
                pin = Path(source).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise TokenUnavailable(f"the token's PIN cannot be read from {source}: {error.strerror}") from error
        return cls(parts["token"], parts["module-path"], pin)


def with_session(uri: str, action: Callable[[Any], Any]) -> Any:
    """Call an action with a session with the token, and return its result. Raises TokenUnavailable.

    The session is opened at first use, and opened again once if it is lost.
    """
    import pkcs11

    try:
        with _session_lock:
            try:
                return action(_session(uri))
            except (pkcs11.exceptions.SessionHandleInvalid, pkcs11.exceptions.SessionClosed):
                _session.cache_clear()
                return action(_session(uri))
    except (pkcs11.exceptions.PKCS11Error, RuntimeError, OSError) as error:
        _session.cache_clear()
        raise TokenUnavailable(
            f"the token {TokenAddress.parse(uri).token!r} with the authority's keys failed: {error!r}"
        ) from error


_session_lock = Lock()
"""A PKCS#11 session does one operation at a time."""


@lru_cache(maxsize=4)
def _session(uri: str) -> Any:
    import pkcs11

    address = TokenAddress.parse(uri)
    token = pkcs11.lib(address.module).get_token(token_label=address.token)
    return token.open(rw=True, user_pin=address.pin)
