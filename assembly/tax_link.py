"""The tax agency and the municipalities' tax offices of one world: files of returns are written and received."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from kazashi.assembly.network import Network, body_of
from kazashi.assembly.network_offices import TAX_OFFICE
from kazashi.assembly.network_outside import outside_addresses
from kazashi.provision_network.law.provisions import TAXES_PURPOSE, Party, Provision
from kazashi.provision_network.law.tables import TAX_ITEM
from kazashi.provision_network.law.versions import ProvisionItem
from kazashi.provision_network.matching import Attributes, attributes_of
from kazashi.provision_network.name_matching import Roll
from kazashi.provision_network.off_network import FileGiven, OffNetwork
from kazashi.provision_network.tax_offices import TaxOffices, TaxReception
from kazashi.provision_network.tax_returns import TAX_AGENCY, TaxReturn, file_of, made_up_return
from kazashi.provision_network.terms import NetworkRejected
from kazashi.resident_registry.resident import Resident
from kazashi.world.atomic_file import write_whole


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file on disk, by the SHA-256 of its content, with the number of its records."""

    path: Path
    digest: str
    records: int


def attributes_on_a_return(person: Resident) -> Attributes:
    """Return a person's attributes as files of returns and tax offices have them: the reading in its usual width."""
    known = attributes_of(person)
    return replace(known, kana=unicodedata.normalize("NFKC", known.kana))


class TaxLink:
    """The link between the tax agency and the municipalities (国税・地方税連携)."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._world = network.world
        self.offices = TaxOffices(network.world)
        self._log = OffNetwork(network.world)

    def returns(self, body: str, year: int) -> list[tuple[TaxReturn, Resident]]:
        """Return the returns that the residents of a municipality may have made for a year, with their people.

        They are made up from the registry, and the same each time.
        """
        people = [one for one in self._network.people() if body_of(one) == body]
        numbers = [one.individual_number for one in people if one.individual_number is not None]
        references = outside_addresses(self._network, TAX_AGENCY).admit_all(numbers)
        returns = []
        for place, (reference, number, person) in enumerate(zip(references, numbers, people, strict=True)):
            chance = self._world.random_stream("tax return", str(year), str(person.code))
            other = numbers[place - 1]  # the next on the list, perhaps of the same family
            returns.append((made_up_return(reference, number, attributes_on_a_return(person), other, chance), person))
        return returns

    def write(self, body: str, year: int, path: Path) -> WrittenFile:
        """Write the tax agency's file for a municipality, and log the provision of each record.

        A line is logged before the file has its name, and once, however often it is repeated. Raises NetworkRejected if
        the body is not on the network or has no residents, or if the law does not allow it.
        """
        self._network.member(body)
        returns = [one for one, _ in self.returns(body, year)]
        if not returns:
            raise NetworkRejected("no-taxpayers", f"nobody lives in {body}, so that no returns are for it")
        content = file_of(body, year, returns)
        digest = sha256(content).hexdigest()
        provision = Provision(
            ProvisionItem.TAXES, Party.TAX_AGENCY, Party.MUNICIPALITY, TAXES_PURPOSE, information=TAX_ITEM
        )
        given = FileGiven(digest, TAX_AGENCY, body, path.name, len(returns))
        self._log.give_file(given, [(provision, f"{year}年分の申告書", one.reference) for one in returns])
        write_whole(path, content)
        return WrittenFile(path, digest, len(returns))

    def numbers(self, body: str) -> dict[str, str]:
        """Return a tax office's own numbers for the people whom its municipality knows, by individual number."""
        addresses = self._network.linkage(body).addresses
        by_number = addresses.by_number()
        local = addresses.local_numbers(TAX_OFFICE, list(by_number.values()))
        return dict(zip(by_number, local, strict=True))

    def enrol(self, body: str) -> dict[str, str]:
        """Bring an office's roll up to date with the registry, and return the numbers as `numbers` does."""
        numbers, registry = self.numbers(body), {str(one.individual_number): one for one in self._network.people()}
        people = {
            own: attributes_on_a_return(registry[number]) for number, own in numbers.items() if number in registry
        }
        self.offices.enrol(body, people)
        return numbers

    def receive(self, body: str, content: bytes) -> TaxReception:
        """Take a file at a municipality's tax office, and match its records. Raises FileRejected and
        NetworkRejected."""
        self._network.member(body)
        return self.offices.receive(body, content, self.enrol(body))

    def roll(self, body: str) -> Roll:
        """Return an office's roll, up to date, for matching."""
        return self.offices.roll(body, self.enrol(body))
