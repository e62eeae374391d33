
/*
 * Copyright (C) The Astro authors
 *
 * The log: one JSON object a line on stderr.
 *
 *   {"ts":"2025-11-21T03:44:05.123Z","level":"info","msg":"ready","shards":256}
 *
 * msg is a fixed text to search for; what varies is in fields of its own:
 *
 *   billing_log(BILLING_LOG_INFO, "ready", billing_log_int("shards", n));
 */

#ifndef _BILLING_LOG_H_INCLUDED_
#define _BILLING_LOG_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


typedef enum {
    BILLING_LOG_ERROR = 0,      /* somebody must look */
    BILLING_LOG_WARN,           /* it goes on by itself */
    BILLING_LOG_INFO,
    BILLING_LOG_DEBUG
} billing_log_level_e;

typedef struct {
    const char  *name;          /* NULL: no field */
    const char  *string;        /* NULL: number */
    int64_t      number;
} billing_log_field_t;


#define billing_log_int(name, n)                                              \
    ((billing_log_field_t) { (name), NULL, (n) })
#define billing_log_str(name, s)                                              \
    ((billing_log_field_t) { (name), (s), 0 })

#define billing_log_end                                                       \
    ((billing_log_field_t) { NULL, NULL, 0 })

/* with one field at least; billing_log_msg() is without */
#define billing_log(level, msg, ...)                                          \
    billing_log_write(level, msg,                                             \
        (const billing_log_field_t[]) { __VA_ARGS__, billing_log_end })
#define billing_log_msg(level, msg)                                           \
    billing_log_write(level, msg,                                             \
        (const billing_log_field_t[]) { billing_log_end })


/* From "error", "warn", "info", "debug"; BILLING_ERROR if it is none. */
int billing_log_level(const char *name);
const char *billing_log_level_name(int64_t level);
void billing_log_set(billing_log_level_e level);

void billing_log_write(billing_log_level_e level, const char *msg,
    const billing_log_field_t *fields);


#endif /* _BILLING_LOG_H_INCLUDED_ */
