-- For pgbench: the least that a stored message can cost, 256 rows in one
-- INSERT, no check, no head, no answer.
INSERT INTO event (conversation_id, seq, type, sender_id, cid, payload)
SELECT 1 + n % 200, nextval('event_seq'), 'chat_message', 7,
       gen_random_uuid(),
       ('{"from":"u_7","kind":"text","text":"' || repeat('x', 120)
        || '"}')::json
  FROM generate_series(1, 256) n;
