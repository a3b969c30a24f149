"""The two end-entity profiles: what an authentication and a signature certificate say of their holder."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from random import Random
from string import ascii_uppercase, digits
from typing import Any

from asn1crypto import keys, x509

from pki import der
from pki.characters import substituted
from pki.profile import OTHER_NAME_ARC, Kind, Profile
from resident_registry.resident import Resident, Sex
from world.clock import JST

MAX_ADDRESS = 200

_BASE_36 = digits + ascii_uppercase
_SEX = {Sex.MALE: "1", Sex.FEMALE: "2", Sex.UNKNOWN: "3", Sex.NOT_APPLICABLE: "3"}


@dataclass(frozen=True, slots=True)
class Request:
    """A request for a certificate: whose, on which public key (SubjectPublicKeyInfo DER), valid from when to when."""

    resident: Resident
    public_key: bytes
    not_before: datetime
    not_after: datetime

    def __post_init__(self) -> None:
        if len(self.resident.address) > MAX_ADDRESS:
            raise ValueError(f"an address in a certificate has at most {MAX_ADDRESS} characters")


def subject(kind: Kind, request: Request, serial: int, chance: Random) -> Any:
    """The holder's distinguished name. Its common name tells office and day, and is new with every certificate."""
    municipality = request.resident.municipality
    if kind is Kind.AUTHENTICATION:
        return der.name(("country_name", "JP"), ("common_name", _authentication_common_name(request, serial, chance)))
    instant = request.not_before.astimezone(JST)
    return der.name(
        ("country_name", "JP"),
        ("locality_name", municipality.prefecture_romaji),
        ("locality_name", municipality.romaji),
        ("common_name", f"{instant:%Y%m%d%H%M%S}{municipality.code}{serial % 10**9:09d}"),
    )


def _authentication_common_name(request: Request, serial: int, chance: Random) -> str:
    """23 characters: a running number, 4, the year's low byte in hexadecimal, month in hexadecimal, day in base 36,
    four letters, the municipality, 003A. The fields are those seen in public; how the real ones are filled is not."""
    day = request.not_before.astimezone(JST)
    letters = "".join(chance.choices(ascii_uppercase, k=4))
    stamp = f"{day.year & 0xFF:02X}{day.month:X}{_BASE_36[day.day]}"
    return f"{serial % 10**5:05d}4{stamp}{letters}{request.resident.municipality.code}003A"


def end_entity_extensions(
    profile: Profile, kind: Kind, request: Request, issuer_key_identifier: bytes, issuer_serial: int
) -> list[Any]:
    """The extensions in the order in which the kind's profile has them."""
    municipality = request.resident.municipality
    partition = der.partition_name(profile, kind, municipality.prefecture_romaji, municipality.romaji)
    own = der.authority_name(profile, kind)
    issuer = [
        der.extension("2.5.29.32", der.policies(profile, kind), critical=True),
        der.extension("2.5.29.18", der.authority_name_ja(profile, kind)),
        der.extension("2.5.29.31", der.distribution_point(partition)),
    ]
    identifiers = [
        der.extension(
            "2.5.29.35",
            x509.AuthorityKeyIdentifier(
                {
                    "key_identifier": issuer_key_identifier,
                    "authority_cert_issuer": [x509.GeneralName(name="directory_name", value=own)],
                    "authority_cert_serial_number": issuer_serial,
                }
            ),
        ),
        der.extension("2.5.29.14", x509.OctetString(keys.PublicKeyInfo.load(request.public_key).sha1)),
    ]
    if kind is Kind.AUTHENTICATION:
        return [
            der.extension("2.5.29.15", x509.KeyUsage({"digital_signature"}), critical=True),
            der.extension("2.5.29.37", x509.ExtKeyUsageSyntax(["client_auth"])),
            *issuer,
            der.extension(
                "1.3.6.1.5.5.7.1.1",
                x509.AuthorityInfoAccessSyntax(
                    [
                        x509.AccessDescription(
                            {
                                "access_method": "ocsp",
                                "access_location": x509.GeneralName(
                                    name="uniform_resource_identifier", value=profile.ocsp_uri
                                ),
                            }
                        )
                    ]
                ),
            ),
            *identifiers,
        ]
    return [
        der.extension("2.5.29.15", x509.KeyUsage({"digital_signature", "non_repudiation"}), critical=True),
        der.extension("2.5.29.17", der.other_names(_four_attributes(profile, request.resident))),
        *issuer,
        *identifiers,
    ]


def _four_attributes(profile: Profile, resident: Resident) -> list[tuple[str, str]]:
    """Name, date of birth, sex and address, with the flags of substituted characters, in the order of the profile."""
    name, name_flags = substituted(str(resident.name), profile.substitute)
    address, address_flags = substituted(resident.address, profile.substitute)
    values = (
        (1, name),
        (4, resident.birth.era_digit + str(resident.birth)),
        (3, _SEX[resident.sex]),
        (5, address),
        (2, name_flags),
        (6, address_flags),
    )
    return [(f"{OTHER_NAME_ARC}.{number}", value) for number, value in values]
