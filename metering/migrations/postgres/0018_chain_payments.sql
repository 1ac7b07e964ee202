-- Where suppliers are paid on chain: every address that was ever set, the latest counts, '' is none.
CREATE TABLE payout_wallet (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    supplier_id TEXT COLLATE "C" NOT NULL,
    address TEXT NOT NULL,
    set_by TEXT NOT NULL,
    reason TEXT NOT NULL,
    set_ns BIGINT NOT NULL
);
CREATE INDEX payout_wallet_of ON payout_wallet (supplier_id, seq);

-- The token that the books are paid in on a chain (its genesis hash), and what it held when that
-- began. The latest of a chain counts; `paid_io` and `burned_io` are what had been moved before.
CREATE TABLE chain_opening (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    chain TEXT NOT NULL,
    mint TEXT NOT NULL,
    authority TEXT NOT NULL,
    supply_io BIGINT NOT NULL,
    vault_io BIGINT NOT NULL,
    paid_io BIGINT NOT NULL,
    burned_io BIGINT NOT NULL,
    reason TEXT NOT NULL,
    opened_ns BIGINT NOT NULL
);

-- Signed transactions, each written before it is sent. A nonce is used once.
CREATE TABLE chain_transaction (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    chain TEXT COLLATE "C" NOT NULL,
    signature TEXT COLLATE "C" NOT NULL UNIQUE,
    epoch BIGINT NOT NULL,
    nonce_account TEXT COLLATE "C" NOT NULL,
    nonce TEXT COLLATE "C" NOT NULL,
    bytes BYTEA NOT NULL,
    io BIGINT NOT NULL,
    lamports BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('signed', 'finalized', 'failed')),
    slot BIGINT,
    error TEXT,
    signed_ns BIGINT NOT NULL,
    ended_ns BIGINT,
    UNIQUE (nonce_account, nonce)
);
CREATE INDEX chain_transaction_live ON chain_transaction (chain, seq) WHERE state = 'signed';

-- What is in a transaction that is signed or final: a payout of an epoch is there at most once on
-- a chain. The supplier '' is the epoch's burn.
CREATE TABLE chain_payment (
    chain TEXT COLLATE "C" NOT NULL,
    epoch BIGINT NOT NULL,
    supplier_id TEXT COLLATE "C" NOT NULL,
    wallet TEXT NOT NULL,
    io BIGINT NOT NULL,
    signature TEXT COLLATE "C" NOT NULL REFERENCES chain_transaction (signature),
    PRIMARY KEY (chain, epoch, supplier_id)
);
CREATE INDEX chain_payment_in ON chain_payment (signature);

CREATE FUNCTION refuse_unless_failed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT state FROM chain_transaction WHERE signature = OLD.signature) <> 'failed' THEN
        RAISE EXCEPTION 'a payment goes only when its transaction has failed';
    END IF;
    RETURN OLD;
END
$$;

CREATE TRIGGER payout_wallet_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON payout_wallet
FOR EACH STATEMENT EXECUTE FUNCTION
    refuse_change('a wallet is never changed or deleted: set another one');
CREATE TRIGGER chain_opening_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON chain_opening
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('an opening is never changed or deleted');
CREATE TRIGGER chain_transaction_ends_once BEFORE UPDATE ON chain_transaction
FOR EACH ROW WHEN (OLD.state <> 'signed')
EXECUTE FUNCTION refuse_change('a transaction that ended is never changed');
CREATE TRIGGER chain_transaction_stays BEFORE DELETE OR TRUNCATE ON chain_transaction
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('a signed transaction is never deleted');
CREATE TRIGGER chain_payment_is_final BEFORE UPDATE OR TRUNCATE ON chain_payment
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('a payment is never changed');
CREATE TRIGGER chain_payment_stays BEFORE DELETE ON chain_payment
FOR EACH ROW EXECUTE FUNCTION refuse_unless_failed();
