"""Making cards: the keys on the chip, a certificate for each, and what personalisation writes to the card."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime

from kazashi.applets import input_support, jpki
from kazashi.applets.applet import unfilled
from kazashi.applets.holder import CardCertificates, CardData, CardSigners, ChipKeys, Personalisation
from kazashi.applets.install import model_of, personalise
from kazashi.applets.rewriting import issuer_pins, rewriting
from kazashi.card.certification_request import certification_request
from kazashi.card.contents import ApplicationContents, CardContents
from kazashi.card.image import read_image, rewrite_applications, write_image
from kazashi.card.key import PrivateKey
from kazashi.card_management.case import CaseType, IssuanceCase
from kazashi.card_management.description import description, holder_of, numbers_of_holder
from kazashi.card_management.entries import IN_CHIP, IN_NEXT_CHIP, entered, new_entries
from kazashi.card_management.keys_in_progress import KEYS_OF_A_CARD, KeysInProgress
from kazashi.card_management.models import MODELS_OF_CARDS, NEXT_MODEL, IssuedModel, card_model
from kazashi.card_management.order import image_path
from kazashi.card_management.relay import Relay, RelayFailed
from kazashi.jpki.profile import CertificateType
from kazashi.jpki.state import CertificateState, Reason
from kazashi.pki.authority import Authority
from kazashi.pki.certificate import CertificateRequest
from kazashi.pki.certificate_database import Issued
from kazashi.pki.validity import SIGNATURE_AGE, card_end, certificate_end, renewal_opens
from kazashi.resident_registry.municipality import MunicipalityCode
from kazashi.resident_registry.resident import Resident
from kazashi.world.clock import JST, today
from kazashi.world.home import World
from kazashi.world.key_source import KeySource

SENDINGS = 5
"""How often a request is sent before the case is left open for later."""


class RenewalRejected(Exception):
    """The card cannot be renewed or updated now; the message gives the reason."""


class CardProduction:
    """Makes cards, and renews the certificates on them. `vouchers` returns the signers of a municipality's cards
    of a model."""

    def __init__(
        self, world: World, authorities: Mapping[CertificateType, Authority], relay: Relay,
        vouchers: Callable[[MunicipalityCode, IssuedModel], CardSigners],
    ) -> None:  # fmt: skip
        self._world = world
        self._authorities = authorities
        self._relay = relay
        self._vouchers = vouchers

    def make(self, case: IssuanceCase, resident: Resident, keys_in_progress: KeysInProgress) -> dict[str, str]:
        """Make the card of a case; return its number and its last day (ISO) as `number` and `expires`.

        Raises RelayFailed, ValueError, and the authorities' exceptions.
        """
        order = case.order
        day = order.issued.astimezone(JST).date()
        model = MODELS_OF_CARDS[order.model]
        term = model.profile.term
        ends = card_end(day, resident.birth, term)
        rng = self._world.random_stream("card", case.name, order.issued.isoformat())
        card = CardData(
            expiry=f"{ends:%Y%m%d}",
            security_code=f"{rng.randrange(10**4):04d}",
            serial=f"4{rng.randrange(10**14):014d}",
            contact_atr=order.contact_atr,
            length_form=order.length_form,
            reference_number=f"{rng.randrange(10**6):06d}" if model is NEXT_MODEL else "",
        )
        keys = keys_in_progress.keys(KEYS_OF_A_CARD, self.key_source(model))
        kinds = [
            kind
            for kind in CertificateType
            if kind is CertificateType.AUTHENTICATION or resident.birth.age_on(day) >= SIGNATURE_AGE
        ]
        not_after = certificate_end(order.issued, resident.birth, ends, resident.stay_end, term=term)
        request = CertificateRequest(
            resident=resident, certification_request=b"", not_before=order.issued, not_after=not_after,
            medium_id=card.serial,
        )  # fmt: skip
        certificates = {kind: self._certified(case, kind, keys, request, model) for kind in kinds}
        data = Personalisation(
            holder=holder_of(resident),
            card=card,
            certificates=self._certificates(
                certificates, {kind: keys[kind.code] for kind in kinds}, order.issued, model
            ),
            vouchers=self._vouchers(resident.municipality.code, model),
            keys=ChipKeys(
                text=PrivateKey(keys["text"]),
                text_session=PrivateKey(keys["text session"]),
                visual=PrivateKey(keys["visual"]),
                common=PrivateKey(keys["common"]),
            ),
            pins=order.pins,
            chance=rng,
            photograph=order.photograph,
        )
        path = image_path(self._world, case.name)
        if not path.exists():  # it exists if the case was interrupted after its card was written
            write_image(path, personalise(data, model.device), description(order, resident, data))
        return {"number": card.serial, "expires": ends.isoformat()}

    def renewable(self, case: CaseType, number: str, resident: Resident) -> list[CertificateType]:
        """Return the certificate types that a renewal or an update issues on a card, which may be none.

        An update replaces those that are no longer good; a renewal also those that end within three months.
        """
        return [kind for kind, opens in self._openings(case, number, resident) if opens is None]

    def check_renewable(self, number: str, resident: Resident) -> None:
        """Raise RenewalRejected if all certificates on a card are good and their renewal has not opened."""
        openings = [opens for _, opens in self._openings(CaseType.RENEWAL, number, resident)]
        if None not in openings:
            first = min(opens for opens in openings if opens is not None)
            raise RenewalRejected(f"the card's certificates are good; they can be renewed from {first} on")

    def _openings(
        self, case: CaseType, number: str, resident: Resident
    ) -> Iterator[tuple[CertificateType, date | None]]:
        """Yield the holder's certificate types, and the day from which each can be renewed; None for one that is
        issued now."""
        day = today(self._world.clock)
        for kind in CertificateType:
            if kind is CertificateType.SIGNATURE and resident.birth.age_on(day) < SIGNATURE_AGE:
                continue
            latest = self.latest(kind, number)
            if (
                latest is None
                or self._authorities[kind].revocations.status(latest.serial).state is not CertificateState.GOOD
            ):
                yield kind, None
                continue
            opens = self._opens(kind, latest)
            yield kind, None if case is CaseType.RENEWAL and opens <= day else opens

    def new_entries(self, name: str, resident: Resident) -> dict[str, str]:
        """Return the holder's data that are not those on a card; see `entries.new_entries`.

        Raises ImageMissing, DamagedImage and ImageUnreadable.
        """
        contents, about = read_image(image_path(self._world, name))
        return new_entries(contents, about, resident, today(self._world.clock))

    def _opens(self, kind: CertificateType, issued: Issued) -> date:
        """The first day on which a certificate can be renewed."""
        return renewal_opens(issued.not_after, self._authorities[kind].profile_of(issued).term)

    def renew(
        self, case: IssuanceCase, resident: Resident, keys_in_progress: KeysInProgress,
        settled: Callable[[str], dict[str, int | None]], length_form: int,
    ) -> None:  # fmt: skip
        """Issue the certificates of a renewal or an update, and write them and the holder's present data to the card.

        All is written in one transaction. `settled` gets the card's number and returns which certificates the case
        replaces; `length_form` is that of the order for the card. Raises RenewalRejected, ImageMissing, DamagedImage,
        RelayFailed, ValueError, and the authorities' exceptions.
        """
        path = image_path(self._world, case.name)
        contents, about = read_image(path)
        model = card_model(model_of(about))
        last_day = datetime.strptime(about["expiry"], "%Y%m%d").date()
        if last_day < case.order.issued.astimezone(JST).date():
            raise RenewalRejected(f"the card {case.name!r} expired on {last_day}; order a new one")
        rewritten: CardContents = {}
        texts: dict[str, str] = {}
        if renews := settled(about["card number"]):
            written = self._renewed(case, resident, keys_in_progress, renews, contents[jpki.AID], about, model)
            rewritten[jpki.AID] = written
            # A child's card gets its first signature certificate, and with it a password, from the 15th birthday on.
            if written.keys.get(jpki.SIGNATURE_KEY) and not about["signature password"]:
                texts["signature password"] = case.order.pins.signature
        day = case.order.issued.astimezone(JST).date()
        if changes := new_entries(contents, about, resident, day):
            texts |= entered(about, changes, day)
            is_next = model is NEXT_MODEL
            if changes.keys() & (IN_NEXT_CHIP if is_next else IN_CHIP):
                holder, signers = holder_of(resident), self._vouchers(resident.municipality.code, model)
                chance = self._world.random_stream("card update", case.name, str(case.position))
                rewritten |= rewriting(contents | rewritten, model.device, holder, signers, chance, length_form)
                if not is_next:
                    number_b = rewritten[input_support.AID].pins[input_support.NUMBER_B].value.decode("ascii")
                    texts |= numbers_of_holder(number_b, holder)
        if rewritten or texts:
            rewrite_applications(path, rewritten, texts, issuer_pins(model.device))

    def _renewed(
        self, case: IssuanceCase, resident: Resident, keys_in_progress: KeysInProgress,
        renews: Mapping[str, int | None], applet: ApplicationContents, about: Mapping[str, str], model: IssuedModel,
    ) -> ApplicationContents:  # fmt: skip
        """Return the contents of the JPKI application with the certificates that a case issues."""
        issued, number, ends = case.order.issued, about["card number"], about["expiry"]
        last_day = datetime.strptime(ends, "%Y%m%d").date()
        certificates: dict[CertificateType, bytes] = {}
        keys: dict[CertificateType, bytes] = {}
        for kind, certificate_file, key_file in _FILES:
            if applet.keys.get(key_file):
                certificates[kind], keys[kind] = unfilled(applet.data[certificate_file]), applet.keys[key_file]
        new_keys = keys_in_progress.keys(list(renews), self.key_source(model))
        for kind in (item for item in CertificateType if item.code in renews):
            serial = renews[kind.code]
            ended = None if serial is None else self._authorities[kind].find(serial).not_after
            not_after = certificate_end(issued, resident.birth, last_day, resident.stay_end, ended, model.profile.term)
            request = CertificateRequest(
                resident=resident, certification_request=b"", not_before=issued, not_after=not_after, medium_id=number,
                renews=serial,
            )  # fmt: skip
            certificates[kind] = self._certified(case, kind, new_keys, request, model)
            keys[kind] = new_keys[kind.code]
        card = CardData(ends, "", number, case.order.contact_atr)
        vouchers = self._vouchers(resident.municipality.code, model)
        certified = self._certificates(certificates, keys, issued, model)
        renewed = jpki.written(certified, case.order.pins, card, vouchers)
        # The next card has other data in the same application, which stay, and lacks some of the files.
        declared = {*applet.data, *(file for one in model.device.applets if one.aid == jpki.AID for file in one.files)}
        data = applet.data | {fid: content for fid, content in renewed.data.items() if fid in declared}
        return replace(applet, data=data, keys=applet.keys | renewed.keys, pins=renewed.pins)

    def revoke(self, number: str) -> None:
        """Revoke the good certificates on a card that another one has replaced. Those on hold stay on hold."""
        for kind, authority in self._authorities.items():
            latest = self.latest(kind, number)
            if latest is None or authority.revocations.status(latest.serial).state is not CertificateState.GOOD:
                continue
            authority.revocations.revoke(latest.serial, Reason.CESSATION_OF_OPERATION, "card issued again")

    def latest(self, kind: CertificateType, number: str) -> Issued | None:
        """The latest certificate of a type on a card, by card number."""
        issued = self._authorities[kind].of_medium(number)
        return issued[-1] if issued else None

    def key_source(self, model: IssuedModel) -> KeySource:
        """Return the source of the keys of a model's cards."""
        return self._authorities[CertificateType.AUTHENTICATION].key_source(model.profile.algorithm)

    def _certified(
        self, case: IssuanceCase, kind: CertificateType, keys: dict[str, bytes], request: CertificateRequest,
        model: IssuedModel,
    ) -> bytes:  # fmt: skip
        request = replace(
            request,
            certification_request=certification_request(keys[kind.code]),
            identifier=f"case {case.position} {kind.code}",
        )
        for _ in range(SENDINGS - 1):
            try:
                return self._relay.send(kind, request, model.profile)
            except RelayFailed:
                continue
        return self._relay.send(kind, request, model.profile)

    def _certificates(
        self, certificates: dict[CertificateType, bytes], keys: dict[CertificateType, bytes], issued: datetime,
        model: IssuedModel,
    ) -> CardCertificates:  # fmt: skip
        roots = {kind: self._authorities[kind].issuing(issued, model.profile).certificate for kind in CertificateType}
        return CardCertificates(
            signature=certificates.get(CertificateType.SIGNATURE),
            signature_key=keys.get(CertificateType.SIGNATURE),
            signature_authority=roots[CertificateType.SIGNATURE],
            authentication=certificates.get(CertificateType.AUTHENTICATION),
            authentication_key=keys.get(CertificateType.AUTHENTICATION),
            authentication_authority=roots[CertificateType.AUTHENTICATION],
        )


_FILES = (
    (CertificateType.SIGNATURE, jpki.SIGNATURE_CERTIFICATE, jpki.SIGNATURE_KEY),
    (CertificateType.AUTHENTICATION, jpki.AUTHENTICATION_CERTIFICATE, jpki.AUTHENTICATION_KEY),
)
