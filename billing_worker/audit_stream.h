
/*
 * Copyright (C) The Astro authors
 *
 * Rows in an order, as many as there are, in little memory: cursors of one
 * REPEATABLE READ transaction, all of which see the same moment.  While one
 * page is looked at the server makes the next.
 *
 * Blocking: for commands that have nothing else to do.
 */

#ifndef _BILLING_AUDIT_STREAM_H_INCLUDED_
#define _BILLING_AUDIT_STREAM_H_INCLUDED_


#include <libpq-fe.h>
#include <stdint.h>


typedef struct billing_stream_s  billing_stream_t;

typedef struct {
    PGconn             *conn;
    billing_stream_t   *first;          /* pages that were asked for */
    billing_stream_t   *last;
} billing_snapshot_t;

struct billing_stream_s {
    billing_snapshot_t  *snapshot;
    billing_stream_t    *next;          /* who was asked for a page after it */
    const char          *name;          /* of the cursor; not copied */
    PGresult            *page;
    PGresult            *ready;         /* the page after it */
    int                  row;
    int                  rows;
    unsigned             asked:1;
    unsigned             over:1;        /* the server has no more */
};


/* What goes wrong is said on standard error, by all of these. */

int billing_snapshot_open(billing_snapshot_t *s, const char *conninfo);
void billing_snapshot_close(billing_snapshot_t *s);

/*
 * All of it was seen: one more statement, which may write.  The snapshot is
 * gone.
 */
int billing_snapshot_done(billing_snapshot_t *s, const char *sql, int nvalues,
    const char *const *values);

/* One row and column of a function, as a number; none for NULL. */
int billing_snapshot_number(billing_snapshot_t *s, const char *sql,
    int64_t none, int64_t *n);

/*
 * sql calls a function of the database that opens the cursor called name and
 * may use $1 and $2.  All columns are of type bigint or text.
 */
int billing_stream_open(billing_stream_t *stream, billing_snapshot_t *s,
    const char *name, const char *sql, int64_t one, int64_t two);

/* 1: there is a row, 0: there is none any more; BILLING_ERROR. */
int billing_stream_next(billing_stream_t *stream);

/* The cursor is closed, what was fetched forgotten. */
int billing_stream_close(billing_stream_t *stream);

/* The current row; texts are valid until the next one. */
int64_t billing_stream_int(const billing_stream_t *stream, int column,
    int64_t none);
const char *billing_stream_text(const billing_stream_t *stream, int column);


#endif /* _BILLING_AUDIT_STREAM_H_INCLUDED_ */
