-- The ledger. Amounts are integers in the smallest unit of the account's asset (nano-USD, IO base
-- units). Transfers, charges and epochs are written once: the triggers at the end see to it.

-- Four counters an account; only this table is updated, and `ledger verify` derives it anew.
CREATE TABLE account (
    id TEXT PRIMARY KEY,
    debits_pending INTEGER NOT NULL CHECK (debits_pending >= 0),
    debits_posted INTEGER NOT NULL CHECK (debits_posted >= 0),
    credits_pending INTEGER NOT NULL CHECK (credits_pending >= 0),
    credits_posted INTEGER NOT NULL CHECK (credits_posted >= 0)
) STRICT, WITHOUT ROWID;

-- Who books: a gateway's spool, the command line, the settlement. `hash` is the end of its chain,
-- `links` the length of it, `watermark` how far its own log is booked.
CREATE TABLE writer (
    id TEXT PRIMARY KEY,
    watermark INTEGER NOT NULL,
    links INTEGER NOT NULL,
    hash BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE transfer (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('single', 'pending', 'post', 'void')),
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

-- A hold is resolved once, whoever tries.
CREATE UNIQUE INDEX transfer_by_pending_id ON transfer (pending_id) WHERE pending_id IS NOT NULL;

-- Finished charges. `seq` is that of the transfer that posted or voided the hold.
CREATE TABLE charge (
    seq INTEGER PRIMARY KEY,
    charge_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    account TEXT NOT NULL,
    key_id TEXT NOT NULL,
    model TEXT NOT NULL,
    node_id TEXT,
    supplier_id TEXT,
    prompt_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    usage_source TEXT,
    price_version TEXT NOT NULL,
    cost_nano_usd INTEGER NOT NULL,
    charged_nano_usd INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    created_ns INTEGER NOT NULL,
    closed_ns INTEGER NOT NULL,
    ttft_ns INTEGER
) STRICT;

CREATE INDEX charge_by_account ON charge (account);

-- Settled epochs over the rows (from_seq, to_seq]. `seq` is their first transfer, if they have any.
CREATE TABLE epoch (
    epoch INTEGER PRIMARY KEY,
    from_seq INTEGER NOT NULL,
    to_seq INTEGER NOT NULL CHECK (to_seq >= from_seq),
    params TEXT NOT NULL,
    inputs TEXT NOT NULL,
    result TEXT NOT NULL,
    state TEXT NOT NULL,
    created_ns INTEGER NOT NULL,
    hash TEXT NOT NULL,
    seq INTEGER
) STRICT;

CREATE TRIGGER transfer_is_final BEFORE UPDATE ON transfer
BEGIN SELECT raise(ABORT, 'a transfer is never changed: book another one'); END;
CREATE TRIGGER transfer_stays BEFORE DELETE ON transfer
BEGIN SELECT raise(ABORT, 'a transfer is never deleted: book another one'); END;
CREATE TRIGGER charge_is_final BEFORE UPDATE ON charge
BEGIN SELECT raise(ABORT, 'a charge is never changed'); END;
CREATE TRIGGER charge_stays BEFORE DELETE ON charge
BEGIN SELECT raise(ABORT, 'a charge is never deleted'); END;
CREATE TRIGGER epoch_is_final BEFORE UPDATE ON epoch
BEGIN SELECT raise(ABORT, 'a settled epoch is never changed'); END;
CREATE TRIGGER epoch_stays BEFORE DELETE ON epoch
BEGIN SELECT raise(ABORT, 'a settled epoch is never deleted'); END;
