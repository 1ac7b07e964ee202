-- Nodes that enrolled themselves, each with keys of its own. Whose a node is, its tier, region and GPU
-- class are the operator's to write; a lease is what the node says of itself, and until when.
CREATE TABLE node (
    node_id TEXT PRIMARY KEY,
    supplier_id TEXT NOT NULL,
    tier INTEGER NOT NULL,
    region TEXT NOT NULL,
    gpu TEXT NOT NULL,
    hardware TEXT NOT NULL,
    enrolled_ns INTEGER NOT NULL,
    revoked_ns INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE node_key (
    public_key TEXT PRIMARY KEY,
    node_id TEXT NOT NULL,
    counter INTEGER NOT NULL,
    added_ns INTEGER NOT NULL,
    ended_ns INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE node_lease (
    node_id TEXT PRIMARY KEY,
    until_ns INTEGER NOT NULL,
    told_ns INTEGER NOT NULL,
    said TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- `digest` is the invitation's SHA-256; it is good for one key.
CREATE TABLE node_invitation (
    digest BLOB PRIMARY KEY,
    supplier_id TEXT NOT NULL,
    tier INTEGER NOT NULL,
    region TEXT NOT NULL,
    gpu TEXT NOT NULL,
    expires_ns INTEGER NOT NULL,
    node_id TEXT
) STRICT, WITHOUT ROWID;

-- A row: nodes' messages change nothing, and no lease ends.
CREATE TABLE node_freeze (name TEXT PRIMARY KEY, frozen_ns INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- The certificates by which gateways show themselves to nodes.
CREATE TABLE gateway_certificate (
    writer TEXT PRIMARY KEY,
    certificate TEXT NOT NULL,
    seen_ns INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE node_audit (
    seq INTEGER PRIMARY KEY,
    at_ns INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    node_id TEXT NOT NULL,
    detail TEXT NOT NULL,
    times INTEGER NOT NULL
) STRICT;

CREATE INDEX node_audit_by_node ON node_audit (node_id, seq);
CREATE TRIGGER node_audit_is_final BEFORE UPDATE ON node_audit
BEGIN SELECT raise(ABORT, 'what is in the audit log is never changed'); END;
CREATE TRIGGER node_audit_stays BEFORE DELETE ON node_audit
BEGIN SELECT raise(ABORT, 'what is in the audit log is never deleted'); END;
