-- Terms of a key beyond its rates; NULL is no limit. `models` is a JSON array of the models it may
-- use. A key that rotates keeps the secret before for a while: `previous_digest`.
ALTER TABLE api_key ADD COLUMN models TEXT;
ALTER TABLE api_key ADD COLUMN spend_cap_nano_usd BIGINT CHECK (spend_cap_nano_usd >= 0);
ALTER TABLE api_key ADD COLUMN spend_cycle TEXT
    CHECK (spend_cycle IN ('8h', 'daily', 'weekly', 'monthly'));
ALTER TABLE api_key ADD COLUMN expires_ns BIGINT;
ALTER TABLE api_key ADD COLUMN parent_key_id TEXT;
ALTER TABLE api_key ADD COLUMN manages_keys BIGINT NOT NULL DEFAULT 0 CHECK (manages_keys IN (0, 1));
ALTER TABLE api_key ADD COLUMN previous_digest BYTEA;
ALTER TABLE api_key ADD COLUMN previous_until_ns BIGINT;

-- What is known of a customer beside the books. An account without a row is active, warns never.
CREATE TABLE customer (
    account TEXT COLLATE "C" PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('active', 'suspended', 'closed')),
    warn_below_nano_usd BIGINT CHECK (warn_below_nano_usd > 0),
    warned_ns BIGINT,
    created_ns BIGINT NOT NULL
);

-- Each time that a balance fell below its threshold.
CREATE TABLE balance_warning (
    account TEXT COLLATE "C" NOT NULL,
    warned_ns BIGINT NOT NULL,
    threshold_nano_usd BIGINT NOT NULL,
    available_nano_usd BIGINT NOT NULL,
    PRIMARY KEY (account, warned_ns)
);
