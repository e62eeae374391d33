
/*
 * Copyright (C) The Astro authors
 *
 * A red-black tree by the first half of the id, which is random, and a queue in
 * the order in which they were noted.
 */

#include "ngx_astro_revoked.h"
#include "ngx_astro_users.h"


typedef struct {
    ngx_rbtree_node_t   node;           /* key: the first half */
    ngx_queue_t         link;
    ngx_astro_token_id_t  id;
    time_t              until;
} ngx_astro_revoked_t;


static ngx_int_t ngx_astro_revoked_parse(const u_char *text, size_t len,
    ngx_astro_token_id_t *id);
static ngx_astro_revoked_t *ngx_astro_revoked_find(
    const ngx_astro_token_id_t *id);
static void ngx_astro_revoked_drop(ngx_astro_revoked_t *v);
static void ngx_astro_revoked_one(ngx_astro_conn_t *conn, void *ctx);


static ngx_rbtree_t       ngx_astro_revoked_tree;
static ngx_rbtree_node_t  ngx_astro_revoked_sentinel;
static ngx_queue_t        ngx_astro_revoked_queue;
static ngx_uint_t         ngx_astro_nrevoked;


void
ngx_astro_revoked_init(void)
{
    ngx_rbtree_init(&ngx_astro_revoked_tree, &ngx_astro_revoked_sentinel,
                    ngx_rbtree_insert_value);
    ngx_queue_init(&ngx_astro_revoked_queue);
}


/* "" is the id of no token: 0, 0 */

static ngx_int_t
ngx_astro_revoked_parse(const u_char *text, size_t len,
    ngx_astro_token_id_t *id)
{
    off_t  n;

    id->a = 0;
    id->b = 0;

    if (len != ASTRO_JWT_JTI) {
        return NGX_ERROR;
    }

    /* halves of halves: ngx_hextoi() is for what fits a signed one */

#define ngx_astro_revoked_part(i)                                             \
    (n = ngx_hextoi((u_char *) text + (i) * 8, 8), (uint64_t) n)

    id->a = ngx_astro_revoked_part(0) << 32;
    id->a |= ngx_astro_revoked_part(1);
    id->b = ngx_astro_revoked_part(2) << 32;
    id->b |= ngx_astro_revoked_part(3);

    return id->a || id->b ? NGX_OK : NGX_ERROR;
}


static ngx_astro_revoked_t *
ngx_astro_revoked_find(const ngx_astro_token_id_t *id)
{
    ngx_rbtree_node_t    *node;
    ngx_astro_revoked_t  *v;

    node = ngx_astro_revoked_tree.root;

    while (node != &ngx_astro_revoked_sentinel) {

        if (node->key == id->a) {
            v = (ngx_astro_revoked_t *) node;

            if (v->id.b == id->b) {
                return v;
            }
        }

        /* equal keys are on the right */

        node = id->a < node->key ? node->left : node->right;
    }

    return NULL;
}


static void
ngx_astro_revoked_drop(ngx_astro_revoked_t *v)
{
    ngx_queue_remove(&v->link);
    ngx_rbtree_delete(&ngx_astro_revoked_tree, &v->node);
    ngx_astro_nrevoked--;
    ngx_free(v);
}


void
ngx_astro_revoked_note(uint64_t user, const u_char *text, size_t len,
    time_t until)
{
    ngx_queue_t          *q;
    ngx_astro_revoked_t  *v, *oldest;
    ngx_astro_token_id_t  id;

    if (ngx_astro_revoked_parse(text, len, &id) != NGX_OK
        || until <= ngx_time())
    {
        return;
    }

    v = ngx_astro_revoked_find(&id);

    if (v) {
        /* another token of the same login may be good for longer */
        v->until = ngx_max(v->until, until);
        return;
    }

    /* of those noted first most have expired */

    while (!ngx_queue_empty(&ngx_astro_revoked_queue)) {
        q = ngx_queue_head(&ngx_astro_revoked_queue);
        oldest = ngx_queue_data(q, ngx_astro_revoked_t, link);

        if (oldest->until > ngx_time()
            && ngx_astro_nrevoked < NGX_ASTRO_REVOKED_MAX)
        {
            break;
        }

        ngx_astro_revoked_drop(oldest);
    }

    v = ngx_alloc(sizeof(ngx_astro_revoked_t), ngx_astro.log);

    if (v) {
        v->id = id;
        v->until = until;
        v->node.key = id.a;
        ngx_rbtree_insert(&ngx_astro_revoked_tree, &v->node);
        ngx_queue_insert_tail(&ngx_astro_revoked_queue, &v->link);
        ngx_astro_nrevoked++;
    }

    ngx_astro_users_each(user, ngx_astro_revoked_one, &id);
}


static void
ngx_astro_revoked_one(ngx_astro_conn_t *conn, void *ctx)
{
    ngx_astro_token_id_t  *id = ctx;

    if ((conn->token_sid.a == id->a && conn->token_sid.b == id->b)
        || (conn->token_jti.a == id->a && conn->token_jti.b == id->b))
    {
        ngx_astro_count(BARRED);
        ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_AUTH, "token revoked", "stop",
                           0);
    }
}


ngx_uint_t
ngx_astro_revoked(const astro_claims_t *claims)
{
    ngx_astro_token_id_t  id;

    if (ngx_astro_nrevoked == 0) {
        return 0;
    }

    if (ngx_astro_revoked_parse((u_char *) claims->sid,
                                ngx_strlen(claims->sid), &id)
        == NGX_OK
        && ngx_astro_revoked_find(&id))
    {
        return 1;
    }

    return ngx_astro_revoked_parse((u_char *) claims->jti,
                                   ngx_strlen(claims->jti), &id)
           == NGX_OK
           && ngx_astro_revoked_find(&id);
}


void
ngx_astro_revoked_keep(ngx_astro_conn_t *conn, const astro_claims_t *claims)
{
    (void) ngx_astro_revoked_parse((u_char *) claims->sid,
                                   ngx_strlen(claims->sid), &conn->token_sid);
    (void) ngx_astro_revoked_parse((u_char *) claims->jti,
                                   ngx_strlen(claims->jti), &conn->token_jti);
}
