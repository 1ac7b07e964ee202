-- Keys of aggregators get the usage of every answer.
ALTER TABLE api_key ADD COLUMN usage_always BIGINT NOT NULL DEFAULT 0 CHECK (usage_always IN (0, 1));

-- Answers to requests with an Idempotency-Key, kept for a day to be given again. One without
-- answer is still under way at its writer, or was too large to be kept.
CREATE TABLE kept_answer (
    account TEXT COLLATE "C" NOT NULL,
    idempotency_key TEXT COLLATE "C" NOT NULL,
    fingerprint BYTEA NOT NULL,
    writer TEXT NOT NULL,
    claimed_ns BIGINT NOT NULL,
    running BIGINT NOT NULL CHECK (running IN (0, 1)),
    request_id TEXT,
    content_type TEXT,
    answer BYTEA,
    PRIMARY KEY (account, idempotency_key)
);
CREATE INDEX kept_answer_by_time ON kept_answer (claimed_ns);
