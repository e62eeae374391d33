-- 0013: which of a vendor's payments was credited; sessions locked in order.
--
-- Safe under the version before: its worker calls functions alone, and these
-- follow this file.

SET ROLE astro_owner;

-- What a vendor calls the one payment that was credited: Stripe's charge,
-- Razorpay's payment.  payment_id is what we asked for, which may have been
-- paid more than once; each further payment has a row of its own.
ALTER TABLE ledger.payment
    ADD COLUMN charge   text CHECK (charge ~ '^[!-~]{1,255}$'),
    ADD COLUMN again_of bigint REFERENCES ledger.payment,
    ADD CONSTRAINT payment_again CHECK (again_of IS NULL
        OR charge = payment_id);

-- What was credited until now was credited for the first event of it.
UPDATE ledger.payment p SET charge = c.charge
  FROM (SELECT DISTINCT ON (i.provider, i.payment_id)
               i.provider, i.payment_id, i.body::jsonb #>> CASE i.provider
                   WHEN 'razorpay' THEN '{payload,payment,entity,id}'::text[]
                   ELSE '{data,object,latest_charge}' END AS charge
          FROM ledger.webhook_inbox i
         WHERE i.kind = 'paid' AND i.state = 'applied'
         ORDER BY i.provider, i.payment_id, i.id) c
 WHERE p.provider = c.provider AND p.payment_id = c.payment_id
   AND p.status = 'paid' AND c.charge ~ '^[!-~]{1,255}$';

CREATE UNIQUE INDEX payment_charge ON ledger.payment (provider, charge)
    WHERE charge IS NOT NULL;

RESET ROLE;

GRANT INSERT (charge, again_of), UPDATE (charge) ON ledger.payment
   TO astro_engine;

SET ROLE astro_engine;

-- A client who is made something else pays nothing any more.  For all rows of a
-- statement together, so that sessions are locked in order of id, as by
-- everybody.
CREATE FUNCTION consult.roles_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
DECLARE
    v_who      bigint[];
    v_sessions bigint[];
BEGIN
    v_who := ARRAY(SELECT n.id FROM now_rows n JOIN was_rows w ON w.id = n.id
                    WHERE w.role IS DISTINCT FROM n.role);

    IF v_who <> '{}' THEN
        v_sessions := ARRAY(SELECT s.id FROM consult.session s
                             WHERE s.client_id = ANY(v_who)
                               AND s.state <> 'ended'
                             ORDER BY s.id FOR NO KEY UPDATE);

        UPDATE consult.session s SET rev = s.rev + 1
         WHERE s.id = ANY(v_sessions);
    END IF;

    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION consult.roles_changed() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.roles_changed() TO astro_owner;

RESET ROLE;
SET ROLE astro_owner;

DROP TRIGGER role_changed ON identity.account;

-- no column list: with one there would be no tables of rows
CREATE TRIGGER role_changed AFTER UPDATE ON identity.account
    REFERENCING OLD TABLE AS was_rows NEW TABLE AS now_rows
    FOR EACH STATEMENT EXECUTE FUNCTION consult.roles_changed();

RESET ROLE;
SET ROLE astro_engine;

DROP FUNCTION consult.role_changed();

RESET ROLE;
