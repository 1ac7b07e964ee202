-- What each key used of each model, by the hour in which its charges were opened: derived from the
-- charges up to `upto_seq`, so that sums over months need not read them all.
CREATE TABLE usage_hour (
    account TEXT NOT NULL,
    hour_ns INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    model TEXT NOT NULL,
    price_version TEXT NOT NULL,
    requests INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    cost_nano_usd INTEGER NOT NULL,
    charged_nano_usd INTEGER NOT NULL,
    PRIMARY KEY (account, hour_ns, key_id, model, price_version)
) STRICT, WITHOUT ROWID;
CREATE TABLE usage_summed (upto_seq INTEGER NOT NULL) STRICT;
INSERT INTO usage_summed VALUES (0);

-- For the part of an hour at either end of what is asked for.
CREATE INDEX charge_by_account_and_time ON charge (account, created_ns);
