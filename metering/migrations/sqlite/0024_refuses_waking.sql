-- Whether a key's requests for a model without a replica are refused, or wait for one.
ALTER TABLE api_key ADD COLUMN refuses_waking INTEGER NOT NULL DEFAULT 0
    CHECK (refuses_waking IN (0, 1));
