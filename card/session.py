"""The volatile state of a powered card: the current application and file, and the achieved facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kazashi.card.access import NOTHING, SecurityPolicy, SessionEvent
from kazashi.card.card import Card
from kazashi.card.file import Application, ElementaryFile
from kazashi.card.identifiers import FileId
from kazashi.card.rejection import FileOrApplicationNotFound, NoCurrentFile, ReferenceNotFound, WrongParameters
from kazashi.card.rule import RuleSource
from kazashi.card.secure_messaging import SecureChannel
from kazashi.card.store import CardStore, Reference
from kazashi.card.verifiable import PublicKey

Chance = Callable[[int], bytes]
"""A source of random bytes, called with the number of bytes."""


@dataclass(frozen=True, slots=True)
class ShownTerminal:
    """What a terminal has shown of itself: the body of a certificate without its signature, then its public key."""

    body: bytes = b""
    key: PublicKey | None = None


NO_TERMINAL = ShownTerminal()


class Session:
    """The state from power-up to power-off. `facts` are the PIN files verified in `application`.

    `challenge` is the last random number that was sent, which EXTERNAL AUTHENTICATE uses once. `channel` is the secure
    channel, and `terminal` what a terminal has shown of itself in `application`.
    """

    __slots__ = ("application", "card", "challenge", "chance", "channel", "facts", "file", "policy", "terminal")

    def __init__(self, card: Card, chance: Chance, policy: SecurityPolicy) -> None:
        self.card = card
        self.chance = chance
        self.policy = policy
        self.application: Application = card.initial
        self.file: ElementaryFile | None = None
        self.facts = NOTHING
        self.challenge = b""
        self.channel: SecureChannel | None = None
        self.terminal = NO_TERMINAL

    @property
    def store(self) -> CardStore:
        """The card's durable state."""
        return self.card.store

    def happened(self, event: SessionEvent, concerned: FileId | None = None) -> None:
        """Clear the facts that an event clears under the policy."""
        self.facts = self.policy.after(event, self.facts, concerned)

    def enter(self, application: Application) -> None:
        """Make an application current, deselect the current file, and end the secure channel.

        The facts are kept if the application was current already.
        """
        self.channel = None
        if application is not self.application:
            self.happened(SessionEvent.APPLICATION_LEFT)
            self.application = application
            self.terminal = NO_TERMINAL
        self.file = None

    def current_file(self) -> ElementaryFile:
        """Return the current file. Raises NoCurrentFile if none is selected."""
        if self.file is None:
            raise NoCurrentFile(
                "no file is selected, and the command applies to the current file", RuleSource.ISO_STATUS
            )
        return self.file

    def select_short(self, short: int) -> ElementaryFile:
        """Select the file with a short identifier and return it.

        Raises WrongParameters for an identifier out of range, and FileOrApplicationNotFound.
        """
        if not 1 <= short <= 30:
            raise WrongParameters("a short file identifier is 1 to 30", RuleSource.ISO_SHORT_IDENTIFIER)
        # Every file identifier on this card is 0001 to 001E and therefore equal to its short identifier.
        file = self.application.files.get(short)
        if file is None:
            raise FileOrApplicationNotFound(
                "the application has no file with this short identifier", RuleSource.ISO_STATUS
            )
        self.file = file
        return file

    def referenced(self, p2: int) -> ElementaryFile:
        """Return the file that P2 of a PIN or key command names: 80 the current file, 80 + n short identifier n.

        Raises NoCurrentFile, ReferenceNotFound, and WrongParameters for any other P2.
        """
        if p2 == 0x80:
            return self.current_file()
        if p2 & 0xE0 != 0x80:
            raise WrongParameters("P2 is 80 for the current file, or 80 + a short identifier", RuleSource.MYNA_CARD)
        try:
            return self.select_short(p2 & 0x1F)
        except FileOrApplicationNotFound:
            raise ReferenceNotFound(
                "the application has no PIN or key with this reference", RuleSource.MISSING_REFERENCE
            ) from None

    def reference(self, file: ElementaryFile) -> Reference:
        """Return the store's reference to a file of the current application."""
        return Reference(self.application.aid, file.fid)
