"""The name of a browser as people know it, from the header User-Agent (RFC 9110, 10.1.5)."""

from __future__ import annotations

# Browsers name each other in this header, so the order matters.
_BROWSERS = (("Edg", "Edge"), ("OPR/", "Opera"), ("SamsungBrowser", "Samsung Internet"), ("Firefox/", "Firefox"),
             ("FxiOS", "Firefox"), ("CriOS", "Chrome"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))  # fmt: skip
_SYSTEMS = (("Windows", "Windows"), ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"),
            ("Mac OS X", "macOS"), ("CrOS", "ChromeOS"), ("Linux", "Linux"))  # fmt: skip


def browser_name(user_agent: str) -> str:
    """Return a short name such as "Firefox, Linux". Unknown parts are left out; of nothing known, it says so."""
    parts = [next((name for sign, name in table if sign in user_agent), "") for table in (_BROWSERS, _SYSTEMS)]
    return ", ".join(part for part in parts if part) or "unknown browser"
