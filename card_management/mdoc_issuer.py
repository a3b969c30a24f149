"""The issuer of mdocs for phones: its certificates, the documents, and the list of their status.

Everything is under test authorities of its own. The profiles of the certificates follow ISO/IEC 18013-5:2021, annex B.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import cbor2
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID, ObjectIdentifier

from kazashi.applets.pictures import photograph
from kazashi.card_management.phone_application import PhoneRejected
from kazashi.card_management.phones import PhoneOffice
from kazashi.jpki.cose import TYPE as COSE_TYPE
from kazashi.jpki.cose import X5CHAIN, cose_key, sign1
from kazashi.jpki.mdoc import DOCUMENT_TYPE, ELEMENTS, GENERAL, JAPANESE, STATUS_LIST_TYPE, digest_of_item, embedded
from kazashi.jpki.profile import CertificateType
from kazashi.jpki.state import CertificateState
from kazashi.pki.authority import Authority
from kazashi.resident_registry.number import ResidentRecordCode
from kazashi.resident_registry.resident import Resident, Sex
from kazashi.world.clock import JST, epoch
from kazashi.world.event_log import event_table
from kazashi.world.home import World
from kazashi.world.rng import secure_random

ACTOR = "mdoc_issuer"
STATUS_URI = "https://mdoc.kazashi.example/status/1"
LIST_BITS = 17
LIST_SIZE = 1 << LIST_BITS
"""The entries of the status list; an index is drawn at random from those that are free."""

LONGEST, DAYS_OF_THE_LIST = timedelta(days=365), 1
_ROOT_DAYS, _SIGNER_DAYS, _SIGNER_USED_DAYS = 3650, 457, 90
_DOCUMENT_SIGNER = ObjectIdentifier("1.0.18013.5.1.2")
_SEX = {Sex.MALE: (1, "男"), Sex.FEMALE: (2, "女"), Sex.UNKNOWN: (0, "不明"), Sex.NOT_APPLICABLE: (9, "適用不能")}
_STATUS_LIST, _TIME_TO_LIVE = 65533, 65534
"""Claims of a status list in a CWT (Token Status List, 5.2)."""


@dataclass(frozen=True, slots=True)
class _Signer:
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


class MdocIssuer:
    """Issues mdocs to phones, and publishes their status. `identity` returns the resident with a record code."""

    def __init__(
        self, world: World, authorities: Mapping[CertificateType, Authority], phones: PhoneOffice,
        identity: Callable[[ResidentRecordCode], Resident],
    ) -> None:  # fmt: skip
        self._world = world
        self._authorities = authorities
        self._phones = phones
        self._identity = identity
        metadata = sa.MetaData()
        self._signer = sa.Table(
            "signer", metadata,
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("key", sa.LargeBinary, nullable=False),
            sa.Column("certificate", sa.LargeBinary, nullable=False),
        )  # fmt: skip
        self._document = sa.Table(
            "document", metadata,
            sa.Column("status_index", sa.Integer, primary_key=True),
            sa.Column("phone", sa.Text, nullable=False, index=True),
            sa.Column("signature_serial", sa.Text, nullable=False),
            sa.Column("issued_at", sa.BigInteger, nullable=False),
            sa.Column("ends_at", sa.BigInteger, nullable=False),
        )  # fmt: skip
        _, self._log = event_table(metadata, sa.Column("phone", sa.Text, nullable=False))
        self.store = world.store(ACTOR, metadata)

    def root(self) -> bytes:
        """Return the root certificate (IACA) as DER."""
        return self._root().certificate.public_bytes(serialization.Encoding.DER)

    # Documents

    def issue(self, phone: str, device_keys: Sequence[ec.EllipticCurvePublicKey]) -> list[bytes]:
        """Issue a document for each device key of a phone (by its number), and return each as IssuerSigned (CBOR).

        The documents of one call have equal times, and everything else that differs between two of them is random. They
        end with the phone's certificates, and after a year at the latest. Raises PhoneRejected.
        """
        latest = {kind: self._phones.latest(kind, phone) for kind in CertificateType}
        signature = latest[CertificateType.SIGNATURE]
        for kind, issued in latest.items():
            if issued is None or self._state(kind, issued.serial) is not CertificateState.GOOD:
                raise PhoneRejected(f"the phone's {kind.code} certificate is not good; renew the phone's first")
        assert signature is not None
        resident = self._identity(ResidentRecordCode(signature.holder))
        # A document's times would tell two documents' holders apart if they were exact.
        now = self._world.clock.now().astimezone(UTC)
        begins = now.replace(hour=0, minute=0, second=0, microsecond=0)
        ends = min(signature.not_after.astimezone(UTC), begins + LONGEST).replace(microsecond=0)
        portrait = photograph(self._world.random_stream("portrait", resident.code))
        signer, elements = self._document_signer(now), _elements(resident, portrait, now)
        with self.store.transaction() as connection:
            taken = set(connection.scalars(sa.select(self._document.c.status_index)))
            rows, documents = [], []
            for key in device_keys:
                index = _free_index(taken)
                taken.add(index)
                rows.append({"status_index": index, "phone": phone, "signature_serial": str(signature.serial),
                             "issued_at": epoch(now), "ends_at": epoch(ends)})  # fmt: skip
                documents.append(_issuer_signed(signer, elements, key, (begins, ends), index))
            connection.execute(sa.insert(self._document), rows)
            self._log(connection, now, "issued", {"documents": len(rows)}, phone=phone)
        return documents

    # Status

    def status_list(self) -> bytes:
        """Return the signed list of the documents' status: a CWT that is valid for a day (Token Status List, 5.2).

        A document is valid as long as both of its phone's certificates are good, and the signature certificate is the
        one that it was issued beside, which has the same attributes.
        """
        now = self._world.clock.now().astimezone(UTC)
        with self.store.reading() as connection:
            query = sa.select(self._document).where(self._document.c.ends_at >= epoch(now))
            rows = connection.execute(query).all()
        good = {(phone, serial): self._is_good(phone, int(serial))
                for phone, serial in {(row.phone, row.signature_serial) for row in rows}}  # fmt: skip
        bits = bytearray(LIST_SIZE // 8)
        for row in rows:
            if not good[row.phone, row.signature_serial]:
                bits[row.status_index // 8] |= 1 << row.status_index % 8
        claims = {
            2: STATUS_URI, 6: int(now.timestamp()), 4: int((now + timedelta(days=DAYS_OF_THE_LIST)).timestamp()),
            _TIME_TO_LIVE: DAYS_OF_THE_LIST * 86400,
            _STATUS_LIST: {"bits": 1, "lst": zlib.compress(bytes(bits), 9)},
        }  # fmt: skip
        signer = self._document_signer(now)
        token = sign1(signer.key, cbor2.dumps(claims), protected={COSE_TYPE: STATUS_LIST_TYPE},
                      unprotected={X5CHAIN: signer.certificate.public_bytes(serialization.Encoding.DER)})  # fmt: skip
        return cbor2.dumps(cbor2.CBORTag(18, token))

    def _is_good(self, phone: str, signature: int) -> bool:
        authentication = self._phones.latest(CertificateType.AUTHENTICATION, phone)
        return (
            authentication is not None
            and self._state(CertificateType.AUTHENTICATION, authentication.serial) is CertificateState.GOOD
            and self._state(CertificateType.SIGNATURE, signature) is CertificateState.GOOD
        )

    def _state(self, kind: CertificateType, serial: int) -> CertificateState:
        return self._authorities[kind].revocations.status(serial).state

    # Certificates

    def _root(self) -> _Signer:
        return self._signer_named("root", lambda key: _root_certificate(key, self._world.clock.now()))

    def _document_signer(self, now: datetime) -> _Signer:
        """The signer of this quarter of a year. Its certificate outlasts every document that it signs."""
        root, period = self._root(), now.date().toordinal() // _SIGNER_USED_DAYS
        begins = datetime.fromordinal(period * _SIGNER_USED_DAYS).replace(tzinfo=UTC)
        return self._signer_named(f"document signer {period}", lambda key: _signer_certificate(key, root, begins))

    def _signer_named(self, name: str, certified: Callable[[ec.EllipticCurvePrivateKey], x509.Certificate]) -> _Signer:
        with self.store.transaction() as connection:
            row = connection.execute(sa.select(self._signer).where(self._signer.c.name == name)).one_or_none()
            if row is None:
                key = ec.generate_private_key(ec.SECP256R1())
                certificate = certified(key)
                pkcs8 = key.private_bytes(
                    serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
                der = certificate.public_bytes(serialization.Encoding.DER)
                connection.execute(sa.insert(self._signer), {"name": name, "key": pkcs8, "certificate": der})
                return _Signer(key, certificate)
        stored = serialization.load_der_private_key(row.key, None)
        assert isinstance(stored, ec.EllipticCurvePrivateKey)
        return _Signer(stored, x509.load_der_x509_certificate(row.certificate))


def _elements(resident: Resident, portrait: bytes, now: datetime) -> dict[str, dict[str, Any]]:
    """Return the values of all elements by name space and name."""
    birth, day = resident.birth, now.astimezone(JST).date()
    number, sex = _SEX[resident.sex]
    age = birth.age_on(day)
    words = f"{birth.year}年" + f"{birth.month}月" * bool(birth.month) + f"{birth.day}日" * bool(birth.day)
    values: dict[str, Any] = {
        "full_name_unicode": str(resident.name),
        "resident_address_unicode": resident.address,
        "birth_date_unicode": words,
        "sex_unicode": sex,
        "local_gov_code_unicode": resident.municipality.code,
        "individual_number_unicode": resident.individual_number or "",
        "portrait": portrait,
        "birth_date": cbor2.CBORTag(1004, birth.counted_from.isoformat()),
        "sex": number,
        "age_in_years": age,
        "age_over_20": age >= 20,
    }
    return {space: {name: values[name] for name in names} for space, names in ELEMENTS.items()}


def _issuer_signed(
    signer: _Signer, elements: Mapping[str, Mapping[str, Any]], key: ec.EllipticCurvePublicKey,
    valid: tuple[datetime, datetime], index: int,
) -> bytes:  # fmt: skip
    items: dict[str, list[cbor2.CBORTag]] = {}
    digests: dict[str, dict[int, bytes]] = {}
    for name_space in (JAPANESE, GENERAL):
        values = elements[name_space]
        # The order of the digests must not tell which element is which.
        numbers = sorted(range(len(values)), key=lambda _: secure_random(64))
        items[name_space] = [
            embedded(
                {
                    "digestID": number,
                    "random": secure_random(256).to_bytes(32),
                    "elementIdentifier": name,
                    "elementValue": value,
                }
            )
            for number, (name, value) in zip(numbers, values.items(), strict=True)
        ]
        of_items = dict(zip(numbers, items[name_space], strict=True))
        digests[name_space] = {number: digest_of_item(of_items[number]) for number in sorted(of_items)}
    begins, ends = (cbor2.CBORTag(0, f"{instant:%Y-%m-%dT%H:%M:%SZ}") for instant in valid)
    security_object = {
        "version": "1.0", "digestAlgorithm": "SHA-256", "valueDigests": digests,
        "deviceKeyInfo": {"deviceKey": cose_key(key)}, "docType": DOCUMENT_TYPE,
        "validityInfo": {"signed": begins, "validFrom": begins, "validUntil": ends},
        "status": {"status_list": {"idx": index, "uri": STATUS_URI}},
    }  # fmt: skip
    chain = {X5CHAIN: signer.certificate.public_bytes(serialization.Encoding.DER)}
    authentication = sign1(signer.key, cbor2.dumps(embedded(security_object)), unprotected=chain)
    return cbor2.dumps({"nameSpaces": items, "issuerAuth": authentication})


def _free_index(taken: set[int]) -> int:
    if len(taken) >= LIST_SIZE:
        raise PhoneRejected("the status list is full")
    while (index := secure_random(LIST_BITS)) in taken:
        pass
    return index


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "JP"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "JPKI-EMU"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


_CONTACT = x509.IssuerAlternativeName([x509.UniformResourceIdentifier("https://mdoc.kazashi.example/")])
_LIST = x509.UniformResourceIdentifier("https://mdoc.kazashi.example/iaca.crl")
_LISTS = x509.CRLDistributionPoints([x509.DistributionPoint([_LIST], None, None, None)])


def _usage(**uses: bool) -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")  # fmt: skip
    return x509.KeyUsage(**{name: uses.get(name, False) for name in names})


def _root_certificate(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    name, begins = _name("Emulated IACA of individual number cards"), now.astimezone(UTC) - timedelta(days=100)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=_ROOT_DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(_CONTACT, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_LISTS, critical=False)
        .sign(key, hashes.SHA256())
    )


def _signer_certificate(key: ec.EllipticCurvePrivateKey, root: _Signer, begins: datetime) -> x509.Certificate:
    identifier = root.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        x509.CertificateBuilder()
        .subject_name(_name("Emulated document signer of individual number cards"))
        .issuer_name(root.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=_SIGNER_DAYS))
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(_CONTACT, critical=False)
        .add_extension(x509.ExtendedKeyUsage([_DOCUMENT_SIGNER]), critical=True)
        .add_extension(_LISTS, critical=False)
        .sign(root.key, hashes.SHA256())
    )
