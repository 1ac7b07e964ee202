-- What is remembered of each node's conduct, as it was at `as_of_ns`: the sum of what all gateways saw.
CREATE TABLE reputation (
    node_id TEXT COLLATE "C" PRIMARY KEY,
    supplier_id TEXT NOT NULL,
    memory TEXT NOT NULL,
    as_of_ns BIGINT NOT NULL,
    version BIGINT NOT NULL
);

CREATE INDEX reputation_by_time ON reputation (as_of_ns);
