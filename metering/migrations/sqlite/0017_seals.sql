-- What an epoch commits to: the Merkle root over its payouts, inside a head that names the head before
-- it. Booked in the epoch's own transaction; `head` is canonical JSON, `hash` is the head's, in hex.
CREATE TABLE epoch_seal (
    epoch INTEGER PRIMARY KEY,
    root TEXT NOT NULL,
    head TEXT NOT NULL,
    hash TEXT NOT NULL
) STRICT;

-- One row a supplier: a leaf of that tree, at its place. `text` is what is hashed, `io_paid` (base
-- units) stands in it too.
CREATE TABLE payout (
    epoch INTEGER NOT NULL,
    leaf INTEGER NOT NULL CHECK (leaf >= 0),
    supplier_id TEXT NOT NULL,
    io_paid INTEGER NOT NULL CHECK (io_paid >= 0),
    text TEXT NOT NULL,
    PRIMARY KEY (epoch, leaf),
    UNIQUE (epoch, supplier_id)
) STRICT, WITHOUT ROWID;

-- What one process at a time does for all: its holder raises `beat`, and whoever saw no new one for
-- long enough takes it over. Nobody's clock is compared with another's; the times are for people.
CREATE TABLE lease (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    beat INTEGER NOT NULL,
    taken_ns INTEGER NOT NULL,
    beat_ns INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER epoch_seal_is_final BEFORE UPDATE ON epoch_seal
BEGIN SELECT raise(ABORT, 'a sealed epoch is never changed'); END;
CREATE TRIGGER epoch_seal_stays BEFORE DELETE ON epoch_seal
BEGIN SELECT raise(ABORT, 'a sealed epoch is never deleted'); END;
CREATE TRIGGER payout_is_final BEFORE UPDATE ON payout
BEGIN SELECT raise(ABORT, 'a payout is never changed'); END;
CREATE TRIGGER payout_stays BEFORE DELETE ON payout
BEGIN SELECT raise(ABORT, 'a payout is never deleted'); END;
