"""Models of devices that hold the two certificates: which applications each model has."""

from __future__ import annotations

from dataclasses import dataclass

from kazashi.applets.applet import Applet
from kazashi.card.contents import ApplicationContents, CardContents
from kazashi.card.file import Application


class WrongApplications(Exception):
    """The contents of a device are not those of its model; the message begins with a verb, such as "lacks"."""


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

        Raises WrongApplications if the contents of one of `applets`, or of one of its files, are missing, or if some
        belong to no application of this model.
        """
        declared = {applet.aid: applet for applet in (*self.applets, *self.additions)}
        missing = [applet.name for applet in self.applets if applet.aid not in contents]
        if missing:
            raise WrongApplications(f"lacks a part of the model {self.name!r}: {', '.join(missing)}")
        if unknown := [str(aid) for aid in contents if aid not in declared]:
            raise WrongApplications(f"has what the model {self.name!r} cannot have: the application {unknown[0]}")
        return tuple(self._application(declared[aid], written) for aid, written in contents.items())

    def _application(self, applet: Applet, written: ApplicationContents) -> Application:
        try:
            if missing := [item.name for item in applet.objects if int(item) not in written.objects]:
                raise KeyError(missing[0])
            return applet.application(written)
        except KeyError as error:
            raise WrongApplications(
                f"lacks a part of the model {self.name!r}: {applet.name} {error.args[0]}"
            ) from error
