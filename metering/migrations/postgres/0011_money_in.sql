-- What moves a balance but is no charge: deposits, fees, refunds, credits. They are few beside the
-- charges. The condition is `_MOVES` of movements.py.
CREATE INDEX transfer_into ON transfer (credit, seq)
    WHERE kind = 'single' AND code <> 'charge';
CREATE INDEX transfer_out_of ON transfer (debit, seq)
    WHERE kind = 'single' AND code <> 'charge';

-- Where a month of the books ends: its last row. Made once it is over, the same for all accounts.
CREATE TABLE month_end (
    month TEXT COLLATE "C" PRIMARY KEY,
    to_seq BIGINT NOT NULL
);

-- Statements of months that are over, numbered without a gap. What they say is in the ledger.
CREATE TABLE invoice (
    number BIGINT PRIMARY KEY,
    account TEXT COLLATE "C" NOT NULL,
    month TEXT COLLATE "C" NOT NULL,
    closing_nano_usd BIGINT NOT NULL,
    issued_ns BIGINT NOT NULL,
    UNIQUE (account, month)
);

CREATE TRIGGER month_end_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON month_end
FOR EACH STATEMENT EXECUTE FUNCTION
    refuse_change('where a month ends is never changed or deleted');
CREATE TRIGGER invoice_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON invoice
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('an invoice is never changed or deleted');
