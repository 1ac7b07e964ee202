-- What moves a balance but is no charge: deposits, fees, refunds, credits. They are few beside the
-- charges. The condition is `_MOVES` of movements.py.
CREATE INDEX transfer_into ON transfer (credit, seq)
    WHERE kind = 'single' AND code <> 'charge';
CREATE INDEX transfer_out_of ON transfer (debit, seq)
    WHERE kind = 'single' AND code <> 'charge';

-- Where a month of the books ends: its last row. Made once it is over, the same for all accounts.
CREATE TABLE month_end (
    month TEXT PRIMARY KEY,
    to_seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Statements of months that are over, numbered without a gap. What they say is in the ledger.
CREATE TABLE invoice (
    number INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    month TEXT NOT NULL,
    closing_nano_usd INTEGER NOT NULL,
    issued_ns INTEGER NOT NULL,
    UNIQUE (account, month)
) STRICT;

CREATE TRIGGER month_end_is_final BEFORE UPDATE ON month_end
BEGIN SELECT raise(ABORT, 'where a month ends is never changed'); END;
CREATE TRIGGER month_end_stays BEFORE DELETE ON month_end
BEGIN SELECT raise(ABORT, 'where a month ends is never deleted'); END;
CREATE TRIGGER invoice_is_final BEFORE UPDATE ON invoice
BEGIN SELECT raise(ABORT, 'an invoice is never changed'); END;
CREATE TRIGGER invoice_stays BEFORE DELETE ON invoice
BEGIN SELECT raise(ABORT, 'an invoice is never deleted'); END;
