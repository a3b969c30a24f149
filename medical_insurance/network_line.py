"""The joint body's connections to its interface system and to the J-LIS office, with its own system certificate."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from queue import Empty, SimpleQueue
from typing import Any

from kazashi.jpki.serial_number import serial_text
from kazashi.medical_insurance.eligibility import NetworkSilent
from kazashi.medical_insurance.entitlement import ITEM
from kazashi.provision_network.codes import ForeignCode, InstitutionCode
from kazashi.provision_network.law.tables import Purpose, table_of_affairs
from kazashi.provision_network.terms import NetworkRejected
from kazashi.web.mutual_tls import Credentials, JsonConnection

_WAIT = 4
"""How many seconds an insurer's answer may take. A patient is waiting."""


@lru_cache(maxsize=1)
def purpose() -> Purpose:
    """Return the affair for which the joint body asks: that of the table's row which uses no individual number."""
    return next(row.purpose for row in table_of_affairs() if row.purpose.item == ITEM and not row.uses_number)


class NetworkLine:
    """Requests of the joint body. Connections are kept, one for each request under way."""

    def __init__(self, credentials: Credentials, interface: Callable[[], str], office: str) -> None:
        """`interface` returns the address of the interface system; `office` is that of the J-LIS office."""
        self._credentials = credentials
        self._addresses: dict[str, Callable[[], str]] = {
            "the interface system": interface, "the J-LIS office": lambda: office
        }  # fmt: skip
        self._idle: dict[str, SimpleQueue[JsonConnection]] = {name: SimpleQueue() for name in self._addresses}

    def ask(self, own_number: str, insurer: str) -> str | None:
        """Ask an insurer for a person's entitlements, and return its copy's content. Raises NetworkRejected and
        NetworkSilent."""
        question = {"address_number": own_number, "provider": insurer, "purpose": asdict(purpose())}
        answer = self._post("the interface system", f"/v1/ask?wait={_WAIT}", question)
        if answer["stage"] == "refused":
            raise NetworkRejected(str(answer["denial"]), str(answer["words"]))
        if answer["stage"] != "answered":
            raise NetworkSilent(f"{insurer} has not answered within {_WAIT} seconds ({answer['stage']})")
        content = answer["content"]
        return None if content is None else str(content)

    def code_of(self, serial: int) -> InstitutionCode:
        """Return the insurers' code of a certificate's holder, from the J-LIS office. Raises NetworkRejected and
        NetworkSilent."""
        reply = self._post("the J-LIS office", "/v1/institution-code", {"serial": f"0x{serial_text(serial)}"})
        try:
            return InstitutionCode.parse(reply["code"])
        except (KeyError, ForeignCode) as error:
            raise NetworkSilent(f"the J-LIS office sent no code: {error}") from error

    def _post(self, to: str, path: str, body: Any) -> Any:
        idle = self._idle[to]
        try:
            try:
                connection = idle.get_nowait()
            except Empty:
                connection = JsonConnection(self._credentials, self._addresses[to](), _WAIT + 2)
            status, content = connection.post(path, body)
            idle.put(connection)
            reply = json.loads(content)
            if status == 200:
                return reply
            words, denial = str(reply["error"]), str(reply.get("denial", "unknown-certificate"))
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, AttributeError) as error:
            raise NetworkSilent(f"{to} does not respond: {error}") from error
        if status in (403, 404, 422):
            raise NetworkRejected(denial, words)
        raise NetworkSilent(f"{to} responded with status {status}: {words}")
