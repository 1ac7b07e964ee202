-- Gateways that may have charges which are not booked yet: from before their first to the booking of
-- their last. `writer` is that of their spool, which outlives them.
CREATE TABLE gateway_register (
    writer TEXT COLLATE "C" PRIMARY KEY,
    since_ns BIGINT NOT NULL
);

-- What tells this ledger from others in a Redis that several of them use.
CREATE TABLE ledger_name (name TEXT PRIMARY KEY);
INSERT INTO ledger_name VALUES (substr(replace(gen_random_uuid()::text, '-', ''), 1, 16));
