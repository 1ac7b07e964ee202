-- Who is logged in to the web console, by the SHA-256 of what their browser holds. `key_digest` is that of
-- the admin key: with another key the session is over.
CREATE TABLE console_session (
    digest BYTEA PRIMARY KEY,
    key_digest BYTEA NOT NULL,
    began_ns BIGINT NOT NULL,
    seen_ns BIGINT NOT NULL
);

-- What was done there: before it is done, and what came of it. `once` names one pressing of a button.
CREATE TABLE console_audit (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_ns BIGINT NOT NULL,
    session TEXT NOT NULL,
    source TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    outcome TEXT NOT NULL,
    detail TEXT NOT NULL,
    once TEXT COLLATE "C"
);

CREATE UNIQUE INDEX console_audit_once ON console_audit (once) WHERE outcome = 'began';
CREATE TRIGGER console_audit_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON console_audit
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('what is in the audit log is never changed');

-- Nodes that the operator wants to get no more requests, whoever lists them.
CREATE TABLE node_drain (node_id TEXT COLLATE "C" PRIMARY KEY, since_ns BIGINT NOT NULL);
