"""What a powered card remembers: the current application and file, the achieved facts, a challenge given."""

from __future__ import annotations

from collections.abc import Callable

from kazashi.card.access import NOTHING, SecurityPolicy, SessionEvent
from kazashi.card.card import Card
from kazashi.card.file import Application, ElementaryFile
from kazashi.card.identifiers import FileId
from kazashi.card.rejection import FileOrApplicationNotFound, NoCurrentFile, ReferenceNotFound, WrongParameters
from kazashi.card.store import CardStore, Reference

Chance = Callable[[int], bytes]
"""A source of that many random bytes."""


class Session:
    """One stay under power. `facts` are the PIN files verified in `application`."""

    __slots__ = ("application", "card", "challenge_given", "chance", "facts", "file", "policy")

    def __init__(self, card: Card, chance: Chance, policy: SecurityPolicy) -> None:
        self.card = card
        self.chance = chance
        self.policy = policy
        self.application: Application = card.applications[0]
        self.file: ElementaryFile | None = None
        self.facts = NOTHING
        self.challenge_given = False

    @property
    def store(self) -> CardStore:
        """The card's durable state."""
        return self.card.store

    def happened(self, event: SessionEvent, concerned: FileId | None = None) -> None:
        """Let an event clear what it clears."""
        self.facts = self.policy.after(event, self.facts, concerned)

    def enter(self, application: Application) -> None:
        """Make an application current. Entering the one that is current keeps its facts and drops the current file."""
        if application is not self.application:
            self.happened(SessionEvent.APPLICATION_LEFT)
            self.application = application
        self.file = None

    def current_file(self) -> ElementaryFile:
        """The current file, or NoCurrentFile."""
        if self.file is None:
            raise NoCurrentFile
        return self.file

    def select_short(self, short: int) -> ElementaryFile:
        """Make the file of that short identifier current."""
        if not 1 <= short <= 30:
            raise WrongParameters
        # Every identifier on this card is 0001 to 001E, so the short form and the long one are the same number.
        file = self.application.files.get(short)
        if file is None:
            raise FileOrApplicationNotFound
        self.file = file
        return file

    def referenced(self, p2: int) -> ElementaryFile:
        """The file that a credential command names: P2 80 the current one, 80 + n the one of short identifier n."""
        if p2 == 0x80:
            return self.current_file()
        if p2 & 0xE0 != 0x80:
            raise WrongParameters
        try:
            return self.select_short(p2 & 0x1F)
        except FileOrApplicationNotFound:
            raise ReferenceNotFound from None

    def reference(self, file: ElementaryFile) -> Reference:
        """The name by which the store knows a file of the current application."""
        return Reference(self.application.aid, file.fid)
