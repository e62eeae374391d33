
/*
 * Copyright (C) The Astro authors
 *
 * What the worker asks of the database: sql/functions/billing.sql.
 */

#include "worker.h"


const billing_pg_statement_t  billing_bill_statements[] = {

    { "facts",
      "SELECT * FROM billing.facts3($1::bigint[], $2::smallint[])", 2 },

    { "fence",
      "SELECT billing.fence($1::text, $2::smallint[], $3::bigint[])", 3 },

    { "apply",
      "SELECT * FROM billing.apply($1::bigint[], $2::int[], $3::int[], "
      "$4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[], "
      "$9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], "
      "$13::boolean[], $14::boolean[], $15::int[], $16::bigint[])", 16 },

    { NULL, NULL, 0 }
};


const billing_pg_statement_t  billing_lane_statements[] = {

    { "facts",
      "SELECT * FROM billing.facts3($1::bigint[], $2::smallint[])", 2 },

    { "fence",
      "SELECT billing.fence($1::text, $2::smallint[], $3::bigint[])", 3 },

    { "tick",
      "SELECT * FROM billing.tick($1::bigint[], $2::int[], $3::int[], "
      "$4::int[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], "
      "$9::bigint[], $10::bigint[])", 10 },

    { NULL, NULL, 0 }
};


const billing_pg_statement_t  billing_lease_statements[] = {

    { "lease",
      "SELECT shard, epoch FROM billing.lease($1::text, $2::int)", 2 },

    { "lease_next",
      "SELECT billing.lease_next($1::text)", 1 },

    /* who waits for the rest of what a worker sends: see shards.c */

    { "unlock",
      "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
      "WHERE datname = current_database() AND usename = session_user "
      "AND state = 'active' AND wait_event = 'ClientRead' "
      "AND backend_xid IS NOT NULL AND pid <> pg_backend_pid() "
      "AND xact_start < clock_timestamp() - interval '1 s'", 0 },

    { "release",
      "SELECT billing.release($1::text)", 1 },

    { "scan",
      "SELECT id, ver, rev, shard, client_wallet, active "
      "FROM billing.scan3($1::smallint[], $2::int[], $3::bigint[])", 3 },

    { "find",
      "SELECT id, ver, rev, shard, client_wallet, true "
      "FROM billing.find2($1::bigint[])", 1 },

    { "purses",
      "SELECT id FROM billing.purses($1::bigint[])", 1 },

    { "gateways",
      "SELECT id, life_ms FROM billing.gateways()", 0 },

    { "lives",
      "SELECT id, lease_ms, silence_ms, age_ms, now_ms FROM billing.lives()",
      0 },

    { NULL, NULL, 0 }
};


/* both in one transaction, for which the limits are */

const billing_pg_statement_t  billing_reaper_statements[] = {

    { "limit",
      "SELECT set_config('lock_timeout', $1, true), "
      "set_config('statement_timeout', $2, true)", 2 },

    { "reap",
      "SELECT * FROM billing.reap($1::bigint, $2::bigint)", 2 },

    { NULL, NULL, 0 }
};


/* of the parts around: what takes long may do so */

const billing_pg_statement_t  billing_chores_statements[] = {

    { "gauges",
      "SELECT name, labels, value FROM billing.gauges()", 0 },

    { "inbox_next",
      "SELECT id, provider, event, type, outcome, reason, payment, wallet_id, "
      "billing.inbox_trace(id) FROM billing.inbox_next()", 0 },

    { "bookings_due",
      "SELECT billing.bookings_due($1::int)", 1 },

    { "waiting_turns",
      "SELECT billing.waiting_turns()", 0 },

    { "favorites_here",
      "SELECT billing.favorites_here($1::int)", 1 },

    { "export_next",
      "SELECT billing.export_next($1::int)", 1 },

    { "erase_next",
      "SELECT billing.erase_next()", 0 },

    { "retain_next",
      "SELECT kind, removed, total, done "
      "FROM billing.retain_next($1::int, $2::int, $3::int, $4::int)", 4 },

    { "reconcile_take",
      "SELECT billing.reconcile_take($1::int, $2::text)", 2 },

    { "reconcile_keep",
      "SELECT billing.reconcile_keep($1::date, $2::text)", 2 },

    { "reconcile_done",
      "SELECT billing.reconcile_done($1::date, $2::text, $3::boolean, "
      "$4::int)", 4 },

    { "notices",
      "SELECT account, frame FROM billing.notices($1::int)", 1 },

    { NULL, NULL, 0 }
};
