-- What the audits came to, for operators to see without a terminal.  Nothing is
-- decided by it: an audit that could not be kept is as good.

SET ROLE astro_owner;

-- A row for each audit that has looked at all of the books.  said: the first
-- violation, as it was printed.
CREATE TABLE ledger.audit_run (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ended_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    ms         bigint NOT NULL CHECK (ms >= 0),
    sessions   bigint NOT NULL CHECK (sessions >= 0),
    transfers  bigint NOT NULL CHECK (transfers >= 0),
    wallets    bigint NOT NULL CHECK (wallets >= 0),
    violations bigint NOT NULL CHECK (violations >= 0),
    said       text CHECK (length(said) <= 1000)
);

RESET ROLE;

GRANT SELECT, INSERT (ms, sessions, transfers, wallets, violations, said)
   ON ledger.audit_run TO astro_engine;
