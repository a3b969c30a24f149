r"""Log formats of nginx, Apache and HAProxy, as their configuration writes them, and the regular expressions that read
the lines that they produce.

Each directive is a column, under the name that it has in the configuration: `$time_local`, `%t`,
`%{SSL_CLIENT_M_SERIAL}x`, `%[ssl_c_serial,hex]`. Sources: nginx, ngx_http_log_module; Apache, mod_log_config; HAProxy,
Configuration Manual, 8.2.6 (custom log format).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from kazashi.tracking_lab.logs.unusable import LogsUnusable, LogsUnusableReason

_COMBINED = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"'
)
_NGINX_CERTIFICATE = ' "$ssl_client_serial" "$ssl_client_s_dn" "$ssl_client_verify"'
_COMMON = '%h %l %u %t "%r" %>s %b'
_APACHE_COMBINED = _COMMON + ' "%{Referer}i" "%{User-agent}i"'
_APACHE_CERTIFICATE = ' "%{SSL_CLIENT_M_SERIAL}x" "%{SSL_CLIENT_S_DN}x" "%{SSL_CLIENT_VERIFY}x"'
_HTTPLOG = "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r"

FORMATS = {
    "nginx": _COMBINED + _NGINX_CERTIFICATE,
    "nginx-combined": _COMBINED,
    "apache": _APACHE_COMBINED + _APACHE_CERTIFICATE,
    "apache-common": _COMMON,
    "apache-combined": _APACHE_COMBINED,
    "haproxy": _HTTPLOG + " %[ssl_c_serial,hex] %{+Q}[ssl_c_s_dn] %[ssl_c_verify]",
    "haproxy-http": _HTTPLOG,
}
"""The formats by name. The first of each server also writes the client certificate's serial number, subject and
verification result."""

POSTGRESQL = "postgresql"
POSTGRESQL_COLUMNS = (
    "log_time", "user_name", "database_name", "process_id", "connection_from", "session_id", "session_line_num",
    "command_tag", "session_start_time", "virtual_transaction_id", "transaction_id", "error_severity",
    "sql_state_code", "message", "detail", "hint", "internal_query", "internal_query_pos", "context", "query",
    "query_pos", "location", "application_name", "backend_type", "leader_pid", "query_id",
)  # fmt: skip
"""The columns of PostgreSQL's csvlog (documentation, 20.8.4). Version 12 has the first 23, and 13 the first 24."""

_DIRECTIVE = re.compile(r"\s*(?:log_format\s+\S+|LogFormat|CustomLog\s+\S+|log-format(?:-sd)?)\s+", re.IGNORECASE)
_NGINX_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")
_APACHE_VARIABLE = re.compile(r"%(?:!?[\d,]+)?[<>]?(?:\{[^}]*\}\^?[A-Za-z]{1,2}|[A-Za-z%])")
_HAPROXY_VARIABLE = re.compile(r"%(?:\{[^}]*\})?(?:\[[^\]]*\]|[A-Za-z]+)|%%")

_MOMENTS = ("$time_local", "$time_iso8601", "$msec", "%t", "%tr", "%T", "%trg", "%tl", "%Ts")
_EPOCH = ("$msec", "%Ts")
_SERIALS = ("$ssl_client_serial", "%{SSL_CLIENT_M_SERIAL}x", "%[ssl_c_serial,hex]")
_CAPTURES = ("%hr", "%hs")
_FREE = ("$ssl_client_s_dn", "$ssl_client_i_dn", "%{SSL_CLIENT_S_DN}x", "%{SSL_CLIENT_I_DN}x", "%u", "$remote_user")
"""Variables whose values can contain blanks."""


@dataclass(frozen=True, slots=True)
class LogFormat:
    """A log format: its variables in order, the regular expression (RE2) with a group for each, and the variables that
    hold the time and the serial number of the client's certificate, or are empty."""

    variables: tuple[str, ...]
    pattern: str
    moment: str
    moment_form: str
    serial: str


def log_format(text: str) -> LogFormat:
    """Read a log format: a name of FORMATS, or a line of a server's configuration (`log_format`, `LogFormat`,
    `log-format`), or the format alone. Raises LogsUnusable."""
    given = FORMATS.get(text, text)
    given = _unquoted(_DIRECTIVE.sub("", given, count=1)) if _DIRECTIVE.match(given) else given
    nginx = _NGINX_VARIABLE.search(given) is not None
    haproxy = not nginx and re.search(r"%\[|%ci|%tr|%hr|%ST", given) is not None
    variable = _NGINX_VARIABLE if nginx else _HAPROXY_VARIABLE if haproxy else _APACHE_VARIABLE
    pieces, names, place = [], [], 0
    for match in variable.finditer(given):
        before, after = given[place : match.start()], given[match.end() : match.end() + 1]
        place = match.end()
        name = f"${match[1] or match[2]}" if nginx else match[0]
        if name == "%%":
            pieces.append(re.escape(before) + "%")
            continue
        flags = re.match(r"%\{([^}]*)\}", name) if haproxy else None
        name = name if flags is None else "%" + name[flags.end() :]
        names.append(name)
        optional = name in _CAPTURES and haproxy and before.endswith(" ")
        pieces.append(re.escape(before[:-1] if optional else before))
        pieces.append(_group(name, before, after, quoted=flags is not None and "+Q" in flags[1]))
    if not names:
        raise LogsUnusable(
            LogsUnusableReason.WRONG_LOG_FORMAT,
            f"{text!r} is not a log format; use {', '.join(FORMATS)}, {POSTGRESQL}, or the line of the server's "
            "configuration",
        )
    pieces.append(re.escape(given[place:]))
    # Log collectors write a time, a host and a program before the line of the server.
    pattern = "".join(("^(?:.*?(?:haproxy|nginx|httpd|apache2)(?:\\[\\d+\\])?: )?", *pieces, " ?$"))
    moment = next((name for name in names if name in _MOMENTS), "")
    return LogFormat(
        tuple(names), pattern, moment, "epoch" if moment in _EPOCH else "iso",
        next((name for name in names if name in _SERIALS), ""),
    )  # fmt: skip


def _group(name: str, before: str, after: str, quoted: bool) -> str:
    """The group that matches a variable's value, by what stands around it."""
    if quoted:
        return r'"((?:[^"\\]|\\.)*)"'
    if name in _CAPTURES:
        return r"(?: ?\{([^}]*)\})?"
    if name == "%t":  # Apache writes brackets around its time
        return r"\[([^\]]*)\]"
    if before.endswith('"') and after == '"':
        return r'((?:[^"\\]|\\.)*)'
    if before.endswith("[") and after == "]":
        return r"([^\]]*)"
    if name == "%ci":  # an IPv6 address has colons, and the port follows after one more
        return r"(\S+)"
    if name in _FREE:
        return "(.*?)"
    return f"([^{re.escape(after)}]*)" if after and after not in '"' else r"(\S*)"


def _unquoted(text: str) -> str:
    """The format in a configuration line: its quoted pieces, joined, or the line without its end."""
    text = text.strip().rstrip(";").strip()
    text = re.sub(r"^escape=\S+\s+", "", text)
    pieces = re.findall(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"", text)
    if text[:1] in ("'", '"'):
        return "".join(re.sub(r"\\([\"'\\])", r"\1", single or double) for single, double in pieces)
    return re.sub(r"\\([ \"'\\])", r"\1", text)
