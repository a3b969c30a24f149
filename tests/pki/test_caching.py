"""HTTP caches and conditional requests in front of the authorities: nginx and curl are the clients."""

from __future__ import annotations

import hashlib
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from kazashi.assembly.served import ServedProcess, free_port
from kazashi.jpki.state import Reason
from kazashi.pki.callers import REVOCATION_FILE, Callers
from kazashi.pki.responder import GRID
from kazashi.world.key_source import SharedKeySource, generate
from tests.pki.test_http import Answer, Served, of, request
from tests.polling import until
from tests.relying_party.stack import NGINX_HEAD, server
from tests.town import AUTHENTICATION, MORNING, SIGNATURE, clock_of, later, loaded, new_institutions

NGINX = (
    NGINX_HEAD
    + """
  proxy_cache_path {directory}/cache keys_zone=ocsp:1m;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass {url};
      proxy_cache ocsp;
      proxy_cache_revalidate on;
      add_header X-Cache $upstream_cache_status;
    }}
  }}
}}
"""
)


@dataclass
class Cached(Served):
    """Served authorities, and the port of an nginx that caches their responses."""

    cache_port: int = 0

    def through_cache(self, path: str, *, key: str = "") -> Answer:
        return Served(self.town, self.cache_port, self.key).ask(path, key=key)


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cached]:
    town = new_institutions(tmp_path_factory.mktemp("cached") / "w", SharedKeySource([generate() for _ in range(9)]))
    for alias in ("hanako", "taro"):
        town.issue_card(alias, alias)
    town.settle()
    # Without the instance's own clock, which would make the lists of every day that a test passes over.
    directory, port = tmp_path_factory.mktemp("nginx"), free_port()
    cache_port = free_port([port])
    arguments = ("kazashi.pki.serve", str(town.world.directory), "--workers", "1")
    process = ServedProcess("the authorities' services", arguments, port, directory / "services.log")
    settings = directory / "nginx.conf"
    settings.write_text(NGINX.format(directory=directory, port=cache_port, url=f"http://127.0.0.1:{port}"))
    with server(("nginx", "-c", str(settings)), cache_port, directory / "nginx.out"):
        yield Cached(town, port, Callers(town.world).register("library"), cache_port)
    process.stop()
    town.world.close()


@pytest.fixture(autouse=True)
def stopped(cached: Cached) -> None:
    """Stop the clock at ten in the morning."""
    clock_of(cached.town.world).stand(MORNING)


def path_of(cached: Cached, who: str, *, key: str = "", slashes: str = "/") -> str:
    asked = quote(b64encode(request(cached, of(cached, who, SIGNATURE), SIGNATURE)), safe="")
    return "/ocsp/signature" + (f"/as/{key}" if key else "") + slashes + asked


def max_age(answer: Answer) -> int:
    directives = answer.headers["cache-control"].split(", ")
    return next(int(part.removeprefix("max-age=")) for part in directives if part.startswith("max-age="))


@pytest.mark.parametrize("days", [-400, 0, 400])
def test_the_headers_agree_wherever_the_worlds_clock_is(cached: Cached, days: int) -> None:
    clock, path = clock_of(cached.town.world), path_of(cached, "hanako")
    clock.run(datetime.now(UTC) + timedelta(days=days))
    answer = cached.ask(path)
    now = clock.now()
    assert answer.ocsp.certificate_status is ocsp.OCSPCertStatus.GOOD
    date, modified, expires = (
        parsedate_to_datetime(answer.headers[name]) for name in ("date", "last-modified", "expires")
    )
    assert answer.headers.get_all("date") == [answer.headers["date"]]
    assert abs(date - datetime.now(UTC)) < timedelta(seconds=5)
    assert modified <= date <= expires
    next_update = answer.ocsp.next_update_utc
    assert next_update is not None
    assert expires - modified == GRID
    assert abs((expires - date).total_seconds() - max_age(answer)) <= 1
    assert abs((next_update - now).total_seconds() - max_age(answer)) <= 2
    assert "no-cache" not in answer.headers["cache-control"]


@pytest.mark.long
def test_a_cache_serves_a_response_until_the_worlds_next_update(cached: Cached) -> None:
    """The world's clock is near the next quarter of an hour."""
    clock, path = clock_of(cached.town.world), path_of(cached, "hanako", key=cached.key)
    mark = MORNING + timedelta(hours=1)
    clock.run(mark - timedelta(seconds=3))
    first = cached.through_cache(path)
    again = cached.through_cache(path)
    assert (first.headers["x-cache"], again.headers["x-cache"], again.body) == ("MISS", "HIT", first.body)
    assert first.ocsp.next_update_utc == mark

    def is_asked_again() -> bool:
        now, answer = clock.now(), cached.through_cache(path)
        next_update = answer.ocsp.next_update_utc
        assert next_update is not None
        assert now <= next_update, "the cache serves a response after its nextUpdate"
        return answer.ocsp.this_update_utc == mark

    until(is_asked_again, "the cache never asks again")
    assert cached.through_cache(path).headers["x-cache"] == "HIT"


def test_a_cache_asks_again_while_the_worlds_clock_is_stopped(cached: Cached) -> None:
    path = path_of(cached, "taro", key=cached.key)
    assert cached.through_cache(path).ocsp.certificate_status is ocsp.OCSPCertStatus.GOOD
    cached.town.revocations[SIGNATURE].revoke(of(cached, "taro", SIGNATURE).serial, Reason.KEY_COMPROMISE)
    assert cached.through_cache(path).ocsp.certificate_status is ocsp.OCSPCertStatus.GOOD
    later(cached.town, minutes=15)
    assert cached.through_cache(path).ocsp.certificate_status is ocsp.OCSPCertStatus.REVOKED


def test_a_shared_cache_keeps_no_response_to_a_key_in_a_header(cached: Cached) -> None:
    clock_of(cached.town.world).run(MORNING + timedelta(minutes=1))
    path = path_of(cached, "hanako")
    assert [cached.through_cache(path, key=cached.key).headers["x-cache"] for _ in range(2)] == ["MISS", "MISS"]
    refused = cached.through_cache(path)
    assert refused.ocsp.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED


def test_an_unknown_certificate_is_asked_for_again(cached: Cached) -> None:
    """It may be issued at any moment."""
    clock_of(cached.town.world).run(MORNING + timedelta(minutes=1))
    issuer = x509.load_der_x509_certificate(cached.town.authorities[SIGNATURE].root())
    other = of(cached, "hanako", AUTHENTICATION)
    builder = ocsp.OCSPRequestBuilder().add_certificate(loaded(other), issuer, hashes.SHA256())
    data = quote(b64encode(builder.build().public_bytes(Encoding.DER)), safe="")
    path = f"/ocsp/authentication/as/{cached.key}/{data}"
    for _ in range(2):
        answer = cached.through_cache(path)
        assert answer.ocsp.certificate_status is ocsp.OCSPCertStatus.UNKNOWN
        assert answer.headers["x-cache"] == "MISS"


@pytest.mark.parametrize("key", [False, True])
@pytest.mark.parametrize("slashes", ["//", "///", "/%2F"])
def test_slashes_before_the_request_are_tolerated(cached: Cached, key: bool, slashes: str) -> None:
    plain = cached.ask(path_of(cached, "hanako"))
    answer = cached.ask(path_of(cached, "hanako", key=cached.key if key else "", slashes=slashes))
    assert answer.ocsp.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert answer.body == plain.body


def curl(url: str, *options: str) -> tuple[int, bytes]:
    """The status and the body that curl gets."""
    command = ("curl", "-sS", "-w", "%{stderr}%{http_code}", *options, url)
    done = subprocess.run(command, capture_output=True, check=True, timeout=20)
    return int(done.stderr), done.stdout


def urls(cached: Cached) -> dict[str, tuple[str, list[str]]]:
    """An address for each way to fetch a file, and curl's options for it."""
    header = ["-H", f"Authorization: Bearer {cached.key}"]
    return {
        "list": (f"{cached.url}/crl/signature/03/full.crl", []),
        "certificate": (f"{cached.url}/ca/signature/03.cer", []),
        "revocation file": (f"{cached.url}/services/revocation-file/signature/03", header),
        "ocsp": (cached.url + path_of(cached, "hanako"), header),
    }


@pytest.mark.parametrize("what", ["list", "certificate", "revocation file", "ocsp"])
def test_curl_fetches_only_what_has_changed(cached: Cached, tmp_path: Path, what: str) -> None:
    url, options = urls(cached)[what]
    tag, file = tmp_path / "etag", tmp_path / "file"
    status, body = curl(url, *options, "--etag-save", str(tag), "-R", "-o", str(file), "-D", str(tmp_path / "head"))
    assert (status, body) == (200, b"")
    assert curl(url, *options, "--etag-compare", str(tag)) == (304, b"")
    assert curl(url, *options, "-I", "--etag-compare", str(tag))[0] == (405 if what == "ocsp" else 304)
    if what != "ocsp":  # while the world's clock is stopped, its dates are not the machine's
        assert curl(url, *options, "-z", str(file)) == (304, b"")
    since = f"If-Modified-Since: {head(tmp_path / 'head')['last-modified']}"
    other = ("-H", 'If-None-Match: "another"', "-H", since)
    for unconditional in (
        other,
        ("-z", "2020-01-01"),
        ("-H", "If-Modified-Since: yesterday"),
        ("-H", "If-None-Match:"),
    ):
        assert curl(url, *options, *unconditional) == (200, file.read_bytes())
    listed = ("-H", f'If-None-Match: "another", W/{tag.read_text().strip()}')
    assert curl(url, *options, *listed, "-D", str(tmp_path / "kept")) == (304, b"")
    kept = head(tmp_path / "kept")
    assert {"date", "etag", "cache-control"} <= kept.keys(), "RFC 9110, 15.4.5"
    assert kept["etag"] == tag.read_text().strip()
    assert curl(url, *options, "-H", "If-None-Match: *") == (304, b"")


def head(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="ascii").splitlines()[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}


def test_what_is_not_found_is_never_unchanged(cached: Cached) -> None:
    assert curl(f"{cached.url}/crl/signature/03/nowhere.crl", "-H", "If-None-Match: *")[0] == 404
    status, _ = curl(f"{cached.url}/services/revocation-file/signature/03", "-H", "If-None-Match: *")
    assert status == 401


def test_two_lists_of_one_second_are_told_apart(cached: Cached, tmp_path: Path) -> None:
    """A client has the list of one night, and the next night's list follows in the same second."""
    url = f"{cached.url}/crl/signature/03/full.crl"
    seen = []
    for number in range(6):
        later(cached.town, days=1)
        file = tmp_path / f"{number}.crl"
        condition = ("-z", str(tmp_path / f"{number - 1}.crl")) if number else ()
        assert curl(url, *condition, "-R", "-o", str(file))[0] == 200, "the next list may come in the same second"
        seen.append(hashlib.sha256(file.read_bytes()).digest())
    assert len(set(seen)) == 6


def test_a_list_that_has_not_changed_is_logged_as_fetched(cached: Cached) -> None:
    """The caller got its answer."""
    url, options = urls(cached)["revocation file"]
    before = len([line for line in cached.queries() if line.service == REVOCATION_FILE])
    assert curl(url, *options, "-H", "If-None-Match: *")[0] == 304
    assert len([line for line in cached.queries() if line.service == REVOCATION_FILE]) == before + 1
