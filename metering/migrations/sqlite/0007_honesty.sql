-- What checks of nodes' claims found. Evidence: no balance follows from it. `finding_id` makes a
-- check that runs twice find once; `evidence` is a JSON object.
CREATE TABLE finding (
    seq INTEGER PRIMARY KEY,
    finding_id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    node_id TEXT NOT NULL,
    supplier_id TEXT NOT NULL,
    model TEXT NOT NULL,
    request_id TEXT,
    expected INTEGER NOT NULL,
    claimed INTEGER NOT NULL,
    evidence TEXT NOT NULL,
    found_ns INTEGER NOT NULL
) STRICT;

CREATE INDEX finding_by_node ON finding (node_id, seq);

-- Nodes' own counters, as they told them: each is compared with the one before it.
CREATE TABLE node_reading (
    node_id TEXT NOT NULL,
    supplier_id TEXT NOT NULL,
    model TEXT NOT NULL,
    read_ns INTEGER NOT NULL,
    done_ns INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    ledger_seq INTEGER NOT NULL,
    PRIMARY KEY (node_id, read_ns)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER finding_is_final BEFORE UPDATE ON finding
BEGIN SELECT raise(ABORT, 'a finding is never changed'); END;
CREATE TRIGGER finding_stays BEFORE DELETE ON finding
BEGIN SELECT raise(ABORT, 'a finding is never deleted'); END;
CREATE TRIGGER node_reading_is_final BEFORE UPDATE ON node_reading
BEGIN SELECT raise(ABORT, 'a reading is never changed'); END;
CREATE TRIGGER node_reading_stays BEFORE DELETE ON node_reading
BEGIN SELECT raise(ABORT, 'a reading is never deleted'); END;
