"""The errors that a user may meet: a code for each, and the exit status that goes with it. docs/errors.md has a line
for every code."""

from __future__ import annotations

import sqlite3

from kazashi.applets.pictures import FontMissing
from kazashi.assembly.errors import (
    AlreadyRunning,
    CheckoutMissing,
    Exit,
    OpenscMissing,
    ServicesUnavailable,
    StepFailed,
    UsageError,
)
from kazashi.card.image import DamagedImage, ImageExists, ImageMissing
from kazashi.card.store import StoreFailure
from kazashi.card_management.management import NoSuchCard, RenewalRefused
from kazashi.card_management.relay import RelayFailed
from kazashi.jpki.state import TransitionRefused
from kazashi.pki.authority import RequestConflict
from kazashi.pki.callers import CallerExists, NotRegistered
from kazashi.pki.certificate import NoProofOfPossession
from kazashi.pki.directory import DirectoryUnavailable
from kazashi.pki.ledger import NoSuchCertificate
from kazashi.pki.lint import NotLintable
from kazashi.pki.services import ConsentRefused
from kazashi.provision_network.codes import ForeignCode
from kazashi.provision_network.terms import NetworkRefused
from kazashi.reader_bridge.check.result import BadReport
from kazashi.reader_bridge.check.run import CheckImpossible
from kazashi.reader_bridge.control import NotRunning, Refused
from kazashi.reader_bridge.endpoint import PortTaken
from kazashi.reader_bridge.fault_script import BadFaultScript
from kazashi.reader_bridge.host import NoSuchSlot
from kazashi.reader_bridge.interface import CardGone
from kazashi.reader_bridge.pcsc import NoSuchReader, PcscError
from kazashi.reader_bridge.pcscd import PcscdUnavailable
from kazashi.reader_bridge.script import BadScript
from kazashi.reader_bridge.slot import SlotBusy
from kazashi.reader_bridge.trace import BadTrace
from kazashi.reader_bridge.vicc import ViccMissing
from kazashi.refund_points.centre import EnrolmentRefused, PolicySettled
from kazashi.refund_points.codes import CodeRefused
from kazashi.refund_points.enrolment import EnrolmentDamaged
from kazashi.refund_points.goods import BasketRefused
from kazashi.refund_points.reading import SeveralCards
from kazashi.refund_points.refunds import RefundRefused
from kazashi.refund_points.sender import CentreUnreachable
from kazashi.refund_points.till import SaleRefused
from kazashi.refund_points.zengin import PaymentRefused
from kazashi.relying_party.login.card_reader import CardMissing
from kazashi.relying_party.login.provider_store import ClientExists
from kazashi.relying_party.mykey.mykey import AlreadyRegistered, IdentifierTaken, MyKeyRefused, NotEntitled
from kazashi.relying_party.platform.platform import LinkageConflict, NoSuchTenant, NoSuchUser, TenantExists
from kazashi.relying_party.verify.anchors import BadAnchor
from kazashi.relying_party.verify.linkage import LinkageUnavailable
from kazashi.resident_registry.refusal import EventRefused
from kazashi.resident_registry.registry import ImportRefused, NoSuchResident
from kazashi.tracking_lab.engine import EngineMissing
from kazashi.tracking_lab.laboratory import PopulationUnusable
from kazashi.tracking_lab.logs import LogsUnusable
from kazashi.world.home import WorldMissing, WorldUnusable
from kazashi.world.post import MessageGap
from kazashi.world.storage import StoreFailed, StoreTooNew
from kazashi.world.token import TokenUnavailable

CODES: dict[type[Exception], tuple[str, Exit]] = {
    AlreadyRunning: ("already-running", Exit.ENVIRONMENT),
    DamagedImage: ("card-damaged", Exit.ENVIRONMENT),
    StoreFailure: ("card-store-failed", Exit.ENVIRONMENT),
    FontMissing: ("font-missing", Exit.ENVIRONMENT),
    NotRunning: ("not-running", Exit.ENVIRONMENT),
    PcscdUnavailable: ("pcscd-unavailable", Exit.ENVIRONMENT),
    PcscError: ("pcsc-failed", Exit.ENVIRONMENT),
    CheckImpossible: ("check-impossible", Exit.ENVIRONMENT),
    CardGone: ("card-gone", Exit.ENVIRONMENT),
    PortTaken: ("port-taken", Exit.ENVIRONMENT),
    CheckoutMissing: ("checkout-missing", Exit.ENVIRONMENT),
    OpenscMissing: ("opensc-missing", Exit.ENVIRONMENT),
    ViccMissing: ("vicc-missing", Exit.ENVIRONMENT),
    WorldUnusable: ("world-unusable", Exit.ENVIRONMENT),
    DirectoryUnavailable: ("directory-unavailable", Exit.ENVIRONMENT),
    ServicesUnavailable: ("services-unavailable", Exit.ENVIRONMENT),
    TokenUnavailable: ("token-unavailable", Exit.ENVIRONMENT),
    RelayFailed: ("relay-failed", Exit.ENVIRONMENT),
    MessageGap: ("message-gap", Exit.ENVIRONMENT),
    StoreFailed: ("store-failed", Exit.ENVIRONMENT),
    StoreTooNew: ("store-too-new", Exit.ENVIRONMENT),
    StepFailed: ("step-failed", Exit.NEGATIVE),
    EventRefused: ("event-refused", Exit.NEGATIVE),
    RenewalRefused: ("renewal-refused", Exit.NEGATIVE),
    TransitionRefused: ("transition-refused", Exit.NEGATIVE),
    NoProofOfPossession: ("no-proof-of-possession", Exit.NEGATIVE),
    RequestConflict: ("request-conflict", Exit.NEGATIVE),
    NotRegistered: ("not-registered", Exit.NEGATIVE),
    ConsentRefused: ("consent-refused", Exit.NEGATIVE),
    NotEntitled: ("not-entitled", Exit.NEGATIVE),
    AlreadyRegistered: ("already-registered", Exit.NEGATIVE),
    IdentifierTaken: ("identifier-taken", Exit.NEGATIVE),
    MyKeyRefused: ("mykey-refused", Exit.NEGATIVE),
    LinkageConflict: ("linkage-conflict", Exit.NEGATIVE),
    NoSuchTenant: ("no-such-tenant", Exit.NEGATIVE),
    LinkageUnavailable: ("linkage-unavailable", Exit.ENVIRONMENT),
    SaleRefused: ("sale-refused", Exit.NEGATIVE),
    CodeRefused: ("code-refused", Exit.NEGATIVE),
    RefundRefused: ("refund-refused", Exit.NEGATIVE),
    PaymentRefused: ("payment-refused", Exit.NEGATIVE),
    EngineMissing: ("engine-missing", Exit.ENVIRONMENT),
    LogsUnusable: ("logs-unusable", Exit.USAGE),
    PopulationUnusable: ("population-unusable", Exit.USAGE),
    NetworkRefused: ("network-refused", Exit.NEGATIVE),
    ForeignCode: ("foreign-code", Exit.NEGATIVE),
    SeveralCards: ("several-cards", Exit.NEGATIVE),
    EnrolmentRefused: ("enrolment-refused", Exit.USAGE),
    PolicySettled: ("policy-settled", Exit.USAGE),
    BasketRefused: ("basket-refused", Exit.USAGE),
    EnrolmentDamaged: ("enrolment-damaged", Exit.ENVIRONMENT),
    CentreUnreachable: ("centre-unreachable", Exit.ENVIRONMENT),
    CardMissing: ("no-card-at-hand", Exit.ENVIRONMENT),
    BadAnchor: ("bad-anchor", Exit.USAGE),
    BadFaultScript: ("bad-fault-script", Exit.USAGE),
    BadReport: ("bad-report", Exit.USAGE),
    BadScript: ("bad-script", Exit.USAGE),
    BadTrace: ("bad-trace", Exit.USAGE),
    TenantExists: ("tenant-exists", Exit.USAGE),
    ClientExists: ("client-exists", Exit.USAGE),
    NoSuchUser: ("no-such-user", Exit.USAGE),
    ImportRefused: ("import-refused", Exit.USAGE),
    NoSuchResident: ("no-such-resident", Exit.USAGE),
    NoSuchCertificate: ("no-such-certificate", Exit.USAGE),
    NoSuchCard: ("no-such-card", Exit.USAGE),
    CallerExists: ("caller-exists", Exit.USAGE),
    NotLintable: ("not-lintable", Exit.USAGE),
    WorldMissing: ("world-missing", Exit.USAGE),
    ImageExists: ("card-exists", Exit.USAGE),
    ImageMissing: ("card-missing", Exit.USAGE),
    NoSuchReader: ("no-such-reader", Exit.USAGE),
    NoSuchSlot: ("no-such-slot", Exit.USAGE),
    SlotBusy: ("slot-busy", Exit.USAGE),
    UsageError: ("usage", Exit.USAGE),
    sqlite3.Error: ("store-failed", Exit.ENVIRONMENT),
    # What the operating system refuses (rights, space, a missing program) is the environment's, whoever asked for it.
    OSError: ("system", Exit.ENVIRONMENT),
}

REMOTE_ONLY = ("bad-request", "internal")
"""Codes that only the control socket answers."""


def code_of(error: Exception) -> str | None:
    """The code of an error, None for one that is a defect."""
    if isinstance(error, Refused):
        return error.code
    return next((code for kind, (code, _) in CODES.items() if isinstance(error, kind)), None)


def exit_of(code: str) -> Exit:
    """The exit status of an error code."""
    return next((status for known, status in CODES.values() if known == code), Exit.NEGATIVE)
