-- For pgbench: what nginx calls to store a batch, 256 messages at a time, of
-- :pairs conversations from :first on for each connection.
\set start :first + :pairs * :client_id
SELECT count(*)
  FROM (SELECT array_agg(c.id) AS conv, array_agg(c.client_id) AS sender,
               array_agg('chat_message'::text) AS type,
               array_agg(gen_random_uuid()) AS cid,
               array_agg('{"from":"u_7","kind":"text","text":"'
                         || repeat('x', 120) || '"}') AS payload
          FROM generate_series(0, 255) n
          JOIN consult.conversation c
            ON c.id = :start + n % :pairs::int) b,
       LATERAL api.chat_batch(b.conv, b.sender, b.type, b.cid, b.payload,
                              '{accepted}') r
 WHERE r.status = 'ok';
