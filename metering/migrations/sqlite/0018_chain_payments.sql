-- Where suppliers are paid on chain: every address that was ever set, the latest counts, '' is none.
CREATE TABLE payout_wallet (
    seq INTEGER PRIMARY KEY,
    supplier_id TEXT NOT NULL,
    address TEXT NOT NULL,
    set_by TEXT NOT NULL,
    reason TEXT NOT NULL,
    set_ns INTEGER NOT NULL
) STRICT;
CREATE INDEX payout_wallet_of ON payout_wallet (supplier_id, seq);

-- The token that the books are paid in on a chain (its genesis hash), and what it held when that
-- began. The latest of a chain counts; `paid_io` and `burned_io` are what had been moved before.
CREATE TABLE chain_opening (
    seq INTEGER PRIMARY KEY,
    chain TEXT NOT NULL,
    mint TEXT NOT NULL,
    authority TEXT NOT NULL,
    supply_io INTEGER NOT NULL,
    vault_io INTEGER NOT NULL,
    paid_io INTEGER NOT NULL,
    burned_io INTEGER NOT NULL,
    reason TEXT NOT NULL,
    opened_ns INTEGER NOT NULL
) STRICT;

-- Signed transactions, each written before it is sent. A nonce is used once.
CREATE TABLE chain_transaction (
    seq INTEGER PRIMARY KEY,
    chain TEXT NOT NULL,
    signature TEXT NOT NULL UNIQUE,
    epoch INTEGER NOT NULL,
    nonce_account TEXT NOT NULL,
    nonce TEXT NOT NULL,
    bytes BLOB NOT NULL,
    io INTEGER NOT NULL,
    lamports INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('signed', 'finalized', 'failed')),
    slot INTEGER,
    error TEXT,
    signed_ns INTEGER NOT NULL,
    ended_ns INTEGER,
    UNIQUE (nonce_account, nonce)
) STRICT;
CREATE INDEX chain_transaction_live ON chain_transaction (chain, seq) WHERE state = 'signed';

-- What is in a transaction that is signed or final: a payout of an epoch is there at most once on
-- a chain. The supplier '' is the epoch's burn.
CREATE TABLE chain_payment (
    chain TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    supplier_id TEXT NOT NULL,
    wallet TEXT NOT NULL,
    io INTEGER NOT NULL,
    signature TEXT NOT NULL REFERENCES chain_transaction (signature),
    PRIMARY KEY (chain, epoch, supplier_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX chain_payment_in ON chain_payment (signature);

CREATE TRIGGER payout_wallet_is_final BEFORE UPDATE ON payout_wallet
BEGIN SELECT raise(ABORT, 'a wallet is never changed: set another one'); END;
CREATE TRIGGER payout_wallet_stays BEFORE DELETE ON payout_wallet
BEGIN SELECT raise(ABORT, 'a wallet is never deleted: set another one'); END;
CREATE TRIGGER chain_opening_is_final BEFORE UPDATE ON chain_opening
BEGIN SELECT raise(ABORT, 'an opening is never changed'); END;
CREATE TRIGGER chain_opening_stays BEFORE DELETE ON chain_opening
BEGIN SELECT raise(ABORT, 'an opening is never deleted'); END;
CREATE TRIGGER chain_transaction_ends_once BEFORE UPDATE ON chain_transaction
WHEN OLD.state <> 'signed'
BEGIN SELECT raise(ABORT, 'a transaction that ended is never changed'); END;
CREATE TRIGGER chain_transaction_stays BEFORE DELETE ON chain_transaction
BEGIN SELECT raise(ABORT, 'a signed transaction is never deleted'); END;
CREATE TRIGGER chain_payment_is_final BEFORE UPDATE ON chain_payment
BEGIN SELECT raise(ABORT, 'a payment is never changed'); END;
CREATE TRIGGER chain_payment_stays BEFORE DELETE ON chain_payment
WHEN (SELECT state FROM chain_transaction WHERE signature = OLD.signature) <> 'failed'
BEGIN SELECT raise(ABORT, 'a payment goes only when its transaction has failed'); END;
