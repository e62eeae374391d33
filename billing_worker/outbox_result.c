
/*
 * Copyright (C) The Astro authors
 *
 * What a call to a vendor came to, as JSON: see outbox.h.
 */

#include <stdlib.h>
#include <string.h>

#include "outbox.h"


static void billing_outbox_answer(billing_text_t *t,
    const billing_http_reply_t *reply);


char *
billing_outbox_result(int64_t id, int64_t claim,
    const billing_http_reply_t *reply)
{
    billing_text_t   t;
    const char      *again;

    static const char *const  results[] = { "answered", "unsent", "unknown" };

    billing_text_init(&t);

    billing_text_str(&t, "{\"id\":");
    billing_text_int(&t, id);
    billing_text_str(&t, ",\"claim\":");
    billing_text_int(&t, claim);
    billing_text_str(&t, ",\"result\":");
    billing_text_json(&t, results[reply->result]);

    if (reply->result == BILLING_HTTP_ANSWERED) {
        billing_text_str(&t, ",\"code\":");
        billing_text_int(&t, reply->code);
        billing_text_str(&t, ",\"answer\":");
        billing_outbox_answer(&t, reply);

        if (reply->retry_after_ms > 0) {
            billing_text_str(&t, ",\"retry_after_ms\":");
            billing_text_int(&t, reply->retry_after_ms);
        }

        again = billing_http_header(reply, "Stripe-Should-Retry");

        if (again != NULL) {
            billing_text_str(&t, strcmp(again, "true") ? ",\"retry\":false"
                                                       : ",\"retry\":true");
        }

        if (billing_http_header(reply, "Idempotent-Replayed") != NULL) {
            billing_text_str(&t, ",\"replayed\":true");
        }

    } else {
        billing_text_str(&t, ",\"error\":");
        billing_text_json(&t, reply->error);
    }

    billing_text_str(&t, "}");

    if (billing_text_end(&t) == NULL) {
        billing_text_free(&t);
        return NULL;
    }

    return t.data;
}


/*
 * Only names and messages are read of it, and PostgreSQL refuses what is no
 * UTF-8: what is not ASCII is not shown.
 */

static void
billing_outbox_answer(billing_text_t *t, const billing_http_reply_t *reply)
{
    char    *copy;
    size_t   i;

    copy = malloc(reply->len + 1);
    if (copy == NULL) {
        t->failed = 1;
        return;
    }

    for (i = 0; i < reply->len; i++) {
        copy[i] = (reply->body[i] & 0x80) ? '?' : reply->body[i];
    }

    copy[i] = '\0';

    billing_text_json(t, copy);
    free(copy);
}
