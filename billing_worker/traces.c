
/*
 * Copyright (C) The Astro authors
 *
 * A table with a place for each session that has the same lowest digits: as
 * many sessions begin and end within a few seconds of each other.
 */

#include <stdlib.h>
#include <string.h>

#include "traces.h"


#define BILLING_TRACES      1024
#define BILLING_TRACE_SIZE  128


static struct {
    int64_t  session;           /* 0: none */
    char     trace[BILLING_TRACE_SIZE];
} billing_traces[BILLING_TRACES];


void
billing_traces_heard(const char *text)
{
    char     *end;
    size_t    len, i;
    int64_t   session;

    session = strtoll(text, &end, 10);
    len = strlen(end);

    if (session <= 0 || *end != ' ' || len < 2 || len > BILLING_TRACE_SIZE) {
        return;
    }

    for (i = 1; i < len; i++) {
        if (end[i] < ' ' || end[i] > '~' || end[i] == '"' || end[i] == '\\') {
            return;
        }
    }

    i = (size_t) (session % BILLING_TRACES);

    billing_traces[i].session = session;
    memcpy(billing_traces[i].trace, end + 1, len);
}


billing_log_field_t
billing_traces_field(int64_t session)
{
    size_t  i;

    i = (size_t) (session % BILLING_TRACES);

    return billing_traces_request(billing_traces[i].session == session
                                  ? billing_traces[i].trace : NULL);
}


billing_log_field_t
billing_traces_request(const char *trace)
{
    if (trace == NULL || *trace == '\0') {
        return billing_log_end;
    }

    return billing_log_str("request", trace);
}
