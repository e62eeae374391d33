-- For pgbench: the least that a tick can cost in SQL, 500 sessions in one
-- statement: session, client's wallet, advisor's wallet, journal.  No lease,
-- no proof of presence, no hold, nobody told.
\set low 500 * :client_id + 1000 * random(0, 49)
WITH due AS (
    SELECT id, client, advisor, bps, tick,
           rate * (billed_ms + 5000) / 60000 - rate * billed_ms / 60000
               AS amount
      FROM session
     WHERE id > :low AND id <= :low + 500
     ORDER BY id FOR UPDATE
), paid AS (
    UPDATE wallet w SET balance = w.balance - d.amount
      FROM due d
     WHERE w.id = d.client AND w.balance >= d.amount
    RETURNING d.*, d.amount * d.bps / 10000 AS fee, w.balance
), earned AS (
    UPDATE wallet w SET balance = w.balance + e.part
      FROM (SELECT advisor, sum(amount - fee) AS part FROM paid GROUP BY 1) e
     WHERE w.id = e.advisor
), counted AS (
    UPDATE session s
       SET tick = s.tick + 1, billed_ms = s.billed_ms + 5000,
           charged = s.charged + p.amount
      FROM paid p
     WHERE s.id = p.id
)
INSERT INTO tick (session, seq, amount, fee, balance)
SELECT id, tick + 1, amount, fee, balance FROM paid;
