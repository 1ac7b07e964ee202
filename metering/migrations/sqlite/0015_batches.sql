-- Files that customers uploaded and that batches wrote; their bytes are in the files' folder, made
-- durable before the row is.
CREATE TABLE file (
    file_id TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    purpose TEXT NOT NULL,
    filename TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    created_ns INTEGER NOT NULL,
    expires_ns INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX file_by_account ON file (account, created_ns, file_id);
CREATE INDEX file_by_expiry ON file (expires_ns);

-- `errors` and `metadata` are JSON; a time is NULL until it has come.
CREATE TABLE batch (
    batch_id TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    key_id TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    input_file_id TEXT NOT NULL,
    metadata TEXT,
    output_expires_s INTEGER,
    status TEXT NOT NULL,
    model TEXT,
    errors TEXT,
    output_file_id TEXT,
    error_file_id TEXT,
    total INTEGER NOT NULL,
    completed INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    created_ns INTEGER NOT NULL,
    expires_ns INTEGER NOT NULL,
    in_progress_ns INTEGER,
    finalizing_ns INTEGER,
    completed_ns INTEGER,
    failed_ns INTEGER,
    expired_ns INTEGER,
    cancelling_ns INTEGER,
    cancelled_ns INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX batch_by_account ON batch (account, created_ns, batch_id);
CREATE INDEX batch_unfinished ON batch (created_ns, batch_id)
WHERE status IN ('validating', 'in_progress', 'finalizing', 'cancelling');

-- Lines of unfinished batches that were answered or failed for good. An `answered` one waits for its
-- charge, which goes through the spool of `writer`; it is `done` when that charge is durable.
CREATE TABLE batch_line (
    batch_id TEXT NOT NULL,
    line INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('answered', 'done', 'failed')),
    charge_id TEXT,
    writer TEXT NOT NULL,
    output BLOB NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX batch_line_by_number ON batch_line (batch_id, line);
CREATE INDEX batch_line_answered ON batch_line (writer) WHERE state = 'answered';

-- Who of all gateways runs the batches.
CREATE TABLE batch_lease (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until_ns INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
