-- Gateways that may have charges which are not booked yet: from before their first to the booking of
-- their last. `writer` is that of their spool, which outlives them.
CREATE TABLE gateway_register (
    writer TEXT PRIMARY KEY,
    since_ns INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What tells this ledger from others in a Redis that several of them use.
CREATE TABLE ledger_name (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO ledger_name VALUES (lower(hex(randomblob(8))));
