-- Whether parameters that nobody knows are left out of a key's requests, or refuse them.
ALTER TABLE api_key ADD COLUMN allows_unknown_parameters INTEGER NOT NULL DEFAULT 0
    CHECK (allows_unknown_parameters IN (0, 1));
