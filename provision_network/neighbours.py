"""What an interface system knows of the network: its own certificate, the core's address, and the other bodies."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kazashi.provision_network.interface_store import BODY, SETTING
from kazashi.provision_network.terms import CORE, NetworkRejected
from kazashi.web.mutual_tls import Credentials, pem_of
from kazashi.world.rng import new_token
from kazashi.world.statement import Statement
from kazashi.world.storage import Store, insert_if_absent


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A body on the network: its interface system, the address of that, and the body's public key (JWK)."""

    interface: str
    address: str
    key: str


@dataclass(frozen=True, slots=True)
class Known:
    """What an interface system knows: the bodies on the network, those behind itself, the items of affairs by
    ordinance, and the fingerprints of certificates that it refuses."""

    version: str | None
    bodies: Mapping[str, Neighbour]
    own: frozenset[str]
    items: frozenset[str]
    refused: frozenset[str]


_READ = ("members", "items", "refused", "own-version")
_VERSION_BITS = 64
"""The number of bits of a version, which is random: a version of a transaction that was rolled back never returns."""

_VERSION = Statement(sa.select(SETTING.c.value).where(SETTING.c.name == "version"))


class Neighbours:
    """The enrolment of an interface system, and the bodies that the core has announced to it."""

    def __init__(self, store: Store, name: str, on_change: Callable[[], object]) -> None:
        """`on_change` is called when it is read that the bodies behind this interface system have changed."""
        self._store = store
        self._name = name
        self._on_change = on_change
        self._own_version: str | None = None
        self._known: Known | None = None

    def begin(self) -> ec.EllipticCurvePublicKey:
        """Return the public key for which the core issues a certificate. The private key stays in this store."""
        new = pem_of(ec.generate_private_key(ec.SECP256R1())).decode("ascii")
        with self._store.alone() as connection:
            connection.execute(insert_if_absent(SETTING), {"name": "key", "value": new})
            text = str(connection.scalar(sa.select(SETTING.c.value).where(SETTING.c.name == "key")))
        key = serialization.load_pem_private_key(text.encode("ascii"), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key.public_key()

    def enrolled(self, certificate: bytes, authority: bytes, core: str) -> None:
        """Store the core's reply: the certificate, its authority's certificate (both PEM), and the core's address."""
        values = {"certificate": certificate.decode("ascii"), "authority": authority.decode("ascii"), "core": core}
        with self._store.alone() as connection:
            _set(connection, values)

    def credentials(self) -> tuple[Credentials, str]:
        """Return the TLS credentials and the core's address. Raises NetworkRejected if the interface system is not
        enrolled."""
        settings = self._settings(("certificate", "key", "authority", "core"))
        try:
            pems = [settings[name].encode("ascii") for name in ("certificate", "key", "authority")]
            return Credentials(*pems), settings["core"]
        except KeyError:
            raise NetworkRejected("not-enrolled", f"{self._name} is not enrolled with a core yet") from None

    def bodies(self) -> Mapping[str, Neighbour]:
        """Return all bodies on the network, by name, as announced by the core before the last call of `known`."""
        if self._known is None:
            with self._store.reading() as connection:
                return self.known(connection).bodies
        return self._known.bodies

    def known(self, connection: sa.Connection) -> Known:
        """Return what the core has announced, within a transaction of the interface system's store. It is read again
        if another process has handled an announcement."""
        version = _VERSION.scalar(connection)
        if self._known is None or self._known.version != version:
            rows = connection.execute(sa.select(SETTING).where(SETTING.c.name.in_(_READ)))
            found = {row.name: json.loads(row.value) for row in rows}
            self._known = Known(
                version, {name: Neighbour(**fields) for name, fields in found.get("members", {}).items()},
                frozenset(connection.scalars(sa.select(BODY.c.name))), frozenset(found.get("items", [])),
                frozenset(found.get("refused", [])),
            )  # fmt: skip
            own_version = found.get("own-version")
            if self._own_version not in (None, own_version):
                self._on_change()
            self._own_version = own_version
        return self._known

    def get(self, name: str) -> Neighbour | None:
        """Return a body by name, or None if it is not known."""
        return self.bodies().get(name)

    def addresses(self) -> dict[str, str]:
        """Return the addresses of the other interface systems and of the core, by name."""
        addresses = {neighbour.interface: neighbour.address for neighbour in self.bodies().values()}
        return {**addresses, CORE: self._settings(("core",)).get("core", "")}

    def announced(self, connection: sa.Connection, members: Mapping[str, Any]) -> None:
        """Add bodies that the core has announced, or replace their entries. Raises AttributeError and TypeError if the
        announcement is malformed."""
        new = {name: Neighbour(**fields) for name, fields in members.items()}
        self._set_bodies(connection, {**self.known(connection).bodies, **new})

    def left(self, connection: sa.Connection, body: str) -> None:
        """Forget a body that has left the network."""
        bodies = self.known(connection).bodies
        self._set_bodies(connection, {name: entry for name, entry in bodies.items() if name != body})

    def listed_items(self, connection: sa.Connection, items: Sequence[str]) -> None:
        """Store the items of the affairs by ordinance that the core has announced."""
        self._change(connection, {"items": json.dumps(list(items))})

    def refuse(self, connection: sa.Connection, fingerprint: str) -> None:
        """Accept no more requests with the certificate of that fingerprint."""
        refused = sorted({*self.known(connection).refused, fingerprint})
        self._change(connection, {"refused": json.dumps(refused)})

    def changed(self, connection: sa.Connection) -> None:
        """Let every process read again what is known, because the bodies behind this interface system have changed."""
        self._own_version = new_token(_VERSION_BITS)
        self._change(connection, {"own-version": json.dumps(self._own_version)})

    def _set_bodies(self, connection: sa.Connection, bodies: Mapping[str, Neighbour]) -> None:
        self._change(connection, {"members": json.dumps({name: asdict(body) for name, body in bodies.items()})})

    def _change(self, connection: sa.Connection, values: Mapping[str, str]) -> None:
        _set(connection, {**values, "version": new_token(_VERSION_BITS)})
        self.known(connection)

    def _settings(self, names: Sequence[str]) -> dict[str, str]:
        with self._store.reading() as connection:
            rows = connection.execute(sa.select(SETTING).where(SETTING.c.name.in_(names)))
            return {row.name: row.value for row in rows}


def _set(connection: sa.Connection, values: Mapping[str, str]) -> None:
    connection.execute(sa.delete(SETTING).where(SETTING.c.name.in_(values)))
    connection.execute(sa.insert(SETTING), [{"name": name, "value": value} for name, value in values.items()])
