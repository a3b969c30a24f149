"""Commands in transcripts. A step is one command by name; a command without a name is written in hexadecimal.

SELECT JPKI                             an application by its name in traces; `with FCI` requests control information
SELECT EF 0006                          a file of the current application
READ BINARY 0 32                        offset and length, in the current file
READ BINARY EF 000A 0 4                 offset and length, in a file by its short identifier
READ RECORD 1 of EF 0001
GET DATA 5F51
GET CHALLENGE 8
VERIFY authentication PIN "1234"        a PIN by its name; without a value, the query of its retry counter
VERIFY "1234"                           the PIN that is the current file
CHANGE REFERENCE DATA "5678"
COMPUTE DIGITAL SIGNATURE authentication key 3031...
COMPUTE DIGITAL SIGNATURE way 2 3031... P1, and the key that is the current file
INTERNAL AUTHENTICATE card authentication key 0102
"""

from __future__ import annotations

import re

from kazashi.applets.install import structure
from kazashi.card import request
from kazashi.card.file import Application

HEXADECIMAL = re.compile(r"([0-9A-F]{2}|\s|\{\w+\})+")
_APPLICATIONS = {application.name: application for application in structure()}


class Steps:
    """Converts steps to commands. It tracks the selected application, because file names are specific to one."""

    def __init__(self, secrets: dict[str, str]) -> None:
        """Use `secrets` as the values of {PIN} and other placeholders."""
        self._secrets = secrets
        self._application: Application | None = None

    def command(self, step: str) -> bytes:
        """Return the bytes of a step. Raises ValueError if it is not valid."""
        if HEXADECIMAL.fullmatch(step):
            return bytes.fromhex(in_hexadecimal(step, self._secrets))
        verb, rest = _verb(step)
        match verb:
            case "SELECT EF":
                return request.select_file(int(rest, 16))
            case "SELECT":
                name = rest.removesuffix(" with FCI")
                self._application = _APPLICATIONS[name]
                select = request.select if name == rest else request.select_for_information
                return select(self._application.aid)
            case "READ BINARY":
                file, offset, length = _parts(r"(?:EF (\w{4}) )?(\d+) (\d+)", rest)
                return request.read_binary(int(offset), int(length), file=int(file or "0", 16))
            case "READ RECORD":
                number, file = _parts(r"(\d+) of EF (\w{4})", rest)
                return request.read_record(int(number), int(file, 16))
            case "GET DATA":
                return request.get_data(int(rest, 16))
            case "GET CHALLENGE":
                return request.get_challenge(int(rest))
            case "VERIFY":
                name, pin = _parts(r'([^"]*?) ?("[^"]+")?', rest)
                reference = self._reference(name)
                return request.verify(reference, self._text(pin)) if pin else request.tries_left(reference)
            case "CHANGE REFERENCE DATA":
                name, pin = _parts(r'([^"]*?) ?("[^"]+")', rest)
                return request.change_reference_data(self._reference(name), self._text(pin))
            case "COMPUTE DIGITAL SIGNATURE":
                name, way, data = _parts(r"([a-z -]*?) ?(?:way (\d) )?([0-9A-F ]+)", rest)
                return request.compute_digital_signature(
                    self._reference(name), bytes.fromhex(data), way=int(way or "0")
                )
            case _:
                name, data = _parts(r"([a-z -]*?) ?([0-9A-F ]+)", rest)
                return request.internal_authenticate(self._reference(name), bytes.fromhex(data))

    def _reference(self, name: str) -> int:
        if not name:
            return request.CURRENT
        if self._application is None:
            raise ValueError(f"no application was selected by its name, so that {name!r} is not known")
        (fid,) = (fid for fid, file in self._application.files.items() if file.name == name)
        return fid

    def _text(self, quoted: str) -> bytes:
        return re.sub(r"\{(\w+)\}", lambda match: self._secrets[match[1]], quoted[1:-1]).encode("ascii")


def in_hexadecimal(line: str, secrets: dict[str, str]) -> str:
    """Return a hexadecimal line with the placeholders replaced by the holder's secrets."""
    return re.sub(r"\{(\w+)\}", lambda match: secrets[match[1]].encode("ascii").hex(), line)


def _verb(step: str) -> tuple[str, str]:
    for verb in ("SELECT EF", "SELECT", "READ BINARY", "READ RECORD", "GET DATA", "GET CHALLENGE", "VERIFY",
                 "CHANGE REFERENCE DATA", "COMPUTE DIGITAL SIGNATURE", "INTERNAL AUTHENTICATE"):  # fmt: skip
        if step == verb or step.startswith(f"{verb} "):
            return verb, step.removeprefix(verb).strip()
    raise ValueError(f"{step!r} is not a step")


def _parts(pattern: str, text: str) -> tuple[str, ...]:
    match = re.fullmatch(pattern, text)
    if match is None:
        raise ValueError(f"{text!r} does not match {pattern}")
    return match.groups()
