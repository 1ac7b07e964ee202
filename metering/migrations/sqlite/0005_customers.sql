-- Terms of a key beyond its rates; NULL is no limit. `models` is a JSON array of the models it may
-- use. A key that rotates keeps the secret before for a while: `previous_digest`.
ALTER TABLE api_key ADD COLUMN models TEXT;
ALTER TABLE api_key ADD COLUMN spend_cap_nano_usd INTEGER CHECK (spend_cap_nano_usd >= 0);
ALTER TABLE api_key ADD COLUMN spend_cycle TEXT
    CHECK (spend_cycle IN ('8h', 'daily', 'weekly', 'monthly'));
ALTER TABLE api_key ADD COLUMN expires_ns INTEGER;
ALTER TABLE api_key ADD COLUMN parent_key_id TEXT;
ALTER TABLE api_key ADD COLUMN manages_keys INTEGER NOT NULL DEFAULT 0 CHECK (manages_keys IN (0, 1));
ALTER TABLE api_key ADD COLUMN previous_digest BLOB;
ALTER TABLE api_key ADD COLUMN previous_until_ns INTEGER;

-- What is known of a customer beside the books. An account without a row is active, warns never.
CREATE TABLE customer (
    account TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('active', 'suspended', 'closed')),
    warn_below_nano_usd INTEGER CHECK (warn_below_nano_usd > 0),
    warned_ns INTEGER,
    created_ns INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Each time that a balance fell below its threshold.
CREATE TABLE balance_warning (
    account TEXT NOT NULL,
    warned_ns INTEGER NOT NULL,
    threshold_nano_usd INTEGER NOT NULL,
    available_nano_usd INTEGER NOT NULL,
    PRIMARY KEY (account, warned_ns)
) STRICT, WITHOUT ROWID;
