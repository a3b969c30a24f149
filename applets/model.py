"""Models of devices that hold the two certificates: which applications each model has."""

from __future__ import annotations

from dataclasses import dataclass

from kazashi.applets.applet import Applet
from kazashi.card.contents import CardContents
from kazashi.card.file import Application


@dataclass(frozen=True)
class DeviceModel:
    """A model of card or phone; `name` is what a card image calls it.

    Every device of the model has the `applets`. `additions` are those that a device gets later, or only if its holder
    asks for them. A partial AID is matched in the order in which an image has its applications. `atqb` and
    `is_elliptic` are as in `Card`.
    """

    name: str
    applets: tuple[Applet, ...]
    additions: tuple[Applet, ...] = ()
    atqb: bytes = b""
    is_elliptic: bool = False

    def applications(self, contents: CardContents) -> tuple[Application, ...]:
        """Return a device's applications in the order of their contents.

        Raises KeyError if the contents of one of `applets` are missing, or if some belong to no application of this
        model.
        """
        declared = {applet.aid: applet for applet in (*self.applets, *self.additions)}
        missing = [applet.name for applet in self.applets if applet.aid not in contents]
        if missing:
            raise KeyError(", ".join(missing))
        return tuple(declared[aid].application(written) for aid, written in contents.items())
