"""`kazashi ca forecast`: the revocation lists before a mass revocation."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kazashi.tools.cli.commands.shared import Reply, institutions_of, replies, table

if TYPE_CHECKING:
    from kazashi.pki.forecast import ListForecast
    from kazashi.pki.generation import Generation
    from kazashi.pki.publication import Publication

_SAMPLE = 20_000
"""Entries of the sample that is made to measure this machine."""


@click.command("forecast")
@click.argument("kind", type=click.Choice(["signature", "authentication"]))
@click.option("--municipality", "codes", multiple=True, metavar="CODE",
              help="Revoke all certificates of its residents that can be revoked; may be repeated.")  # fmt: skip
@click.option("--entries", type=click.IntRange(1, 100_000_000), metavar="N",
              help="Add this many entries instead: to the full list and to one --municipality.")  # fmt: skip
@click.option("--reason", default="affiliationChanged", show_default=True, help="The reason, as in RFC 5280.")
@click.option("--generation", "name", help="01, 02, ... or next (default: the issuing generation).")
@click.option("--mbps", type=click.FloatRange(0, min_open=True), help="Also show the time to download a list.")
@replies
@click.pass_context
def ca_forecast(
    context: click.Context, kind: str, codes: tuple[str, ...], entries: int | None, reason: str, name: str | None,
    mbps: float | None,
) -> Reply:  # fmt: skip
    """Forecast the next lists after a mass revocation.

    Nothing is revoked. Shows the size in bytes of each list that changes, and the time that it takes to make, measured
    with a sample on this machine. Give --municipality for a merger, or --entries.
    """
    from kazashi.assembly.errors import UsageError
    from kazashi.jpki.profile import CERTIFICATE_TYPES
    from kazashi.jpki.state import REASONS
    from kazashi.pki.forecast import Forecast, NoSuchList

    institutions = institutions_of(context)
    if reason not in REASONS:
        raise UsageError(f"{reason!r} is not a reason; the reasons are {', '.join(REASONS)}")
    if not codes and entries is None:
        raise UsageError("say what is revoked: --municipality CODE, or --entries N")
    if entries is not None and len(codes) > 1:
        raise UsageError("--entries goes with one --municipality")
    certificate_type = CERTIFICATE_TYPES[kind]
    authority, publication = institutions.authorities[certificate_type], institutions.publications[certificate_type]
    issuing = authority.issuing()
    institutions.settle()
    generation = {each.name: each for each in authority.generations()}.get(name or issuing.name)
    if generation is None:
        raise UsageError(f"the {kind} authority has no generation {name!r}; see: kazashi ca generations")
    forecast = Forecast(publication, generation, REASONS[reason])
    try:
        if entries is not None:
            lists = forecast.of_entries(entries, codes[0] if codes else None)
        else:
            lists = forecast.of_municipalities(list(dict.fromkeys(codes)))
    except NoSuchList as error:
        raise UsageError(f"nobody in {error} has a {kind} certificate of generation {generation.name}") from error
    speed = _measured(publication, generation)
    rows = [_row(each, speed, mbps) for each in lists]
    document = {
        "kind": kind, "generation": generation.name, "revoked": lists[-1].added, "exact": all(x.exact for x in lists),
        "made_at": lists[-1].made_at.isoformat(), "lists": rows,
    }  # fmt: skip
    size = "in bytes" if document["exact"] else "in bytes, give or take the parts that vary"
    words = f"{lists[-1].added} certificates revoked; lists of {document['made_at']}, {size}\n"
    return Reply(document, words + table(rows, ""))


def _row(each: ListForecast, speed: _Speed, mbps: float | None) -> dict[str, Any]:
    row = {
        "list": each.name, "entries": each.entries_then, "added": each.added, "bytes_now": each.bytes_now,
        "bytes": each.bytes_then, "seconds": float(f"{speed.seconds(each):.3g}"),
    }  # fmt: skip
    if mbps is not None:
        row["download_seconds"] = float(f"{each.bytes_then * 8 / (mbps * 1e6):.3g}")
    return row


@dataclass(frozen=True, slots=True)
class _Speed:
    """What a list costs in seconds: at least, for each byte, and for each entry that is added."""

    least: float
    byte: float
    entry: float

    def seconds(self, each: ListForecast) -> float:
        """The time to make a list from the one before."""
        return self.least + self.byte * each.bytes_then + self.entry * each.added


def _measured(publication: Publication, generation: Generation) -> _Speed:
    """Make lists of a sample as the nightly batch does, signed with a key of their own, beside the published ones."""
    import tempfile  # it is slow to import

    import sqlalchemy as sa

    from kazashi.pki.crl_entries import encode_entries, entries_of_rows
    from kazashi.pki.signing_key import SoftwareKey
    from kazashi.world.key_source import generate

    store = publication.authority.ledger.store
    query = sa.text(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count)"
        " SELECT '00000', i, i + 1879048192, 1800000000, 3 FROM n"
    )
    signer = replace(generation, key=SoftwareKey(generate()))
    with tempfile.TemporaryDirectory(prefix=".forecast-", dir=publication.authority.world.directory) as directory:
        path = Path(directory) / "sample.crl"
        least = min(_timed(lambda: _make(publication, signer, path, ())) for _ in range(3))

        def read_and_encode() -> None:
            with store.reading() as connection:
                rows = [tuple(row) for row in connection.execute(query, {"count": _SAMPLE})]
            pieces.extend(encode_entries(entries_of_rows([row[2:] for row in rows])))

        pieces: list[bytes] = []
        entry = min(_timed(read_and_encode) for _ in range(3)) / _SAMPLE
        path.unlink()
        _make(publication, signer, path, tuple(pieces * 7))
        whole = min(_timed(lambda: _make(publication, signer, path, ())) for _ in range(3))
        byte = (whole - least) / path.stat().st_size
    return _Speed(least, max(byte, 0.0), entry)


def _make(publication: Publication, generation: Generation, path: Path, entries: tuple[bytes, ...]) -> None:
    """Make a list of the one before, if there is one, else of these entries."""
    from kazashi.pki.crl import EVERYTHING, read_list, sign_list, without
    from kazashi.pki.publication import VALID_FOR

    kept: tuple[bytes | memoryview, ...] = entries
    if path.exists():
        data = path.read_bytes()
        kept = without(data, read_list(data).entries, ())
    now = publication.authority.world.clock.now()
    signed = sign_list(generation, publication.authority.kind, EVERYTHING, 1, (now, now + VALID_FOR), kept)
    publication.write(path, signed.pieces)


def _timed(action: Any) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun
