-- The counter of the message that a lease is of: an older one that was held up changes nothing.
ALTER TABLE node_lease ADD COLUMN counter INTEGER NOT NULL DEFAULT -1;
