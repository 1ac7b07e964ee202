-- The ledger. Amounts are integers in the smallest unit of the account's asset (nano-USD, IO base
-- units). Transfers, charges and epochs are written once: the triggers at the end see to it. Text
-- is ordered by its bytes, whatever the database's own collation is.

-- How many transactions wrote, so that each process can tell whether others did.
CREATE TABLE ledger_change (version BIGINT NOT NULL) WITH (fillfactor = 10);
INSERT INTO ledger_change VALUES (0);

-- Four counters an account; only this table is updated, and `ledger verify` derives it anew.
CREATE TABLE account (
    id TEXT COLLATE "C" PRIMARY KEY,
    debits_pending BIGINT NOT NULL CHECK (debits_pending >= 0),
    debits_posted BIGINT NOT NULL CHECK (debits_posted >= 0),
    credits_pending BIGINT NOT NULL CHECK (credits_pending >= 0),
    credits_posted BIGINT NOT NULL CHECK (credits_posted >= 0)
) WITH (fillfactor = 50);

-- Who books: a gateway's spool, the command line, the settlement. `hash` is the end of its chain,
-- `links` the length of it, `watermark` how far its own log is booked.
CREATE TABLE writer (
    id TEXT COLLATE "C" PRIMARY KEY,
    watermark BIGINT NOT NULL,
    links BIGINT NOT NULL,
    hash BYTEA NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE transfer (
    seq BIGINT PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('single', 'pending', 'post', 'void')),
    debit TEXT COLLATE "C" NOT NULL,
    credit TEXT COLLATE "C" NOT NULL,
    amount BIGINT NOT NULL CHECK (amount >= 0),
    code TEXT NOT NULL,
    pending_id TEXT COLLATE "C",
    detail TEXT NOT NULL,
    booked_ns BIGINT NOT NULL,
    writer TEXT COLLATE "C" NOT NULL,
    hash BYTEA NOT NULL
);

-- A hold is resolved once, whoever tries.
CREATE UNIQUE INDEX transfer_by_pending_id ON transfer (pending_id) WHERE pending_id IS NOT NULL;

-- Finished charges. `seq` is that of the transfer that posted or voided the hold.
CREATE TABLE charge (
    seq BIGINT PRIMARY KEY,
    charge_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    account TEXT COLLATE "C" NOT NULL,
    key_id TEXT NOT NULL,
    model TEXT COLLATE "C" NOT NULL,
    node_id TEXT,
    supplier_id TEXT COLLATE "C",
    prompt_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    usage_source TEXT,
    price_version TEXT NOT NULL,
    cost_nano_usd BIGINT NOT NULL,
    charged_nano_usd BIGINT NOT NULL,
    outcome TEXT NOT NULL,
    created_ns BIGINT NOT NULL,
    closed_ns BIGINT NOT NULL,
    ttft_ns BIGINT
);

CREATE INDEX charge_by_account ON charge (account, seq);

-- Settled epochs over the rows (from_seq, to_seq]. `seq` is their first transfer, if they have any.
CREATE TABLE epoch (
    epoch BIGINT PRIMARY KEY,
    from_seq BIGINT NOT NULL,
    to_seq BIGINT NOT NULL CHECK (to_seq >= from_seq),
    params TEXT NOT NULL,
    inputs TEXT NOT NULL,
    result TEXT NOT NULL,
    state TEXT NOT NULL,
    created_ns BIGINT NOT NULL,
    hash TEXT NOT NULL,
    seq BIGINT
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0];
END
$$;

CREATE TRIGGER transfer_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON transfer
FOR EACH STATEMENT EXECUTE FUNCTION
    refuse_change('a transfer is never changed or deleted: book another one');
CREATE TRIGGER charge_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON charge
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('a charge is never changed or deleted');
CREATE TRIGGER epoch_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON epoch
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('a settled epoch is never changed or deleted');
