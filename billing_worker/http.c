
/*
 * Copyright (C) The Astro authors
 *
 * HTTP calls: see http.h.
 *
 * libcurl says which sockets it waits for, and how long, by two callbacks; what
 * happens to them is handed back to it.  A socket's handle is freed when libuv
 * has closed it, libcurl knows it no more by then.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "http.h"
#include "log.h"
#include "tariff.h"
#include "text.h"


struct billing_http_request_s {
    billing_http_request_t   *next;
    billing_http_request_t   *prev;
    billing_http_t           *http;
    CURL                     *easy;
    struct curl_slist        *headers;
    billing_text_t            body;         /* of the answer */
    size_t                    body_max;
    billing_http_handler_pt   handler;
    void                     *data;
    char                      error[CURL_ERROR_SIZE];
};

typedef struct {
    uv_poll_t                 poll;
    billing_http_t           *http;
    curl_socket_t             fd;
} billing_http_socket_t;


static int billing_http_headers(billing_http_request_t *r,
    const billing_http_peer_t *peer, int post, const char *key);
static int billing_http_header_add(billing_http_request_t *r,
    const char *name, const char *value);
static int billing_http_options(billing_http_request_t *r,
    const billing_http_peer_t *peer, const char *path, const char *body);
static void billing_http_free(billing_http_request_t *r);
static size_t billing_http_receive(char *data, size_t size, size_t n,
    void *request);
static int billing_http_on_socket(CURL *easy, curl_socket_t fd, int what,
    void *http, void *known);
static int billing_http_watch(billing_http_t *http, curl_socket_t fd,
    int what, billing_http_socket_t *s);
static void billing_http_unwatched(uv_handle_t *handle);
static int billing_http_on_timeout(CURLM *multi, long timeout_ms, void *http);
static void billing_http_event(uv_poll_t *poll, int status, int events);
static void billing_http_timer(uv_timer_t *timer);
static void billing_http_done(billing_http_t *http);
static void billing_http_unlink(billing_http_request_t *r);
static void billing_http_finish(billing_http_request_t *r, CURLcode rc);


int
billing_http_start(billing_http_t *http, unsigned connections)
{
    const curl_version_info_data  *v;

    /* it counts its calls: each worker of a process makes its own */

    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return BILLING_ERROR;
    }

    v = curl_version_info(CURLVERSION_NOW);

    /* looking up a name must not block */

    if (!(v->features & CURL_VERSION_ASYNCHDNS)
        || uv_timer_init(http->loop, &http->timer) != 0)
    {
        curl_global_cleanup();
        return BILLING_ERROR;
    }

    http->timer.data = http;
    http->first = NULL;
    http->n = 0;

    http->multi = curl_multi_init();

    if (http->multi == NULL) {
        uv_close((uv_handle_t *) &http->timer, NULL);
        curl_global_cleanup();
        return BILLING_ERROR;
    }

    curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION,
                      billing_http_on_socket);
    curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
    curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION,
                      billing_http_on_timeout);
    curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
    curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, (long) connections);

    return BILLING_OK;
}


void
billing_http_stop(billing_http_t *http)
{
    billing_http_request_t  *r, *next;

    if (http->multi == NULL) {
        return;
    }

    for (r = http->first; r != NULL; r = next) {
        next = r->next;
        billing_http_finish(r, CURLE_ABORTED_BY_CALLBACK);
    }

    http->first = NULL;
    http->n = 0;

    curl_multi_cleanup(http->multi);
    http->multi = NULL;

    uv_close((uv_handle_t *) &http->timer, NULL);

    curl_global_cleanup();
}


int
billing_http_secret(billing_http_peer_t *peer, const char *file, char *error,
    size_t size)
{
    int          rc;
    char         line[BILLING_HTTP_SECRET_MAX + 2];
    FILE        *f;
    size_t       n, i;
    struct stat  st;

    f = fopen(file, "r");
    if (f == NULL) {
        snprintf(error, size, "cannot open \"%s\": %s", file,
                 strerror(errno));
        return BILLING_ERROR;
    }

    /* systemd's credentials, and files for us alone, do not get here */

    if (fstat(fileno(f), &st) == 0 && (st.st_mode & S_IRWXO) != 0) {
        billing_log(BILLING_LOG_WARN, "others can get at a key's file",
                    billing_log_str("file", file));
    }

    /* not a copy more than needed stays in memory */

    setvbuf(f, NULL, _IONBF, 0);

    n = fread(line, 1, sizeof(line), f);
    rc = ferror(f) ? BILLING_ERROR : BILLING_OK;

    fclose(f);

    while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r')) {
        n--;
    }

    for (i = 0; i < n; i++) {
        if (line[i] <= ' ' || line[i] > '~') {
            rc = BILLING_ERROR;
        }
    }

    if (rc != BILLING_OK || n == 0 || n >= BILLING_HTTP_SECRET_MAX) {
        snprintf(error, size, "\"%s\" does not hold one line with a secret",
                 file);
        rc = BILLING_ERROR;

    } else {
        memcpy(peer->secret, line, n);
        peer->secret[n] = '\0';
    }

    explicit_bzero(line, sizeof(line));

    return rc;
}


void
billing_http_forget(billing_http_peer_t *peer)
{
    explicit_bzero(peer->secret, sizeof(peer->secret));
}


int
billing_http_base_ok(const char *base)
{
    int     plain, ok;
    char   *scheme, *host, *path, *user, *query;
    CURLU  *url;

    url = curl_url();
    if (url == NULL) {
        return BILLING_ERROR;
    }

    scheme = NULL;
    host = NULL;
    path = NULL;
    user = NULL;
    query = NULL;
    ok = 0;

    if (curl_url_set(url, CURLUPART_URL, base, 0) == CURLUE_OK
        && curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK
        && curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK
        && curl_url_get(url, CURLUPART_PATH, &path, 0) == CURLUE_OK
        && curl_url_get(url, CURLUPART_USER, &user, 0) != CURLUE_OK
        && curl_url_get(url, CURLUPART_QUERY, &query, 0) != CURLUE_OK)
    {
        plain = (strcmp(scheme, "http") == 0
                 && (strcmp(host, "127.0.0.1") == 0
                     || strcmp(host, "[::1]") == 0));

        ok = (plain || strcmp(scheme, "https") == 0)
             && strcmp(path, "/") == 0 && base[strlen(base) - 1] != '/';
    }

    curl_free(scheme);
    curl_free(host);
    curl_free(path);
    curl_free(user);
    curl_free(query);
    curl_url_cleanup(url);

    return ok ? BILLING_OK : BILLING_ERROR;
}


int
billing_http_call(billing_http_t *http, const billing_http_peer_t *peer,
    const char *path, const char *body, const char *key,
    billing_http_handler_pt handler, void *data)
{
    billing_http_request_t  *r;

    r = calloc(1, sizeof(billing_http_request_t));
    if (r == NULL) {
        return BILLING_ERROR;
    }

    r->http = http;
    r->handler = handler;
    r->data = data;
    r->body_max = peer->body_max;
    billing_text_init(&r->body);

    r->easy = curl_easy_init();

    if (r->easy == NULL
        || billing_http_headers(r, peer, body != NULL, key) != BILLING_OK
        || billing_http_options(r, peer, path, body) != BILLING_OK
        || curl_multi_add_handle(http->multi, r->easy) != CURLM_OK)
    {
        billing_http_free(r);
        return BILLING_ERROR;
    }

    r->next = http->first;

    if (r->next != NULL) {
        r->next->prev = r;
    }

    http->first = r;
    http->n++;

    return BILLING_OK;
}


static int
billing_http_headers(billing_http_request_t *r,
    const billing_http_peer_t *peer, int post, const char *key)
{
    int   rc;
    char  bearer[BILLING_HTTP_SECRET_MAX + sizeof("Bearer ")];

    rc = BILLING_OK;

    if (!peer->basic) {
        snprintf(bearer, sizeof(bearer), "Bearer %s", peer->secret);
        rc = billing_http_header_add(r, "Authorization", bearer);
        explicit_bzero(bearer, sizeof(bearer));
    }

    if (rc == BILLING_OK && post && key != NULL) {
        rc = billing_http_header_add(r, (peer->key_name != NULL)
                                        ? peer->key_name : "Idempotency-Key",
                                     key);
    }

    /* a form this small is not announced first */

    if (rc == BILLING_OK && post) {
        rc = billing_http_header_add(r, "Expect", "");
    }

    return rc;
}


/* An empty value keeps libcurl from sending a header of its own. */

static int
billing_http_header_add(billing_http_request_t *r, const char *name,
    const char *value)
{
    char                line[BILLING_HTTP_SECRET_MAX + 64];
    struct curl_slist  *list;

    snprintf(line, sizeof(line), "%s:%s%s", name, value[0] ? " " : "", value);

    list = curl_slist_append(r->headers, line);
    explicit_bzero(line, sizeof(line));

    if (list == NULL) {
        return BILLING_ERROR;
    }

    r->headers = list;

    return BILLING_OK;
}


static int
billing_http_options(billing_http_request_t *r,
    const billing_http_peer_t *peer, const char *path, const char *body)
{
    int             rc;
    CURL           *e;
    billing_text_t  url;

    e = r->easy;

    billing_text_init(&url);
    billing_text_str(&url, peer->base);
    billing_text_str(&url, path);

    rc = (billing_text_end(&url) != NULL
          && curl_easy_setopt(e, CURLOPT_URL, url.data) == CURLE_OK)
         ? BILLING_OK : BILLING_ERROR;

    billing_text_free(&url);

    /* each of these copies a text, or might be refused */

    if (rc != BILLING_OK
        || curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https")
           != CURLE_OK
        || curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L) != CURLE_OK
        || curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L) != CURLE_OK
        || curl_easy_setopt(e, CURLOPT_SSLVERSION,
                            (long) CURL_SSLVERSION_TLSv1_2) != CURLE_OK
        || curl_easy_setopt(e, CURLOPT_PROXY, "") != CURLE_OK
        || curl_easy_setopt(e, CURLOPT_USERAGENT, "billing_worker")
           != CURLE_OK
        || (body != NULL
            && curl_easy_setopt(e, CURLOPT_COPYPOSTFIELDS, body) != CURLE_OK)
        || (peer->ca_file[0] != '\0'
            && curl_easy_setopt(e, CURLOPT_CAINFO, peer->ca_file) != CURLE_OK)
        || (peer->basic
            && curl_easy_setopt(e, CURLOPT_USERPWD, peer->secret) != CURLE_OK))
    {
        return BILLING_ERROR;
    }

    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    /* else a time-out, or the stop, waits for who is looking up the name */
    curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long) peer->connect_ms);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long) peer->timeout_ms);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, r->headers);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, r->error);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, billing_http_receive);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, r);
    curl_easy_setopt(e, CURLOPT_PRIVATE, r);

    return BILLING_OK;
}


static void
billing_http_free(billing_http_request_t *r)
{
    if (r->easy != NULL) {
        curl_easy_cleanup(r->easy);
    }

    curl_slist_free_all(r->headers);
    billing_text_free(&r->body);
    free(r);
}


/* Less than was given ends the transfer. */

static size_t
billing_http_receive(char *data, size_t size, size_t n, void *request)
{
    billing_http_request_t *r = request;

    n *= size;

    if (n > r->body_max - r->body.len) {
        return 0;
    }

    billing_text_add(&r->body, data, n);

    return n;
}


static int
billing_http_on_socket(CURL *easy, curl_socket_t fd, int what, void *http,
    void *known)
{
    billing_http_t         *h;
    billing_http_socket_t  *s;

    (void) easy;

    h = http;
    s = known;

    if (what != CURL_POLL_REMOVE) {
        return billing_http_watch(h, fd, what, s) == BILLING_OK ? 0 : -1;
    }

    if (s != NULL) {
        curl_multi_assign(h->multi, fd, NULL);
        uv_poll_stop(&s->poll);
        uv_close((uv_handle_t *) &s->poll, billing_http_unwatched);
    }

    return 0;
}


static int
billing_http_watch(billing_http_t *http, curl_socket_t fd, int what,
    billing_http_socket_t *s)
{
    int  events;

    if (s == NULL) {
        s = calloc(1, sizeof(billing_http_socket_t));
        if (s == NULL) {
            return BILLING_ERROR;
        }

        if (uv_poll_init_socket(http->loop, &s->poll, fd) != 0) {
            free(s);
            return BILLING_ERROR;
        }

        s->http = http;
        s->fd = fd;
        s->poll.data = s;

        curl_multi_assign(http->multi, fd, s);
    }

    events = ((what & CURL_POLL_IN) ? UV_READABLE : 0)
             | ((what & CURL_POLL_OUT) ? UV_WRITABLE : 0);

    return uv_poll_start(&s->poll, events, billing_http_event) == 0
           ? BILLING_OK : BILLING_ERROR;
}


static void
billing_http_unwatched(uv_handle_t *handle)
{
    free(handle->data);
}


static int
billing_http_on_timeout(CURLM *multi, long timeout_ms, void *http)
{
    billing_http_t *h = http;

    (void) multi;

    if (timeout_ms < 0) {
        uv_timer_stop(&h->timer);

    } else {
        uv_timer_start(&h->timer, billing_http_timer, (uint64_t) timeout_ms,
                       0);
    }

    return 0;
}


static void
billing_http_event(uv_poll_t *poll, int status, int events)
{
    int                     flags, running;
    billing_http_t         *http;
    billing_http_socket_t  *s;

    s = poll->data;
    http = s->http;

    flags = (status != 0) ? CURL_CSELECT_ERR : 0;

    if (events & UV_READABLE) {
        flags |= CURL_CSELECT_IN;
    }

    if (events & UV_WRITABLE) {
        flags |= CURL_CSELECT_OUT;
    }

    curl_multi_socket_action(http->multi, s->fd, flags, &running);

    billing_http_done(http);
}


static void
billing_http_timer(uv_timer_t *timer)
{
    int              running;
    billing_http_t  *http;

    http = timer->data;

    curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);

    billing_http_done(http);
}


/* A handler may stop it all. */

static void
billing_http_done(billing_http_t *http)
{
    int                      left;
    CURLMsg                 *msg;
    billing_http_request_t  *r;

    while (http->multi != NULL) {
        msg = curl_multi_info_read(http->multi, &left);

        if (msg == NULL) {
            return;
        }

        if (msg->msg == CURLMSG_DONE
            && curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &r)
               == CURLE_OK)
        {
            billing_http_unlink(r);
            billing_http_finish(r, msg->data.result);
        }
    }
}


static void
billing_http_unlink(billing_http_request_t *r)
{
    if (r->prev != NULL) {
        r->prev->next = r->next;

    } else {
        r->http->first = r->next;
    }

    if (r->next != NULL) {
        r->next->prev = r->prev;
    }

    r->http->n--;
}


/* Frees it, and is in no list any more: the handler may make calls, or stop. */

static void
billing_http_finish(billing_http_request_t *r, CURLcode rc)
{
    long                  sent;
    curl_off_t            after;
    billing_http_reply_t  reply;

    memset(&reply, 0, sizeof(billing_http_reply_t));

    reply.easy = r->easy;
    reply.error = "";
    reply.body = billing_text_end(&r->body);
    reply.len = r->body.len;
    reply.retry_after_ms = -1;

    if (reply.body == NULL) {
        rc = CURLE_OUT_OF_MEMORY;
        reply.body = "";
        reply.len = 0;
    }

    if (rc == CURLE_OK) {
        after = 0;

        curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &reply.code);
        curl_easy_getinfo(r->easy, CURLINFO_RETRY_AFTER, &after);

        /* libcurl holds "at once" and silence for the same */

        if (after > 0) {
            reply.retry_after_ms = (int64_t) after * 1000;
        }

    } else {
        sent = 0;
        curl_easy_getinfo(r->easy, CURLINFO_REQUEST_SIZE, &sent);

        reply.result = sent ? BILLING_HTTP_UNKNOWN : BILLING_HTTP_UNSENT;
        reply.error = r->error[0] ? r->error : curl_easy_strerror(rc);
    }

    curl_multi_remove_handle(r->http->multi, r->easy);

    r->handler(r->data, &reply);

    billing_http_free(r);
}


const char *
billing_http_header(const billing_http_reply_t *reply, const char *name)
{
    struct curl_header  *header;

    if (curl_easy_header(reply->easy, name, 0, CURLH_HEADER, -1, &header)
        != CURLHE_OK)
    {
        return NULL;
    }

    return header->value;
}
