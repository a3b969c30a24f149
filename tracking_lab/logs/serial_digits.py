"""Serial numbers of digits only, which can be hexadecimal or decimal: the reading that agrees with the other values.

The tiers, in order: the serial numbers that are known from texts with one reading; their lengths in octets and their
range; and how the same service writes its other serial numbers. Where both readings agree, or neither does, a text
stays open, and the mapping must say `digits: hex` or `digits: decimal`.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from kazashi.tracking_lab.logs.handle_forms import octets_of

USUAL = 0.01
"""A length in octets is usual if at least this share of the known serial numbers has it."""

AS_DECIMAL, AS_HEXADECIMAL = "decimal", "hexadecimal"


@dataclass(frozen=True, slots=True)
class DigitsRead:
    """How many distinct texts of digits only were read as what, and how many have two readings that both agree with the
    other values, or that neither does."""

    hexadecimal: int
    decimal: int
    open: int


def settle(connection: duckdb.DuckDBPyConnection) -> DigitsRead:
    """Create the table `settled` (`key`, `serial`) from the tables `open` (`key`, `service`, `digits`) and `known`
    (`serial`, `number`, distinct) and `written` (`service`, `decimals`, `hexadecimals`: how many serial numbers without
    a second reading it has that are written as hexadecimal digits alone, or in decimal). `serial` is null where both
    readings agree."""
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE reading AS
        SELECT key, service, h, d, hex_number, decimal_number, k.serial IS NOT NULL AS hex_known,
               m.serial IS NOT NULL AS decimal_known
        FROM (SELECT key, service, {octets_of("digits")} AS h, {octets_of("hex(CAST(digits AS UBIGINT))")} AS d,
                     CAST(concat('0x', digits) AS UBIGINT) AS hex_number, CAST(digits AS UBIGINT) AS decimal_number
              FROM open) AS o
        LEFT JOIN known k ON k.serial = o.h LEFT JOIN known m ON m.serial = o.d
    """)
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE usual AS
        SELECT octets FROM (SELECT length(serial) // 2 AS octets, count(*) AS n FROM known GROUP BY ALL)
        WHERE n >= {USUAL} * (SELECT count(*) FROM known)
    """)
    span = connection.execute("SELECT min(number), max(number) FROM known").fetchone() or (None, None)
    low, high = (0, -1) if span[0] is None else (int(span[0]), int(span[1]))
    # Serial numbers just outside the range that was seen are as likely as those inside.
    low, high = max(0, low - (high - low) - 256), high + (high - low) + 256 if span[0] is not None else -1

    def fits(text: str, number: str) -> str:
        within = f"CAST({number} AS HUGEINT) BETWEEN {low} AND {high}"
        return f"({within} AND length({text}) // 2 IN (SELECT octets FROM usual))"

    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE judged AS
        SELECT key, service, h, d, CASE
            WHEN hex_known AND NOT decimal_known THEN '{AS_HEXADECIMAL}'
            WHEN decimal_known AND NOT hex_known THEN '{AS_DECIMAL}'
            WHEN {fits("h", "hex_number")} AND NOT {fits("d", "decimal_number")} THEN '{AS_HEXADECIMAL}'
            WHEN {fits("d", "decimal_number")} AND NOT {fits("h", "hex_number")} THEN '{AS_DECIMAL}'
            END AS reading FROM reading
    """)
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE habit AS
        SELECT service, CASE WHEN decimals = 0 AND hexadecimals > 0 THEN '{AS_HEXADECIMAL}'
                             WHEN hexadecimals = 0 AND decimals > 0 THEN '{AS_DECIMAL}' END AS reading
        FROM (SELECT service, sum(decimals) AS decimals, sum(hexadecimals) AS hexadecimals FROM (
            SELECT service, decimals, hexadecimals FROM written UNION ALL
            SELECT service, count(*) FILTER (reading = '{AS_DECIMAL}'),
                   count(*) FILTER (reading = '{AS_HEXADECIMAL}') FROM judged GROUP BY service
        ) GROUP BY service);
        CREATE OR REPLACE TEMP TABLE settled AS
        SELECT key, h, coalesce(j.reading, b.reading) AS reading,
               CASE coalesce(j.reading, b.reading)
                    WHEN '{AS_HEXADECIMAL}' THEN h WHEN '{AS_DECIMAL}' THEN d END AS serial
        FROM judged j LEFT JOIN habit b ON b.service = j.service
    """)
    counts = dict(connection.execute(
        "SELECT coalesce(reading, ''), count(DISTINCT h) FROM settled GROUP BY 1"
    ).fetchall())  # fmt: skip
    connection.execute("DROP TABLE reading; DROP TABLE judged; DROP TABLE habit; DROP TABLE usual")
    return DigitsRead(int(counts.get(AS_HEXADECIMAL, 0)), int(counts.get(AS_DECIMAL, 0)), int(counts.get("", 0)))
