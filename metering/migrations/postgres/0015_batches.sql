-- Files that customers uploaded and that batches wrote; their bytes are in the files' folder, made
-- durable before the row is.
CREATE TABLE file (
    file_id TEXT COLLATE "C" PRIMARY KEY,
    account TEXT COLLATE "C" NOT NULL,
    purpose TEXT COLLATE "C" NOT NULL,
    filename TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    created_ns BIGINT NOT NULL,
    expires_ns BIGINT NOT NULL
);

CREATE INDEX file_by_account ON file (account, created_ns, file_id);
CREATE INDEX file_by_expiry ON file (expires_ns);

-- `errors` and `metadata` are JSON; a time is NULL until it has come.
CREATE TABLE batch (
    batch_id TEXT COLLATE "C" PRIMARY KEY,
    account TEXT COLLATE "C" NOT NULL,
    key_id TEXT COLLATE "C" NOT NULL,
    endpoint TEXT NOT NULL,
    input_file_id TEXT NOT NULL,
    metadata TEXT,
    output_expires_s BIGINT,
    status TEXT COLLATE "C" NOT NULL,
    model TEXT,
    errors TEXT,
    output_file_id TEXT,
    error_file_id TEXT,
    total BIGINT NOT NULL,
    completed BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    created_ns BIGINT NOT NULL,
    expires_ns BIGINT NOT NULL,
    in_progress_ns BIGINT,
    finalizing_ns BIGINT,
    completed_ns BIGINT,
    failed_ns BIGINT,
    expired_ns BIGINT,
    cancelling_ns BIGINT,
    cancelled_ns BIGINT
);

CREATE INDEX batch_by_account ON batch (account, created_ns, batch_id);
CREATE INDEX batch_unfinished ON batch (created_ns, batch_id)
WHERE status IN ('validating', 'in_progress', 'finalizing', 'cancelling');

-- Lines of unfinished batches that were answered or failed for good. An `answered` one waits for its
-- charge, which goes through the spool of `writer`; it is `done` when that charge is durable.
CREATE TABLE batch_line (
    batch_id TEXT COLLATE "C" NOT NULL,
    line BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('answered', 'done', 'failed')),
    charge_id TEXT COLLATE "C",
    writer TEXT COLLATE "C" NOT NULL,
    output BYTEA NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL
);

CREATE UNIQUE INDEX batch_line_by_number ON batch_line (batch_id, line);
CREATE INDEX batch_line_answered ON batch_line (writer) WHERE state = 'answered';

-- Who of all gateways runs the batches.
CREATE TABLE batch_lease (
    name TEXT COLLATE "C" PRIMARY KEY,
    holder TEXT COLLATE "C" NOT NULL,
    until_ns BIGINT NOT NULL
);
