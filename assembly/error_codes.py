"""The errors that a user can get, with their codes and exit statuses. docs/errors.md has a line for every code."""

from __future__ import annotations

import sys
from typing import NamedTuple

from kazashi.assembly.errors import Exit
from kazashi.reader_bridge.control import ControlRejected


class ErrorCode(NamedTuple):
    """The code of a type of exception.

    The exception is given by name and module, so that a short command imports only what it uses. An exception whose
    module was not imported cannot have been raised.
    """

    module: str
    exception: str
    code: str
    exit: Exit

    def fits(self, error: Exception) -> bool:
        """Whether an error is of this type."""
        module = sys.modules.get(self.module)
        return module is not None and isinstance(error, getattr(module, self.exception))


CODES = (
    ErrorCode("kazashi.assembly.errors", "AlreadyRunning", "already-running", Exit.ENVIRONMENT),
    ErrorCode("kazashi.card.image", "DamagedImage", "card-damaged", Exit.ENVIRONMENT),
    ErrorCode("kazashi.card.image", "ImageUnreadable", "card-unreadable", Exit.ENVIRONMENT),
    ErrorCode("kazashi.card.store", "StoreFailure", "card-store-failed", Exit.ENVIRONMENT),
    ErrorCode("kazashi.applets.pictures", "FontMissing", "font-missing", Exit.ENVIRONMENT),
    ErrorCode("kazashi.reader_bridge.control", "NotRunning", "not-running", Exit.ENVIRONMENT),
    ErrorCode("kazashi.reader_bridge.pcscd", "PcscdUnavailable", "pcscd-unavailable", Exit.ENVIRONMENT),
    ErrorCode("kazashi.reader_bridge.system_reader", "ReaderNotInstalled", "reader-not-installed", Exit.ENVIRONMENT),
    ErrorCode("kazashi.reader_bridge.pcsc", "PcscError", "pcsc-failed", Exit.ENVIRONMENT),
    ErrorCode("kazashi.reader_bridge.check.run", "CheckImpossible", "check-impossible", Exit.ENVIRONMENT),
    ErrorCode("kazashi.reader_bridge.interface", "CardGone", "card-gone", Exit.ENVIRONMENT),
    ErrorCode("kazashi.reader_bridge.endpoint", "PortTaken", "port-taken", Exit.ENVIRONMENT),
    ErrorCode("kazashi.assembly.errors", "CheckoutMissing", "checkout-missing", Exit.ENVIRONMENT),
    ErrorCode("kazashi.assembly.errors", "PackageMissing", "package-missing", Exit.ENVIRONMENT),
    ErrorCode("kazashi.assembly.errors", "NotInstalled", "not-installed", Exit.ENVIRONMENT),
    ErrorCode("kazashi.assembly.errors", "InstallationFailed", "installation-failed", Exit.ENVIRONMENT),
    ErrorCode("kazashi.assembly.errors", "OpenscMissing", "opensc-missing", Exit.ENVIRONMENT),
    ErrorCode("kazashi.reader_bridge.vicc", "ViccMissing", "vicc-missing", Exit.ENVIRONMENT),
    ErrorCode("kazashi.world.home", "WorldUnusable", "world-unusable", Exit.ENVIRONMENT),
    ErrorCode("kazashi.pki.directory", "DirectoryUnavailable", "directory-unavailable", Exit.ENVIRONMENT),
    ErrorCode("kazashi.assembly.errors", "ServicesUnavailable", "services-unavailable", Exit.ENVIRONMENT),
    ErrorCode("kazashi.world.token", "TokenUnavailable", "token-unavailable", Exit.ENVIRONMENT),
    ErrorCode("kazashi.card_management.relay", "RelayBusy", "relay-busy", Exit.ENVIRONMENT),
    ErrorCode("kazashi.card_management.relay", "RelayDown", "relay-down", Exit.ENVIRONMENT),
    ErrorCode("kazashi.card_management.relay", "RelayFailed", "relay-failed", Exit.ENVIRONMENT),
    ErrorCode("kazashi.world.outbox", "MessageGap", "message-gap", Exit.ENVIRONMENT),
    ErrorCode("kazashi.world.storage", "StoreFailed", "store-failed", Exit.ENVIRONMENT),
    ErrorCode("kazashi.world.storage", "StoreTooNew", "store-too-new", Exit.ENVIRONMENT),
    ErrorCode("kazashi.assembly.errors", "StepFailed", "step-failed", Exit.NEGATIVE),
    ErrorCode("kazashi.resident_registry.rejection", "EventRejected", "event-refused", Exit.NEGATIVE),
    ErrorCode("kazashi.card_management.production", "RenewalRejected", "renewal-refused", Exit.NEGATIVE),
    ErrorCode("kazashi.card_management.entitlement", "ApplicationRejected", "application-refused", Exit.NEGATIVE),
    ErrorCode("kazashi.card_management.phone_application", "PhoneRejected", "phone-refused", Exit.NEGATIVE),
    ErrorCode("kazashi.jpki.state", "TransitionRejected", "transition-refused", Exit.NEGATIVE),
    ErrorCode("kazashi.pki.certificate", "NoProofOfPossession", "no-proof-of-possession", Exit.NEGATIVE),
    ErrorCode("kazashi.pki.authority", "RequestConflict", "request-conflict", Exit.NEGATIVE),
    ErrorCode("kazashi.pki.callers", "CallerNotRegistered", "not-registered", Exit.NEGATIVE),
    ErrorCode("kazashi.pki.services", "ConsentRejected", "consent-refused", Exit.NEGATIVE),
    ErrorCode("kazashi.relying_party.mykey.mykey", "CertificateNotAccepted", "not-entitled", Exit.NEGATIVE),
    ErrorCode("kazashi.relying_party.mykey.mykey", "AlreadyRegistered", "already-registered", Exit.NEGATIVE),
    ErrorCode("kazashi.relying_party.mykey.mykey", "IdentifierTaken", "identifier-taken", Exit.NEGATIVE),
    ErrorCode("kazashi.world.guesses", "TooManyGuesses", "too-many-guesses", Exit.NEGATIVE),
    ErrorCode("kazashi.relying_party.mykey.stages", "StageNotReached", "mykey-not-yet", Exit.NEGATIVE),
    ErrorCode("kazashi.relying_party.mykey.stages", "StageOrder", "mykey-stage-refused", Exit.USAGE),
    ErrorCode("kazashi.relying_party.mykey.mykey", "MyKeyRejected", "mykey-refused", Exit.NEGATIVE),
    ErrorCode("kazashi.relying_party.platform.platform", "LinkageConflict", "linkage-conflict", Exit.NEGATIVE),
    ErrorCode("kazashi.relying_party.platform.platform", "NoSuchTenant", "no-such-tenant", Exit.NEGATIVE),
    ErrorCode("kazashi.relying_party.verify.linkage", "LinkageUnavailable", "linkage-unavailable", Exit.ENVIRONMENT),
    ErrorCode("kazashi.refund_points.till", "SaleRejected", "sale-refused", Exit.NEGATIVE),
    ErrorCode("kazashi.refund_points.codes", "CodeRejected", "code-refused", Exit.NEGATIVE),
    ErrorCode("kazashi.refund_points.refunds", "RefundRejected", "refund-refused", Exit.NEGATIVE),
    ErrorCode("kazashi.refund_points.zengin", "PaymentRejected", "payment-refused", Exit.NEGATIVE),
    ErrorCode("kazashi.tracking_lab.engine", "OutOfMemory", "out-of-memory", Exit.ENVIRONMENT),
    ErrorCode("kazashi.tracking_lab.engine", "EngineMissing", "engine-missing", Exit.ENVIRONMENT),
    ErrorCode("kazashi.tracking_lab.logs.unusable", "LogsUnusable", "logs-unusable", Exit.USAGE),
    ErrorCode("kazashi.tracking_lab.memory", "MemoryUnusable", "memory-unusable", Exit.USAGE),
    ErrorCode("kazashi.tracking_lab.laboratory", "PopulationUnusable", "population-unusable", Exit.USAGE),
    ErrorCode("kazashi.provision_network.match_file", "MatchFileRejected", "match-file-refused", Exit.USAGE),
    ErrorCode("kazashi.provision_network.documents", "DocumentRejected", "bad-document", Exit.USAGE),
    ErrorCode("kazashi.medical_insurance.feed", "FeedRejected", "feed-refused", Exit.NEGATIVE),
    ErrorCode("kazashi.medical_insurance.clinic", "ClinicUnusable", "clinic-unusable", Exit.USAGE),
    ErrorCode("kazashi.provision_network.transfer_files", "FileRejected", "file-refused", Exit.NEGATIVE),
    ErrorCode("kazashi.provision_network.terms", "NetworkRejected", "network-refused", Exit.NEGATIVE),
    ErrorCode("kazashi.provision_network.open_log", "OpenLogUnusable", "open-log-unusable", Exit.USAGE),
    ErrorCode("kazashi.provision_network.codes", "ForeignCode", "foreign-code", Exit.NEGATIVE),
    ErrorCode("kazashi.refund_points.reading", "SeveralCards", "several-cards", Exit.NEGATIVE),
    ErrorCode("kazashi.refund_points.centre", "EnrolmentRejected", "enrolment-refused", Exit.USAGE),
    ErrorCode("kazashi.refund_points.centre", "PolicySettled", "policy-settled", Exit.USAGE),
    ErrorCode("kazashi.refund_points.goods", "BasketRejected", "basket-refused", Exit.USAGE),
    ErrorCode("kazashi.refund_points.enrolment", "EnrolmentDamaged", "enrolment-damaged", Exit.ENVIRONMENT),
    ErrorCode("kazashi.refund_points.sender", "CentreUnreachable", "centre-unreachable", Exit.ENVIRONMENT),
    ErrorCode("kazashi.relying_party.login.card_reader", "CertificateAbsent", "certificate-not-on-card", Exit.NEGATIVE),
    ErrorCode("kazashi.relying_party.login.card_reader", "CardMissing", "no-card-at-hand", Exit.ENVIRONMENT),
    ErrorCode("kazashi.relying_party.verify.anchors", "BadAnchor", "bad-anchor", Exit.USAGE),
    ErrorCode("kazashi.reader_bridge.host", "NotOurReader", "not-our-reader", Exit.USAGE),
    ErrorCode("kazashi.reader_bridge.fault_script", "BadFaultScript", "bad-fault-script", Exit.USAGE),
    ErrorCode("kazashi.card_management.relay_script", "BadRelayScript", "bad-relay-script", Exit.USAGE),
    ErrorCode("kazashi.reader_bridge.check.result", "BadReport", "bad-report", Exit.USAGE),
    ErrorCode("kazashi.reader_bridge.script", "BadScript", "bad-script", Exit.USAGE),
    ErrorCode("kazashi.applets.photo", "PhotoRejected", "bad-photo", Exit.USAGE),
    ErrorCode("kazashi.applets.card_face", "NoFace", "no-face", Exit.USAGE),
    ErrorCode("kazashi.reader_bridge.trace", "BadTrace", "bad-trace", Exit.USAGE),
    ErrorCode("kazashi.relying_party.platform.platform", "TenantExists", "tenant-exists", Exit.USAGE),
    ErrorCode("kazashi.relying_party.login.provider_store", "ClientExists", "client-exists", Exit.USAGE),
    ErrorCode("kazashi.relying_party.platform.platform", "NoSuchUser", "no-such-user", Exit.USAGE),
    ErrorCode("kazashi.resident_registry.registry", "ImportRejected", "import-refused", Exit.USAGE),
    ErrorCode("kazashi.resident_registry.registry", "NoSuchResident", "no-such-resident", Exit.USAGE),
    ErrorCode("kazashi.jpki.serial_number", "NotASerialNumber", "usage", Exit.USAGE),
    ErrorCode("kazashi.jpki.serial_number", "AmbiguousSerialNumber", "ambiguous-serial-number", Exit.USAGE),
    ErrorCode("kazashi.pki.certificate_database", "NoSuchCertificate", "no-such-certificate", Exit.USAGE),
    ErrorCode("kazashi.card_management.records", "NoSuchCard", "no-such-card", Exit.USAGE),
    ErrorCode("kazashi.card_management.phones", "NoSuchPhone", "no-such-phone", Exit.USAGE),
    ErrorCode("kazashi.pki.callers", "CallerExists", "caller-exists", Exit.USAGE),
    ErrorCode("kazashi.pki.lint", "NotLintable", "not-lintable", Exit.USAGE),
    ErrorCode("kazashi.applets.free_area", "BadDefinition", "bad-application", Exit.USAGE),
    ErrorCode("kazashi.card.image", "ApplicationConflict", "application-exists", Exit.USAGE),
    ErrorCode("kazashi.card.image", "ApplicationMissing", "no-such-application", Exit.USAGE),
    ErrorCode("kazashi.card_management.free_area", "NotLoaded", "no-such-application", Exit.USAGE),
    ErrorCode("kazashi.card_management.juki_card", "JukiCardRejected", "juki-card-refused", Exit.NEGATIVE),
    ErrorCode("kazashi.card_management.free_area", "NotInUse", "card-not-in-use", Exit.NEGATIVE),
    ErrorCode("kazashi.card_management.drivers_licence", "LicenceRejected", "licence-refused", Exit.NEGATIVE),
    ErrorCode("kazashi.card_management.free_area", "NotByOrdinance", "not-by-ordinance", Exit.NEGATIVE),
    ErrorCode("kazashi.card_management.free_area", "OrdinanceRejected", "ordinance-refused", Exit.NEGATIVE),
    ErrorCode("kazashi.world.home", "WorldMissing", "world-missing", Exit.USAGE),
    ErrorCode("kazashi.card.image", "ImageExists", "card-exists", Exit.USAGE),
    ErrorCode("kazashi.card.image", "ImageMissing", "card-missing", Exit.USAGE),
    ErrorCode("kazashi.reader_bridge.pcsc", "NoSuchReader", "no-such-reader", Exit.USAGE),
    ErrorCode("kazashi.reader_bridge.host", "NoSuchSlot", "no-such-slot", Exit.USAGE),
    ErrorCode("kazashi.reader_bridge.profile", "NoSuchProfile", "no-such-profile", Exit.USAGE),
    ErrorCode("kazashi.reader_bridge.profile", "BadProfile", "bad-profile", Exit.USAGE),
    ErrorCode("kazashi.reader_bridge.pin_entry", "NoPinWanted", "no-pin-wanted", Exit.USAGE),
    ErrorCode("kazashi.reader_bridge.pin_entry", "NotDigits", "not-digits", Exit.USAGE),
    ErrorCode("kazashi.reader_bridge.slot", "SlotBusy", "slot-busy", Exit.USAGE),
    ErrorCode("kazashi.assembly.errors", "UsageError", "usage", Exit.USAGE),
    ErrorCode("kazashi.world.names", "BadName", "usage", Exit.USAGE),
    ErrorCode("kazashi.world.input_file", "FileUnusable", "file-unusable", Exit.USAGE),
    ErrorCode("sqlite3", "Error", "store-failed", Exit.ENVIRONMENT),
    # A refusal by the operating system (permissions, disk space, a missing program) is a problem of the environment.
    ErrorCode("builtins", "OSError", "system", Exit.ENVIRONMENT),
)
"""The first entry that fits an error applies."""

REMOTE_ONLY = ("bad-request", "internal")
"""Codes that are only in responses on the control socket."""


def code_of(error: Exception) -> str | None:
    """The code of an error, or None if the error is a bug."""
    if isinstance(error, ControlRejected):
        return str(error.code)
    return next((row.code for row in CODES if row.fits(error)), None)


def words_of(error: Exception) -> str:
    """The message of an error: that of the operating system without Python's number before it."""
    if isinstance(error, OSError) and error.strerror and type(error).__module__ == "builtins":
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    return str(error)


def exit_of(code: str) -> Exit:
    """The exit status of an error code."""
    return next((row.exit for row in CODES if row.code == code), Exit.NEGATIVE)
