-- A third party's audit: the sums of the ledger, recomputed from nothing but the tills' own files.
--
-- Run it once for every till's file, on a file of your own that collects the sums:
--
--     for till in tills/till-*.sqlite; do
--         sqlite3 sums.sqlite "ATTACH '$till' AS till" ".read readd.sql"
--     done
--     sqlite3 -box sums.sqlite "SELECT * FROM sums"
--
-- It uses no data of the centre. Compare its result with `kazashi points ledger`, code by code, after everything was
-- sent and before the first refund. After that, compare the totals with what the ledger calls granted.
-- Under code-by-centre only the centre knows the codes, so only totals can be compared. A record whose till's clock
-- was years off, or that arrived after its year was closed, counts for a different year at the centre than here.
-- Running it again for a file changes nothing: a record is identified by its till and its number.

CREATE TABLE IF NOT EXISTS collected (
    till TEXT, number INTEGER, code TEXT, at INTEGER, points INTEGER, state TEXT, PRIMARY KEY (till, number)
);

INSERT OR REPLACE INTO collected
SELECT body ->> 'till',
       body ->> 'number',
       -- Under keyed-by-shop a code is only valid in its shop.
       CASE body ->> 'policy'
           WHEN 'keyed-by-shop' THEN substr(body ->> 'till', 1, instr(body ->> 'till', '/')) || (body ->> 'reading')
           WHEN 'code-by-centre' THEN 'sealed for the centre'
           ELSE body ->> 'reading'
       END,
       body ->> 'at',
       body ->> 'points',
       state
FROM (SELECT CAST(body AS TEXT) AS body, state FROM till.record WHERE json_valid(CAST(body AS TEXT)));

-- The year is that of the till's clock, in Japan's time.
CREATE VIEW IF NOT EXISTS sums AS
SELECT code,
       CAST(strftime('%Y', at + 9 * 3600, 'unixepoch') AS INTEGER) AS year,
       sum(points) AS points,
       sum(points) FILTER (WHERE state = 'waiting') AS still_waiting,
       sum(points) FILTER (WHERE state IN ('refused', 'damaged')) AS not_taken
FROM collected
GROUP BY code, year
ORDER BY code, year;
