-- What checks of nodes' claims found. Evidence: no balance follows from it. `finding_id` makes a
-- check that runs twice find once; `evidence` is a JSON object.
CREATE TABLE finding (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    finding_id TEXT COLLATE "C" NOT NULL UNIQUE,
    kind TEXT COLLATE "C" NOT NULL,
    node_id TEXT COLLATE "C" NOT NULL,
    supplier_id TEXT COLLATE "C" NOT NULL,
    model TEXT COLLATE "C" NOT NULL,
    request_id TEXT,
    expected BIGINT NOT NULL,
    claimed BIGINT NOT NULL,
    evidence TEXT NOT NULL,
    found_ns BIGINT NOT NULL
);

CREATE INDEX finding_by_node ON finding (node_id, seq);

-- Nodes' own counters, as they told them: each is compared with the one before it.
CREATE TABLE node_reading (
    node_id TEXT COLLATE "C" NOT NULL,
    supplier_id TEXT COLLATE "C" NOT NULL,
    model TEXT COLLATE "C" NOT NULL,
    read_ns BIGINT NOT NULL,
    done_ns BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    ledger_seq BIGINT NOT NULL,
    PRIMARY KEY (node_id, read_ns)
);

CREATE TRIGGER finding_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON finding
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('a finding is never changed or deleted');
CREATE TRIGGER node_reading_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON node_reading
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('a reading is never changed or deleted');
