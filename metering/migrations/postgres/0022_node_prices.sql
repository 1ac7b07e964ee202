-- What is asked for a node's answers, in millionths of its model's price: the operator's to write.
ALTER TABLE node ADD COLUMN price_ppm BIGINT NOT NULL DEFAULT 1000000;
ALTER TABLE node_invitation ADD COLUMN price_ppm BIGINT NOT NULL DEFAULT 1000000;
