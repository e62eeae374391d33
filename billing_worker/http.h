
/*
 * Copyright (C) The Astro authors
 *
 * HTTP calls to vendors: libcurl's multi interface on libuv.  Nothing blocks;
 * names are looked up by libcurl's own thread.
 *
 * A peer is one vendor: where it is, what proves who we are, how long we wait.
 * A call's handler is called exactly once, with
 *
 *   ANSWERED  a whole answer came, whatever its code
 *   UNSENT    not a byte of the request left: nothing happened
 *   UNKNOWN   it may have been done: never take it for either
 *
 * never before billing_http_call() has returned.  The reply is valid until the
 * handler returns; a handler may make further calls.
 */

#ifndef _BILLING_HTTP_H_INCLUDED_
#define _BILLING_HTTP_H_INCLUDED_


#include <curl/curl.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>


#define BILLING_HTTP_SECRET_MAX  512


typedef struct billing_http_request_s  billing_http_request_t;

typedef enum {
    BILLING_HTTP_ANSWERED = 0,
    BILLING_HTTP_UNSENT,
    BILLING_HTTP_UNKNOWN
} billing_http_result_e;

typedef struct {
    billing_http_result_e    result;
    const char              *error;         /* "" if ANSWERED */
    long                     code;          /* 0 unless ANSWERED */
    const char              *body;          /* NUL-terminated */
    size_t                   len;
    int64_t                  retry_after_ms;    /* -1: it does not say */
    CURL                    *easy;          /* of http.c alone */
} billing_http_reply_t;

typedef void (*billing_http_handler_pt)(void *data,
    const billing_http_reply_t *reply);

/* Its texts must outlive it. */
typedef struct {
    const char              *base;          /* "https://api.vendor.test" */
    const char              *ca_file;       /* "": those of the system */
    int64_t                  connect_ms;
    int64_t                  timeout_ms;    /* for all of it */
    size_t                   body_max;      /* of an answer; more is UNKNOWN */
    const char              *key_name;      /* of a header; NULL: below */
    unsigned                 basic:1;       /* the secret is user:password */
    char                     secret[BILLING_HTTP_SECRET_MAX];
} billing_http_peer_t;

typedef struct {
    uv_loop_t               *loop;
    CURLM                   *multi;
    uv_timer_t               timer;
    billing_http_request_t  *first;         /* under way */
    unsigned                 n;
} billing_http_t;


/* loop is set by the owner.  It must outlive the loop. */
int billing_http_start(billing_http_t *http, unsigned connections);

/* Calls under way get UNKNOWN; their handlers may make no others. */
void billing_http_stop(billing_http_t *http);

/*
 * Reads the peer's secret, one line.  BILLING_ERROR: error says why, without
 * it; the secret is as it was.
 */
int billing_http_secret(billing_http_peer_t *peer, const char *file,
    char *error, size_t size);

/* Overwrites the secret. */
void billing_http_forget(billing_http_peer_t *peer);

/*
 * https anywhere, or http to this very machine; without a path of its own.
 * That of a setting: asked before a peer is made of it.
 */
int billing_http_base_ok(const char *base);

/*
 * body NULL: GET; else a form is POSTed, with a key if there is one, in the
 * header Idempotency-Key, or as the peer calls it.  All is copied.
 * BILLING_ERROR: no memory; the handler will not be called.
 */
int billing_http_call(billing_http_t *http, const billing_http_peer_t *peer,
    const char *path, const char *body, const char *key,
    billing_http_handler_pt handler, void *data);

/* A header of the answer, or NULL. */
const char *billing_http_header(const billing_http_reply_t *reply,
    const char *name);


#endif /* _BILLING_HTTP_H_INCLUDED_ */
