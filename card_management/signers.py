"""The world's trust anchors for card-verifiable certificates, and the municipal keys that they certify."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from kazashi.applets.holder import CardSigners
from kazashi.applets.verifiable_certificate import CHIP_ROOT, TEXT_ISSUER, VISUAL_ISSUER, CertificateSigner, key_id
from kazashi.card.key import PrivateKey
from kazashi.resident_registry.municipality import MunicipalityCode
from kazashi.world.key_source import KeySource
from kazashi.world.storage import Store


class SignerStore:
    """Stores signers by name. Their keys are created at first use."""

    def __init__(self, metadata: sa.MetaData) -> None:
        self._signer = sa.Table(
            "signer", metadata,
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("key", sa.LargeBinary, nullable=False),
        )  # fmt: skip
        self._known: dict[str, bytes] = {}  # a key never changes once it is stored

    def signers(
        self, store: Store, keys: KeySource, municipality: MunicipalityCode, generation: int = 0
    ) -> CardSigners:
        """Return the signers for the cards of a municipality. Each generation has keys of its own, which come from
        `keys` at first use."""

        def signer(name: str, first: int = 1) -> CertificateSigner:
            number = f"{first + generation:03d}"
            return CertificateSigner(key_id(name, number), PrivateKey(self._key(store, keys, f"{name}/{number}")))

        return CardSigners(
            chip_root=signer(CHIP_ROOT),
            text_issuer=signer(TEXT_ISSUER),
            visual_issuer=signer(VISUAL_ISSUER),
            # Subjects seen on real cards are the municipality's code, two more digits, and a running number.
            municipality_chip=signer(f"{municipality}20", 0),
            municipality_visual=signer(f"{municipality}21", 0),
            municipality_text=signer(f"{municipality}31", 0),
        )

    def _key(self, store: Store, keys: KeySource, name: str) -> bytes:
        if name in self._known:
            return self._known[name]
        find = sa.select(self._signer.c.key).where(self._signer.c.name == name)
        with store.reading() as connection:
            key = connection.scalar(find)
        if key is None:
            try:
                with store.transaction() as connection:
                    connection.execute(sa.insert(self._signer), {"name": name, "key": keys.take()})
            except IntegrityError:
                pass  # another program has just created this key; the one that was written first is used
            with store.reading() as connection:
                key = connection.scalar(find)
        assert key is not None
        return self._known.setdefault(name, bytes(key))
