-- Answers that callers asked to be kept, with what they asked: the one place where text is. Not of
-- the books: nothing follows from a row, its owner may delete it, and it is gone when it expires.
-- `alive_ns` is told anew by the gateway that makes the answer, until `status` says that it ended.
CREATE TABLE response (
    response_id TEXT NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    previous_response_id TEXT,
    status TEXT NOT NULL,
    created_ns INTEGER NOT NULL,
    expires_ns INTEGER NOT NULL,
    alive_ns INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    input TEXT NOT NULL,
    response TEXT NOT NULL,
    events TEXT
) STRICT;
CREATE INDEX response_by_account ON response (account, created_ns, response_id, bytes);
CREATE INDEX response_by_expiry ON response (expires_ns);
CREATE INDEX response_under_way ON response (alive_ns) WHERE status IN ('queued', 'in_progress');
