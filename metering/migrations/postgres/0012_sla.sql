-- How accounts fared under each objective, by period; a row without account says that a period is
-- judged. The credits themselves are transfers, with the same verdict as their detail.
CREATE TABLE sla_verdict (
    sla TEXT COLLATE "C" NOT NULL,
    account TEXT COLLATE "C" NOT NULL,
    period TEXT COLLATE "C" NOT NULL,
    judged_ns BIGINT NOT NULL,
    verdict TEXT NOT NULL,
    PRIMARY KEY (sla, account, period)
);
CREATE INDEX sla_verdict_by_account ON sla_verdict (account, period);
