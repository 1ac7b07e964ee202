-- Nodes that enrolled themselves, each with keys of its own. Whose a node is, its tier, region and GPU
-- class are the operator's to write; a lease is what the node says of itself, and until when.
CREATE TABLE node (
    node_id TEXT COLLATE "C" PRIMARY KEY,
    supplier_id TEXT COLLATE "C" NOT NULL,
    tier BIGINT NOT NULL,
    region TEXT NOT NULL,
    gpu TEXT NOT NULL,
    hardware TEXT NOT NULL,
    enrolled_ns BIGINT NOT NULL,
    revoked_ns BIGINT
);

CREATE TABLE node_key (
    public_key TEXT COLLATE "C" PRIMARY KEY,
    node_id TEXT COLLATE "C" NOT NULL,
    counter BIGINT NOT NULL,
    added_ns BIGINT NOT NULL,
    ended_ns BIGINT
);

CREATE TABLE node_lease (
    node_id TEXT COLLATE "C" PRIMARY KEY,
    until_ns BIGINT NOT NULL,
    told_ns BIGINT NOT NULL,
    said TEXT NOT NULL
);

-- `digest` is the invitation's SHA-256; it is good for one key.
CREATE TABLE node_invitation (
    digest BYTEA PRIMARY KEY,
    supplier_id TEXT COLLATE "C" NOT NULL,
    tier BIGINT NOT NULL,
    region TEXT NOT NULL,
    gpu TEXT NOT NULL,
    expires_ns BIGINT NOT NULL,
    node_id TEXT COLLATE "C"
);

-- A row: nodes' messages change nothing, and no lease ends.
CREATE TABLE node_freeze (name TEXT COLLATE "C" PRIMARY KEY, frozen_ns BIGINT NOT NULL);

-- The certificates by which gateways show themselves to nodes.
CREATE TABLE gateway_certificate (
    writer TEXT COLLATE "C" PRIMARY KEY,
    certificate TEXT NOT NULL,
    seen_ns BIGINT NOT NULL
);

CREATE TABLE node_audit (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_ns BIGINT NOT NULL,
    actor TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    node_id TEXT COLLATE "C" NOT NULL,
    detail TEXT NOT NULL,
    times BIGINT NOT NULL
);

CREATE INDEX node_audit_by_node ON node_audit (node_id, seq);
CREATE TRIGGER node_audit_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON node_audit
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('what is in the audit log is never changed');
