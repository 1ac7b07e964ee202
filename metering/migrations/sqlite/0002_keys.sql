-- API keys. The secret itself is nowhere: `digest` is its SHA-256.
CREATE TABLE api_key (
    key_id TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE,
    created_ns INTEGER NOT NULL,
    revoked_ns INTEGER
) STRICT, WITHOUT ROWID;
