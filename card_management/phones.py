"""The office that issues phones' certificates (移動端末設備用電子証明書): act on JPKI, articles 16-2 and 35-2.

An applicant's phone makes two keys, and their card signs the application. The certificates last as long as the card's,
and follow them: what ends a card's certificate ends the phone's (`kazashi.pki.revocation`). A person has one phone; the
certificates of another one are superseded by its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path

import sqlalchemy as sa
from cryptography.x509 import load_der_x509_certificate

from kazashi.applets import jpki, phone
from kazashi.applets.holder import CardCertificates, CardData, Pins
from kazashi.applets.install import MODEL_TEXT, PHONE
from kazashi.card.certification_request import certification_request
from kazashi.card.contents import ApplicationContents
from kazashi.card.image import ImageExists, ImageMissing, rewrite_applications, write_image
from kazashi.card_management.keys_in_progress import KeysInProgress
from kazashi.card_management.order import image_path
from kazashi.card_management.phone_application import PhoneApplication, PhoneRejected, checked, sign_with_card
from kazashi.card_management.wallet import Wallet
from kazashi.jpki.profile import CertificateType, Medium
from kazashi.jpki.state import CertificateState, Reason
from kazashi.pki.authority import Authority
from kazashi.pki.certificate import CertificateRequest
from kazashi.pki.certificate_database import Issued
from kazashi.resident_registry.number import ResidentRecordCode
from kazashi.resident_registry.resident import Resident
from kazashi.world.clock import JST, epoch
from kazashi.world.event_log import event_table
from kazashi.world.home import World
from kazashi.world.names import checked_name

ACTOR = "phone_office"
_KINDS = (CertificateType.SIGNATURE, CertificateType.AUTHENTICATION)


class NoSuchPhone(Exception):
    """No phone has that name, or its certificates were deleted from it."""


class PhoneState(Enum):
    """The state of a phone in the office's records."""

    ORDERED = "ordered"
    ACTIVE = "active"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Phone:
    """A phone: its name in this world, the number that its token shows, and its state."""

    name: str
    number: str
    state: PhoneState


class PhoneOffice:
    """Issues, stops, releases and deletes the certificates of phones."""

    def __init__(
        self, world: World, authorities: Mapping[CertificateType, Authority],
        identity: Callable[[ResidentRecordCode], Resident],
    ) -> None:  # fmt: skip
        self._world = world
        self._identity = identity
        self._authorities = authorities
        metadata = sa.MetaData()
        self._phone = sa.Table(
            "phone", metadata,
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("number", sa.Text, unique=True, nullable=False),
            sa.Column("state", sa.Text, nullable=False),
        )  # fmt: skip
        self._application = sa.Table(
            "application", metadata,
            sa.Column("digest", sa.Text, primary_key=True),
            sa.Column("number", sa.Text, nullable=False, index=True),
            sa.Column("at", sa.BigInteger, nullable=False),
            sa.Column("signed", sa.LargeBinary, nullable=False),
        )  # fmt: skip
        _, self._log = event_table(metadata, sa.Column("number", sa.Text, nullable=False))
        self.store = world.store(ACTOR, metadata)

    # At the phone

    def issue(self, name: str, resident: Resident, card: Path, password: str, pins: Pins) -> Path:
        """Issue both certificates to a new phone and return the path of its image.

        `card` is the image of the resident's card and `password` its signature password; `pins` are the phone's own. An
        interrupted call is continued by the same call. Raises PhoneRejected, ImageExists, the exceptions of
        `sign_with_card`, and the authorities' exceptions.
        """
        path = image_path(self._world, checked_name(name, "phone", "/"))
        with self._keys(name).held():
            if path.exists():
                raise ImageExists(f"there is already a card or phone {name!r}; choose another name with --name")
            found = self._find(name)
            if found is not None and found.state is PhoneState.DELETED:
                raise PhoneRejected(f"the certificates of the phone {name!r} were deleted; choose another name")
            number = found.number if found is not None else self._ordered(name)
            issued = self._world.clock.now()
            certificates, ends = self._apply(name, number, card, password)
            about = {
                MODEL_TEXT: PHONE.name, "resident": resident.alias, "name": str(resident.name), "phone number": number,
                "authentication PIN": pins.authentication, "signature password": pins.signature,
                "issued": issued.astimezone(JST).isoformat(), "expiry": f"{ends.astimezone(JST):%Y%m%d}",
            }  # fmt: skip
            contents = self._contents(certificates, pins, number, ends)
            write_image(path, {jpki.AID: contents}, about)
            self._changed(number, PhoneState.ACTIVE, "issued")
            self._keys(name).finish()
        return path

    def renew(self, name: str, card: Path, password: str) -> None:
        """Issue new certificates to a phone, after the card's were renewed or after a loss. PINs are kept.

        Raises NoSuchPhone, and the exceptions of `issue`.
        """
        path = image_path(self._world, name)
        with self._keys(name).held():
            number = self.phone(name).number
            if not path.exists():
                raise ImageMissing(f"there is no phone {name!r}")
            certificates, ends = self._apply(name, number, card, password)
            contents = self._contents(certificates, Pins(), number, ends)
            rewrite_applications(path, {jpki.AID: contents}, {"expiry": f"{ends.astimezone(JST):%Y%m%d}"})
            self._changed(number, PhoneState.ACTIVE, "renewed")
            self._keys(name).finish()

    def _keys(self, name: str) -> KeysInProgress:
        return KeysInProgress(self._world.cards / f".{name}.phone-keys")

    def _ordered(self, name: str) -> str:
        rng = self._world.random_stream("phone", name, self._world.clock.now().isoformat())
        number = f"5{rng.randrange(10**14):014d}"
        with self.store.transaction() as connection:
            connection.execute(
                sa.insert(self._phone), {"name": name, "number": number, "state": PhoneState.ORDERED.value}
            )
            self._log(connection, self._world.clock.now(), "ordered", {}, number=number)
        return number

    def _apply(self, name: str, number: str, card: Path, password: str) -> tuple[CardCertificates, datetime]:
        """Apply for both certificates of a phone's keys; return them with their keys, and their end."""
        keys = self._keys(name).keys([kind.code for kind in _KINDS], self._world.keys)
        requests = {kind: certification_request(keys[kind.code]) for kind in _KINDS}
        content = PhoneApplication(number, requests).content()
        try:
            issued = self.accept(sign_with_card(card, password, content, self._world.clock.now()))
        except PhoneRejected:  # nothing was issued
            self._keys(name).finish()
            raise
        ends = min(load_der_x509_certificate(der).not_valid_after_utc for der in issued.values())
        now = self._world.clock.now()
        certificates = CardCertificates(
            signature=issued[CertificateType.SIGNATURE],
            signature_key=keys[CertificateType.SIGNATURE.code],
            signature_authority=self._authorities[CertificateType.SIGNATURE].root(now),
            authentication=issued[CertificateType.AUTHENTICATION],
            authentication_key=keys[CertificateType.AUTHENTICATION.code],
            authentication_authority=self._authorities[CertificateType.AUTHENTICATION].root(now),
        )
        return certificates, ends

    def _contents(self, certificates: CardCertificates, pins: Pins, number: str, ends: datetime) -> ApplicationContents:
        card = CardData(f"{ends.astimezone(JST):%Y%m%d}", "", number, b"")
        return jpki.written(certificates, pins, card, applet=phone.APPLET)

    # At J-LIS

    def accept(self, unverified_application: bytes) -> dict[CertificateType, bytes]:
        """Issue the certificates of a signed application (CMS, DER) and return them as DER.

        The signer's certificate must be a good one on a card; the certificates end with the card's. A repeated
        application for the same keys returns the same certificates. Raises PhoneRejected, NoProofOfPossession, and the
        authorities' exceptions.
        """
        signed = checked(unverified_application)
        holder = self._applicant(signed.unverified_certificate)
        application, now = signed.application, self._world.clock.now()
        with self.store.reading() as connection:
            if (
                connection.scalar(sa.select(self._phone.c.name).where(self._phone.c.number == application.phone))
                is None
            ):
                raise PhoneRejected("the application is for a phone that this office does not know")
        ends = {kind: self._card_certificate(kind, holder.code).not_after for kind in _KINDS}
        digest = hashlib.sha256(b"".join(application.requests[kind] for kind in _KINDS)).hexdigest()
        row = {"digest": digest, "number": application.phone, "at": epoch(now), "signed": unverified_application}
        with self.store.transaction() as connection:
            if connection.scalar(sa.select(self._application.c.at).where(self._application.c.digest == digest)) is None:
                connection.execute(sa.insert(self._application), row)
        certificates = {}
        for kind in _KINDS:
            before = self.latest(kind, application.phone)
            certificates[kind] = self._authorities[kind].issue(
                CertificateRequest(
                    resident=holder, certification_request=application.requests[kind], not_before=now,
                    not_after=ends[kind], medium=Medium.PHONE, medium_id=application.phone,
                    renews=before.serial if before is not None else None, identifier=f"phone {digest} {kind.code}",
                )
            )  # fmt: skip
        return certificates

    def _applicant(self, certificate: bytes) -> Resident:
        """Return the holder of a good signature certificate on a card. Raises PhoneRejected."""
        authority = self._authorities[CertificateType.SIGNATURE]
        found = authority.with_serials([load_der_x509_certificate(certificate).serial_number])
        if not found or found[0].certificate != certificate:
            raise PhoneRejected("the application was not signed with a certificate of this authority")
        if found[0].medium is not Medium.CARD:
            raise PhoneRejected("the application must be signed with a card; this certificate is a phone's")
        state = authority.revocations.status(found[0].serial).state
        if state is not CertificateState.GOOD:
            raise PhoneRejected(f"the signature certificate on the card is {state.value}; renew the card's first")
        return self._identity(ResidentRecordCode(found[0].holder))

    def _card_certificate(self, kind: CertificateType, holder: str) -> Issued:
        authority = self._authorities[kind]
        good = [
            one for one in authority.of_holder(holder)
            if one.medium is Medium.CARD and authority.revocations.status(one.serial).state is CertificateState.GOOD
        ]  # fmt: skip
        if not good:
            raise PhoneRejected(f"the {kind.code} certificate on the card is not good; renew the card's first")
        return good[-1]

    def latest(self, kind: CertificateType, number: str) -> Issued | None:
        """Return the latest certificate of a type on the phone with a number, or None."""
        issued = self._authorities[kind].of_medium(number)
        return issued[-1] if issued else None

    # Later

    def stop(self, name: str) -> list[CertificateType]:
        """Put a lost phone's good certificates on hold, as the loss line does at any hour; return their types.

        Raises NoSuchPhone, and PhoneRejected if none is good.
        """
        return self._revoke(self.phone(name), Reason.CERTIFICATE_HOLD, "loss line", (CertificateState.GOOD,))

    def release(self, name: str) -> None:
        """Lift the hold on the authentication certificate of a phone that was found again. The signature certificate
        stays on hold; `renew` gives the phone a new one. Raises NoSuchPhone and TransitionRejected."""
        number = self.phone(name).number
        latest = self.latest(CertificateType.AUTHENTICATION, number)
        assert latest is not None
        self._authorities[CertificateType.AUTHENTICATION].revocations.release(latest.serial, "found again")

    def delete(self, name: str) -> list[CertificateType]:
        """Revoke a phone's certificates and delete them from it, before it is sold or repaired; return the types that
        were revoked. Raises NoSuchPhone."""
        with self._keys(name).held():
            found = self.phone(name)
            try:
                revoked = self._revoke(
                    found, Reason.CESSATION_OF_OPERATION, "before disposal",
                    (CertificateState.GOOD, CertificateState.HELD),
                )  # fmt: skip
            except PhoneRejected:  # they have ended already
                revoked = []
            path = image_path(self._world, name)
            for suffix in ("", "-wal", "-shm", "-lock"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            Wallet(self._world, name).clear()
            self._changed(found.number, PhoneState.DELETED, "deleted")
        return revoked

    def phones(self) -> list[Phone]:
        """Return the phones that have certificates, by name."""
        query = sa.select(self._phone).where(self._phone.c.state == PhoneState.ACTIVE.value)
        with self.store.reading() as connection:
            rows = connection.execute(query.order_by(self._phone.c.name)).all()
        return [Phone(row.name, row.number, PhoneState(row.state)) for row in rows]

    def application(self, name: str) -> bytes:
        """Return the latest signed application (CMS, DER) of a phone. Raises NoSuchPhone."""
        number = self.phone(name).number
        table = self._application
        with self.store.reading() as connection:
            query = sa.select(table.c.signed).where(table.c.number == number).order_by(table.c.at.desc()).limit(1)
            return bytes(connection.scalars(query).one())

    def _revoke(
        self, phone: Phone, reason: Reason, by: str, states: tuple[CertificateState, ...]
    ) -> list[CertificateType]:
        changed = []
        for kind in _KINDS:
            latest, revocations = self.latest(kind, phone.number), self._authorities[kind].revocations
            if latest is not None and revocations.status(latest.serial).state in states:
                revocations.revoke(latest.serial, reason, by)
                changed.append(kind)
        if not changed:
            raise PhoneRejected(f"the phone {phone.name!r} has no good certificate")
        return changed

    def _find(self, name: str) -> Phone | None:
        with self.store.reading() as connection:
            row = connection.execute(sa.select(self._phone).where(self._phone.c.name == name)).one_or_none()
        return None if row is None else Phone(row.name, row.number, PhoneState(row.state))

    def phone(self, name: str) -> Phone:
        """Return a phone with certificates. Raises NoSuchPhone."""
        found = self._find(name)
        if found is None or found.state is not PhoneState.ACTIVE:
            raise NoSuchPhone(f"there is no phone {name!r}; see: kazashi phone list")
        return found

    def _changed(self, number: str, state: PhoneState, what: str) -> None:
        with self.store.transaction() as connection:
            connection.execute(sa.update(self._phone).where(self._phone.c.number == number).values(state=state.value))
            self._log(connection, self._world.clock.now(), what, {}, number=number)
