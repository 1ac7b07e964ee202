-- Answers that callers asked to be kept, with what they asked: the one place where text is. Not of
-- the books: nothing follows from a row, its owner may delete it, and it is gone when it expires.
-- `alive_ns` is told anew by the gateway that makes the answer, until `status` says that it ended.
CREATE TABLE response (
    response_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    account TEXT COLLATE "C" NOT NULL,
    previous_response_id TEXT COLLATE "C",
    status TEXT COLLATE "C" NOT NULL,
    created_ns BIGINT NOT NULL,
    expires_ns BIGINT NOT NULL,
    alive_ns BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    input TEXT NOT NULL,
    response TEXT NOT NULL,
    events TEXT
);
CREATE INDEX response_by_account ON response (account, created_ns, response_id, bytes);
CREATE INDEX response_by_expiry ON response (expires_ns);
CREATE INDEX response_under_way ON response (alive_ns) WHERE status IN ('queued', 'in_progress');
