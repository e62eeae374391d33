
/*
 * Copyright (C) The Astro authors
 *
 * Which request last did something with a session, as its nudge said.  For the
 * log alone: what is not known is not written, and old ones make room.
 */

#ifndef _BILLING_TRACES_H_INCLUDED_
#define _BILLING_TRACES_H_INCLUDED_


#include <stdint.h>

#include "log.h"


/* text: "<session> <trace>"; what is malformed is left alone */
void billing_traces_heard(const char *text);

/*
 * The field "request" of a log line, for the end of its fields: it ends them if
 * there is none.
 */
billing_log_field_t billing_traces_field(int64_t session);
billing_log_field_t billing_traces_request(const char *trace);


#endif /* _BILLING_TRACES_H_INCLUDED_ */
