
/*
 * Copyright (C) The Astro authors
 *
 * A user name is "<when it expires>:u_<id>", its password the HMAC-SHA1 of it,
 * in base64: the TURN server has the same secret and needs no list of users.
 * A relay that was allocated in time lives on after the name has expired; a new
 * one is refused.
 */

#include "ngx_astro_ice.h"
#include "ngx_astro_keys.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>


#define NGX_ASTRO_TURN_URIS    8
#define NGX_ASTRO_TURN_SECRET  256
#define NGX_ASTRO_TURN_NAME    64


/* allocated from the configuration's pool; NULL in it: no servers */
struct ngx_astro_turn_s {
    ngx_uint_t               n;
    ngx_str_t                uri[NGX_ASTRO_TURN_URIS];
    ngx_str_t                file;
    ngx_str_t                secret;
    time_t                   ttl;
};


static char *ngx_astro_turn_uri(ngx_conf_t *cf, ngx_astro_turn_t *turn,
    ngx_str_t *uri);
static char *ngx_astro_turn_secret(ngx_conf_t *cf, ngx_astro_turn_t *turn);
static u_char *ngx_astro_ice_urls(u_char *p, const ngx_astro_turn_t *turn,
    ngx_uint_t relays);
static ngx_uint_t ngx_astro_turn_relays(const ngx_str_t *uri);


char *
ngx_astro_turn(ngx_conf_t *cf, ngx_command_t *cmd, void *c)
{
    ngx_astro_conf_t  *conf = c;

    char              *rc;
    ngx_str_t         *value, s;
    ngx_uint_t         i, relays;
    ngx_astro_turn_t  *turn;

    (void) cmd;

    if (conf->turn) {
        return "is duplicate";
    }

    turn = ngx_pcalloc(cf->pool, sizeof(ngx_astro_turn_t));
    if (turn == NULL) {
        return NGX_CONF_ERROR;
    }

    turn->ttl = 3600;
    relays = 0;
    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "secret=", 7) == 0) {
            turn->file.data = value[i].data + 7;
            turn->file.len = value[i].len - 7;
            continue;
        }

        if (ngx_strncmp(value[i].data, "ttl=", 4) == 0) {
            s.data = value[i].data + 4;
            s.len = value[i].len - 4;
            turn->ttl = ngx_parse_time(&s, 1);

            if (turn->ttl == (time_t) NGX_ERROR || turn->ttl == 0) {
                return "has a ttl that is no time";
            }

            continue;
        }

        rc = ngx_astro_turn_uri(cf, turn, &value[i]);

        if (rc != NGX_CONF_OK) {
            return rc;
        }

        relays |= ngx_astro_turn_relays(&value[i]);
    }

    if (turn->n == 0) {
        return "has no URI";
    }

    if (relays && turn->file.len == 0) {
        return "needs \"secret=file\" for a turn: URI";
    }

    if (turn->file.len && ngx_astro_turn_secret(cf, turn) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    conf->turn = turn;

    return NGX_CONF_OK;
}


static char *
ngx_astro_turn_uri(ngx_conf_t *cf, ngx_astro_turn_t *turn, ngx_str_t *uri)
{
    size_t  i;

    for (i = 0; i < uri->len; i++) {
        if (uri->data[i] <= ' ' || uri->data[i] >= 0x7f
            || uri->data[i] == '"' || uri->data[i] == '\\')
        {
            break;
        }
    }

    if (i < uri->len
        || (ngx_strncmp(uri->data, "stun:", 5) != 0
            && ngx_strncmp(uri->data, "stuns:", 6) != 0
            && !ngx_astro_turn_relays(uri)))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is no URI like turn:host:3478", uri);
        return NGX_CONF_ERROR;
    }

    if (turn->n == NGX_ASTRO_TURN_URIS) {
        return "has too many URIs";
    }

    turn->uri[turn->n++] = *uri;

    return NGX_CONF_OK;
}


/* Read by the master, so it may be root's alone. */

static char *
ngx_astro_turn_secret(ngx_conf_t *cf, ngx_astro_turn_t *turn)
{
    u_char  *buf;
    size_t   n;

    buf = ngx_pnalloc(cf->pool, NGX_ASTRO_TURN_SECRET + 3);
    if (buf == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_astro_keys_file(cf, "astro_turn", &turn->file, buf,
                            NGX_ASTRO_TURN_SECRET + 3, &n)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    while (n > 0 && (buf[n - 1] == LF || buf[n - 1] == CR)) {
        n--;
    }

    if (n < 16 || n > NGX_ASTRO_TURN_SECRET) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the secret of \"astro_turn\" in \"%V\" must have "
                           "16 to %d bytes", &turn->file,
                           NGX_ASTRO_TURN_SECRET);
        return NGX_CONF_ERROR;
    }

    turn->secret.data = buf;
    turn->secret.len = n;

    return NGX_CONF_OK;
}


static ngx_uint_t
ngx_astro_turn_relays(const ngx_str_t *uri)
{
    return ngx_strncmp(uri->data, "turn:", 5) == 0
           || ngx_strncmp(uri->data, "turns:", 6) == 0;
}


size_t
ngx_astro_ice_len(void)
{
    size_t                   len;
    ngx_uint_t               i;
    const ngx_astro_turn_t  *turn;

    len = 256;
    turn = ngx_astro.conf->turn;

    for (i = 0; turn && i < turn->n; i++) {
        len += turn->uri[i].len + 3;
    }

    return len;
}


u_char *
ngx_astro_ice(u_char *p, uint64_t user)
{
    u_char                  *start;
    unsigned                 len;
    ngx_str_t                mac, name, text;
    const ngx_astro_turn_t  *turn;
    u_char                   md[EVP_MAX_MD_SIZE];
    u_char                   buf[NGX_ASTRO_TURN_NAME];

    *p++ = '[';

    turn = ngx_astro.conf->turn;

    if (turn == NULL) {
        *p++ = ']';
        return p;
    }

    start = p;
    p = ngx_astro_ice_urls(p, turn, 0);

    if (turn->secret.len == 0) {
        *p++ = ']';
        return p;
    }

    name.data = buf;
    name.len = ngx_sprintf(buf, "%T:u_%uL", ngx_time() + turn->ttl, user)
               - buf;

    if (HMAC(EVP_sha1(), turn->secret.data, (int) turn->secret.len, name.data,
             name.len, md, &len)
        == NULL)
    {
        *p++ = ']';
        return p;
    }

    if (p != start) {
        *p++ = ',';
    }

    p = ngx_astro_ice_urls(p, turn, 1);
    p = ngx_sprintf(p - 1, ",\"username\":\"%V\",\"credential\":\"", &name);

    mac.data = md;
    mac.len = len;
    text.data = p;

    ngx_encode_base64(&text, &mac);

    p += text.len;
    *p++ = '"';
    *p++ = '}';
    *p++ = ']';

    return p;
}


/* Nothing, if there are none. */

static u_char *
ngx_astro_ice_urls(u_char *p, const ngx_astro_turn_t *turn, ngx_uint_t relays)
{
    ngx_uint_t  i, n;

    n = 0;

    for (i = 0; i < turn->n; i++) {

        if (ngx_astro_turn_relays(&turn->uri[i]) == relays) {
            p = ngx_sprintf(p, "%s\"%V\"", n++ ? "," : "{\"urls\":[",
                            &turn->uri[i]);
        }
    }

    return n ? ngx_cpymem(p, "]}", 2) : p;
}
