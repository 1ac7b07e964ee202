-- Holds may expire: the kinds of transfers get one more. SQLite cannot change a CHECK, so the table
-- is made anew, with the same rows.
CREATE TABLE transfer_with_expire (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('single', 'pending', 'post', 'void', 'expire')),
    debit TEXT NOT NULL,
    credit TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount >= 0),
    code TEXT NOT NULL,
    pending_id TEXT,
    detail TEXT NOT NULL,
    booked_ns INTEGER NOT NULL,
    writer TEXT NOT NULL,
    hash BLOB NOT NULL
) STRICT;
INSERT INTO transfer_with_expire SELECT * FROM transfer ORDER BY seq;
DROP TABLE transfer;
ALTER TABLE transfer_with_expire RENAME TO transfer;

CREATE UNIQUE INDEX transfer_by_pending_id ON transfer (pending_id) WHERE pending_id IS NOT NULL;
CREATE TRIGGER transfer_is_final BEFORE UPDATE ON transfer
BEGIN SELECT raise(ABORT, 'a transfer is never changed: book another one'); END;
CREATE TRIGGER transfer_stays BEFORE DELETE ON transfer
BEGIN SELECT raise(ABORT, 'a transfer is never deleted: book another one'); END;
