-- Holds may expire: the kinds of transfers get one more.
ALTER TABLE transfer DROP CONSTRAINT transfer_kind_check;
ALTER TABLE transfer ADD CONSTRAINT transfer_kind_check
    CHECK (kind IN ('single', 'pending', 'post', 'void', 'expire'));
