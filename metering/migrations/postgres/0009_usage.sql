-- What each key used of each model, by the hour in which its charges were opened: derived from the
-- charges up to `upto_seq`, so that sums over months need not read them all.
CREATE TABLE usage_hour (
    account TEXT COLLATE "C" NOT NULL,
    hour_ns BIGINT NOT NULL,
    key_id TEXT COLLATE "C" NOT NULL,
    model TEXT COLLATE "C" NOT NULL,
    price_version TEXT COLLATE "C" NOT NULL,
    requests BIGINT NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    cost_nano_usd BIGINT NOT NULL,
    charged_nano_usd BIGINT NOT NULL,
    PRIMARY KEY (account, hour_ns, key_id, model, price_version)
);
CREATE TABLE usage_summed (upto_seq BIGINT NOT NULL);
INSERT INTO usage_summed VALUES (0);

-- For the part of an hour at either end of what is asked for.
CREATE INDEX charge_by_account_and_time ON charge (account, created_ns);
