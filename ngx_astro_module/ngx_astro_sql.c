
/*
 * Copyright (C) The Astro authors
 *
 * The statements, one row each.
 */

#include "ngx_astro_sql.h"
#include "ngx_astro_trace.h"


#define ngx_astro_sql(name, n, args)                                          \
    const ngx_astro_sql_t  ngx_astro_sql_ ## name =                           \
        { #name, "SELECT * FROM api." #name "(" args ")", n, 0 }

/*
 * The same for what is asked on behalf of one request: by its first parameter
 * its trace, which is the last, is set; see ngx_astro_trace.h.
 */
#define ngx_astro_sql_of(name, n, trace, first, args)                         \
    const ngx_astro_sql_t  ngx_astro_sql_ ## name =                           \
        { #name, "SELECT * FROM api." #name "("                               \
          ngx_astro_trace_sql(first, trace) args ")", n, 1 }


/*
 * The same of a caller, and for who has an Idempotency-Key: it and the hash of
 * what is asked for come behind the arguments, before the trace.  As in
 * ngx_astro_routes.c, but what it returns is a session_outcome.
 */
#define ngx_astro_sql_once(name, n, args, key, hash, trace)                   \
    ngx_astro_sql_of(name, n, key, "$1::bigint", args);                       \
    const ngx_astro_sql_t  ngx_astro_sql_ ## name ## _once =                  \
        { #name "_once",                                                      \
          "SELECT (x.r).* FROM (SELECT CASE WHEN (c.k).status IS NULL"        \
          " THEN api.act_keep($1::bigint, " key "::text,"                     \
          " (SELECT f FROM api." #name "($1::bigint" args ") f))"             \
          " ELSE api.act_kept(c.k) END AS r FROM (SELECT api.once_claim("     \
          ngx_astro_trace_sql("$1::bigint", trace) ", " key "::text, "        \
          hash "::text) AS k OFFSET 0) c OFFSET 0) x", n + 2, 1 }

/* caller, session, document, gateway, life_ms, from_states */
#define ngx_astro_sql_act(name)                                               \
    ngx_astro_sql_once(name, 6, ", $2::bigint, $3::json, $4::bigint, "        \
                       "$5::bigint, $6::text[]", "$7", "$8", "$9")


ngx_astro_sql_of(register, 3, "$4", "$1::text",
                 ", $2::text, $3::text");
ngx_astro_sql_of(credentials, 1, "$2", "$1::text",
                 "");
ngx_astro_sql_of(login_open, 4, "$5", "$1::bigint",
                 ", $2::text, $3::text, $4::bigint");
ngx_astro_sql_of(login_refresh, 6, "$7", "$1::bigint",
                 ", $2::text, $3::text, $4::text, $5::bigint, "
                 "$6::bigint");
ngx_astro_sql_of(logout, 5, "$6", "$1::bigint",
                 ", $2::text, $3::text, $4::bigint, $5::json");

ngx_astro_sql_of(conversation_of, 2, "$3", "$1::bigint",
                 ", $2::bigint");
ngx_astro_sql(outside, 4, "$1::text, $2::text, $3::text, $4::text");
ngx_astro_sql_of(otp_request, 6, "$7", "$1::bigint",
                 ", $2::text, $3::text, $4::text, $5::text, $6::text");
ngx_astro_sql_of(otp_verify, 3, "$4", "$1::bigint",
                 ", $2::text, $3::text");

ngx_astro_sql_of(webhook, 2, "$3", "$1::text",
                 ", $2::text");
ngx_astro_sql(webhook_group, 3, "$1::text[], $2::text[], $3::text[]");
ngx_astro_sql(payment_order, 2, "$1::bigint, $2::bigint");

ngx_astro_sql(hello_batch, 4, "$1::bigint[], $2::bigint, $3::int[], "
              "$4::bigint[]");
ngx_astro_sql_of(sync, 4, "$5", "$1::bigint",
                 ", $2::bigint, $3::bigint, $4::int");
ngx_astro_sql(presence, 3, "$1::bigint, $2::bigint[], $3::bigint[]");
ngx_astro_sql(presence_left, 3, "$1::bigint, $2::bigint[], $3::bigint[]");
ngx_astro_sql(whereabouts, 3, "$1::bigint[], $2::bigint, $3::bigint");

ngx_astro_sql_of(session_begin, 5, "$6", "$1::bigint",
                 ", $2::json, $3::text, $4::bigint, $5::boolean");
ngx_astro_sql_once(booking_start, 3, ", $2::bigint, $3::bigint", "$4", "$5",
                   "$6");
ngx_astro_sql_of(session_gift, 4, "$5", "$1::bigint",
                 ", $2::bigint, $3::json, $4::text");
ngx_astro_sql_of(advisor_gift, 4, "$5", "$1::bigint",
                 ", $2::bigint, $3::json, $4::text");
ngx_astro_sql_of(queue_join, 3, "$4", "$1::bigint",
                 ", $2::bigint, $3::json");
ngx_astro_sql_of(queue_leave, 2, "$3", "$1::bigint",
                 ", $2::bigint");
ngx_astro_sql_act(session_pause);
ngx_astro_sql_act(session_resume);
ngx_astro_sql_act(session_mode);
ngx_astro_sql_act(session_extend);
ngx_astro_sql_act(session_media);
ngx_astro_sql_act(session_quality);
ngx_astro_sql_act(admin_session_end);
ngx_astro_sql_act(admin_user_block);
ngx_astro_sql_once(session_apply, 9, ", $2::bigint, $3::text, $4::text[], "
                   "$5::text, $6::text[], $7::text, $8::bigint, $9::bigint",
                   "$10", "$11", "$12");
ngx_astro_sql_of(session_join, 5, "$6", "$1::bigint",
                 ", $2::bigint, $3::bigint, $4::bigint, $5::text[]");

ngx_astro_sql(chat_batch, 6, "$1::bigint[], $2::bigint[], $3::text[], "
              "$4::uuid[], $5::text[], $6::text[]");

ngx_astro_sql(chat_acts, 7, "$1::bigint[], $2::bigint[], $3::text[], "
              "$4::uuid[], $5::text[], $6::boolean[], $7::text[]");
ngx_astro_sql(chat_acks, 4, "$1::bigint[], $2::bigint[], $3::bigint[], "
              "$4::bigint[]");

ngx_astro_sql(heal, 7, "$1::bigint[], $2::bigint[], $3::bigint[], "
              "$4::bigint[], $5::int[], $6::bigint[], $7::bigint");

ngx_astro_sql(gateway_open, 3, "$1::text, $2::int, $3::int");
ngx_astro_sql(gateway_renew, 7, "$1::bigint, $2::bigint, $3::bigint[], "
              "$4::bigint[], $5::text[], $6::bigint[], $7::int[]");
ngx_astro_sql(gateway_close, 2, "$1::bigint, $2::bigint");
ngx_astro_sql(gateway_intervals, 2, "$1::bigint, $2::bigint[]");
