-- How long suppliers' GPUs were verified to serve, in periods that are numbered, not timed: an epoch
-- ends the open one and pays for all that ended since the last, so what comes late is in the next.
CREATE TABLE gpu_time (
    period BIGINT NOT NULL,
    supplier_id TEXT COLLATE "C" NOT NULL,
    gpu_class TEXT COLLATE "C" NOT NULL,
    gpu_s BIGINT NOT NULL CHECK (gpu_s > 0),
    PRIMARY KEY (period, supplier_id, gpu_class)
);

CREATE TABLE gpu_time_period (name TEXT COLLATE "C" PRIMARY KEY, period BIGINT NOT NULL);
INSERT INTO gpu_time_period (name, period) VALUES ('open', 1);

-- The last batch of each gateway that is counted: one that is written again is not.
CREATE TABLE gpu_time_batch (writer TEXT COLLATE "C" PRIMARY KEY, batch BIGINT NOT NULL);

-- How many GPUs of its class a node has is the operator's to say.
ALTER TABLE node ADD COLUMN gpus BIGINT NOT NULL DEFAULT 1;
ALTER TABLE node_invitation ADD COLUMN gpus BIGINT NOT NULL DEFAULT 1;
