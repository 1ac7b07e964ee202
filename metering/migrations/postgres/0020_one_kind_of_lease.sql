-- Who runs the batches is a row of `lease` now. A gateway of an older version finds its table gone and
-- leaves batches alone: better than two that run them.
DROP TABLE batch_lease;
