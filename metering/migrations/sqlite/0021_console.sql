-- Who is logged in to the web console, by the SHA-256 of what their browser holds. `key_digest` is that of
-- the admin key: with another key the session is over.
CREATE TABLE console_session (
    digest BLOB PRIMARY KEY,
    key_digest BLOB NOT NULL,
    began_ns INTEGER NOT NULL,
    seen_ns INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What was done there: before it is done, and what came of it. `once` names one pressing of a button.
CREATE TABLE console_audit (
    seq INTEGER PRIMARY KEY,
    at_ns INTEGER NOT NULL,
    session TEXT NOT NULL,
    source TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    outcome TEXT NOT NULL,
    detail TEXT NOT NULL,
    once TEXT
) STRICT;

CREATE UNIQUE INDEX console_audit_once ON console_audit (once) WHERE outcome = 'began';
CREATE TRIGGER console_audit_is_final BEFORE UPDATE ON console_audit
BEGIN SELECT raise(ABORT, 'what is in the audit log is never changed'); END;
CREATE TRIGGER console_audit_stays BEFORE DELETE ON console_audit
BEGIN SELECT raise(ABORT, 'what is in the audit log is never deleted'); END;

-- Nodes that the operator wants to get no more requests, whoever lists them.
CREATE TABLE node_drain (node_id TEXT PRIMARY KEY, since_ns INTEGER NOT NULL) STRICT, WITHOUT ROWID;
