-- How accounts fared under each objective, by period; a row without account says that a period is
-- judged. The credits themselves are transfers, with the same verdict as their detail.
CREATE TABLE sla_verdict (
    sla TEXT NOT NULL,
    account TEXT NOT NULL,
    period TEXT NOT NULL,
    judged_ns INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    PRIMARY KEY (sla, account, period)
) STRICT, WITHOUT ROWID;
CREATE INDEX sla_verdict_by_account ON sla_verdict (account, period);
