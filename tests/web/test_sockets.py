"""Servers at `localhost`: both of its addresses, or neither."""

from __future__ import annotations

import errno
import http.client
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kazashi.assembly.served import ServedProcess, free_port, serve
from kazashi.web import sockets
from kazashi.web.sockets import is_free, listening_sockets, loopback_addresses

ADDRESSES = [address for _, address in loopback_addresses()]
needs_both = pytest.mark.skipif("::1" not in ADDRESSES, reason="this machine has no ::1")


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[ServedProcess]:
    process = serve(tmp_path, "agent", environment=dict(os.environ))
    yield process
    process.stop()


def test_a_server_answers_at_every_address_of_localhost(agent: ServedProcess) -> None:
    """Node 17 to 19, for example, use the first address that the system returns, and that is often ::1."""
    for address in ADDRESSES:
        connection = http.client.HTTPConnection(address, agent.port, timeout=20)
        connection.request("GET", "/", headers={"Host": f"127.0.0.1:{agent.port}"})
        assert connection.getresponse().status == 200
        connection.close()


@pytest.mark.unit
@pytest.mark.parametrize("address", ADDRESSES)
def test_a_port_that_is_taken_at_one_address_is_not_free(port: int, address: str) -> None:
    """Otherwise another program would get half of a server's visitors."""
    assert is_free(port)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family):
        assert not is_free(port)
        with pytest.raises(OSError, match="Address already in use") as refused:
            listening_sockets(port)
        assert refused.value.errno == errno.EADDRINUSE
        assert free_port() != port
    assert is_free(port), "nothing was left listening at the other address"


@needs_both
def test_a_server_does_not_start_with_half_of_its_addresses(port: int) -> None:
    with socket.create_server(("::1", port), family=socket.AF_INET6):
        done = subprocess.run(
            [sys.executable, "-m", "kazashi", "agent", "--port", str(port)], capture_output=True, text=True,
            check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 3
    assert f"port {port} cannot be used" in done.stderr
    assert done.stderr.rstrip().endswith("[services-unavailable]")


@pytest.mark.unit
def test_a_machine_without_ipv6_has_one_address(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its addresses are tried, not assumed. 192.0.2.1 is one that no machine has (RFC 5737)."""
    monkeypatch.setattr(sockets, "_LOOPBACK", (sockets._LOOPBACK[0], (socket.AF_INET, "192.0.2.1")))
    (only,) = listening_sockets(port)
    with only:
        assert only.getsockname() == ("127.0.0.1", port)
        assert not is_free(port)
