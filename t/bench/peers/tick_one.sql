-- For pgbench: a transaction for each session, as ticker.js but from C.
\set id random(1, 50000)
BEGIN;
SELECT rate * 5 / 60 AS amount, client, advisor, bps, tick
  FROM session WHERE id = :id FOR UPDATE \gset
\set fee :amount * :bps / 10000
UPDATE wallet SET balance = balance - :amount
 WHERE id = :client AND balance >= :amount RETURNING balance \gset
UPDATE wallet SET balance = balance + :amount - :fee WHERE id = :advisor;
INSERT INTO tick VALUES (:id, :tick + 1, :amount, :fee, :balance);
UPDATE session SET tick = tick + 1, billed_ms = billed_ms + 5000,
                   charged = charged + :amount
 WHERE id = :id;
COMMIT;
