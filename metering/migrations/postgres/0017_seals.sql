-- What an epoch commits to: the Merkle root over its payouts, inside a head that names the head before
-- it. Booked in the epoch's own transaction; `head` is canonical JSON, `hash` is the head's, in hex.
CREATE TABLE epoch_seal (
    epoch BIGINT PRIMARY KEY,
    root TEXT NOT NULL,
    head TEXT NOT NULL,
    hash TEXT NOT NULL
);

-- One row a supplier: a leaf of that tree, at its place. `text` is what is hashed, `io_paid` (base
-- units) stands in it too.
CREATE TABLE payout (
    epoch BIGINT NOT NULL,
    leaf BIGINT NOT NULL CHECK (leaf >= 0),
    supplier_id TEXT COLLATE "C" NOT NULL,
    io_paid BIGINT NOT NULL CHECK (io_paid >= 0),
    text TEXT NOT NULL,
    PRIMARY KEY (epoch, leaf),
    UNIQUE (epoch, supplier_id)
);

-- What one process at a time does for all: its holder raises `beat`, and whoever saw no new one for
-- long enough takes it over. Nobody's clock is compared with another's; the times are for people.
CREATE TABLE lease (
    name TEXT COLLATE "C" PRIMARY KEY,
    holder TEXT NOT NULL,
    beat BIGINT NOT NULL,
    taken_ns BIGINT NOT NULL,
    beat_ns BIGINT NOT NULL
);

CREATE TRIGGER epoch_seal_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON epoch_seal
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('a sealed epoch is never changed or deleted');
CREATE TRIGGER payout_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON payout
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('a payout is never changed or deleted');
