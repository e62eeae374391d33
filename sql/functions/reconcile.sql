-- reconcile: what Razorpay has done and did not tell us.  It has no list of
-- events; its lists of payments and refunds are made into those that should have
-- come, and go the way of all (webhook.sql).

SET ROLE astro_engine;


-- billing.inbox_items: a page of Razorpay's payments or refunds (what), which we
-- have asked for ourselves over a connection that proves who answers.  Puts in
-- what has happened and is not in the books; what cannot be read is parked by
-- itself.  seen: how many were in the page.
--
-- A refund does not say of which order its payment was: that is known by the
-- payment, which was credited or has just been put in.
CREATE OR REPLACE FUNCTION billing.inbox_items(what text, page text)
RETURNS TABLE (seen bigint, stored bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v      jsonb := billing.webhook_json(page);
    o      jsonb;
    v_id   text;
    v_pay  text;
    v_said jsonb;
    v_made int;
BEGIN
    IF jsonb_typeof(v -> 'items') IS DISTINCT FROM 'array'
       OR what NOT IN ('payments', 'refunds') THEN
        RAISE EXCEPTION 'this is no list of payments or refunds'
              USING ERRCODE = '22023';
    END IF;

    seen := 0;
    stored := 0;

    FOR o IN SELECT x FROM jsonb_array_elements(v -> 'items') x LOOP
        seen := seen + 1;
        v_id := o ->> 'id';

        IF what = 'payments' THEN
            CONTINUE WHEN (o ->> 'captured') IS DISTINCT FROM 'true'
                OR (SELECT true FROM ledger.payment p
                     WHERE p.provider = 'razorpay' AND p.charge = v_id);

            v_said := jsonb_build_object('event', 'payment.captured',
                'payload', jsonb_build_object('payment',
                    jsonb_build_object('entity', o)));

        ELSE
            v_pay := o ->> 'payment_id';

            CONTINUE WHEN (o ->> 'status') IS DISTINCT FROM 'processed'
                OR (billing.ledger_done('refund', 'razorpay:' || v_id)).id
                   IS NOT NULL;

            v_said := jsonb_build_object('event', 'refund.processed',
                'payload', jsonb_build_object(
                    'refund', jsonb_build_object('entity', o),
                    'payment', jsonb_build_object('entity',
                        jsonb_build_object('id', v_pay, 'order_id',
                                           billing.order_of(v_pay)))));
        END IF;

        BEGIN
            INSERT INTO ledger.webhook_inbox (provider, event_id, type, body)
            VALUES ('razorpay', 'list:' || v_id, v_said ->> 'event',
                    v_said::text)
            ON CONFLICT (provider, event_id) DO NOTHING;
            GET DIAGNOSTICS v_made = ROW_COUNT;

        EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
            v_made := billing.inbox_park('razorpay', o::text,
                                         SQLSTATE || ': ' || SQLERRM);
        END;

        stored := stored + v_made;
    END LOOP;

    RETURN NEXT;
END
$$;


-- billing.order_of: of which order a payment of Razorpay's is; NULL: not known.
CREATE OR REPLACE FUNCTION billing.order_of(payment text) RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN coalesce(
        (SELECT coalesce(r.payment_id, p.payment_id)
           FROM ledger.payment p
           LEFT JOIN ledger.payment r ON r.id = p.again_of
          WHERE p.provider = 'razorpay' AND p.charge = payment),
        (SELECT i.body::jsonb #>> '{payload,payment,entity,order_id}'
           FROM ledger.webhook_inbox i
          WHERE i.provider = 'razorpay' AND i.event_id = 'list:' || payment));
END
$$;


REVOKE ALL ON FUNCTION billing.inbox_items(text, text),
    billing.order_of(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing.inbox_items(text, text) TO astro_worker;

RESET ROLE;
