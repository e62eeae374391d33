
/*
 * Copyright (C) The Astro authors
 *
 * A red-black tree by user, and a queue in the order in which they were noted.
 */

#include "ngx_astro_barred.h"
#include "ngx_astro_users.h"


typedef struct {
    ngx_rbtree_node_t   node;           /* key: the user */
    ngx_queue_t         link;
    int64_t             valid_from;
    ngx_uint_t          blocked;
} ngx_astro_barred_t;


static ngx_astro_barred_t *ngx_astro_barred_find(uint64_t user);
static void ngx_astro_barred_drop(ngx_astro_barred_t *b);
static void ngx_astro_barred_one(ngx_astro_conn_t *conn, void *ctx);


static ngx_rbtree_t       ngx_astro_barred_tree;
static ngx_rbtree_node_t  ngx_astro_barred_sentinel;
static ngx_queue_t        ngx_astro_barred_queue;
static ngx_uint_t         ngx_astro_nbarred;


void
ngx_astro_barred_init(void)
{
    ngx_rbtree_init(&ngx_astro_barred_tree, &ngx_astro_barred_sentinel,
                    ngx_rbtree_insert_value);
    ngx_queue_init(&ngx_astro_barred_queue);
}


/* Twice as long as tokens live: a reload may have shortened that. */

time_t
ngx_astro_barred_window(void)
{
    return ngx_astro.conf->token_ttl * 2;
}


static ngx_astro_barred_t *
ngx_astro_barred_find(uint64_t user)
{
    ngx_rbtree_node_t  *node;

    node = ngx_astro_barred_tree.root;

    while (node != &ngx_astro_barred_sentinel) {
        if (node->key == user) {
            return (ngx_astro_barred_t *) node;
        }

        node = user < node->key ? node->left : node->right;
    }

    return NULL;
}


static void
ngx_astro_barred_drop(ngx_astro_barred_t *b)
{
    ngx_queue_remove(&b->link);
    ngx_rbtree_delete(&ngx_astro_barred_tree, &b->node);
    ngx_astro_nbarred--;
    ngx_free(b);
}


void
ngx_astro_barred_note(uint64_t user, ngx_uint_t blocked, int64_t valid_from)
{
    ngx_queue_t         *q;
    ngx_astro_barred_t  *b, said;

    b = ngx_astro_barred_find(user);

    if (!blocked && valid_from == 0) {
        if (b) {
            ngx_astro_barred_drop(b);
        }

        return;
    }

    said.blocked = blocked;
    said.valid_from = valid_from;

    ngx_astro_users_each(user, ngx_astro_barred_one, &said);

    if (b == NULL) {
        if (ngx_astro_nbarred == NGX_ASTRO_BARRED_MAX) {
            q = ngx_queue_head(&ngx_astro_barred_queue);
            ngx_astro_barred_drop(ngx_queue_data(q, ngx_astro_barred_t, link));
        }

        b = ngx_alloc(sizeof(ngx_astro_barred_t), ngx_astro.log);

        if (b == NULL) {
            return;
        }

        b->node.key = user;
        ngx_rbtree_insert(&ngx_astro_barred_tree, &b->node);
        ngx_queue_insert_tail(&ngx_astro_barred_queue, &b->link);
        ngx_astro_nbarred++;
    }

    b->blocked = blocked;
    b->valid_from = valid_from;
}


static void
ngx_astro_barred_one(ngx_astro_conn_t *conn, void *ctx)
{
    ngx_astro_barred_t  *said = ctx;

    if (conn->signed_in) {
        (void) ngx_astro_barred_conn(conn, said->blocked, said->valid_from);
    }
}


ngx_uint_t
ngx_astro_barred_conn(ngx_astro_conn_t *conn, ngx_uint_t blocked,
    int64_t valid_from)
{
    if (blocked) {
        ngx_astro_count(BARRED);
        ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_FORBIDDEN, "blocked", "stop",
                           0);
        return 1;
    }

    if (conn->token_iat < valid_from) {
        ngx_astro_count(BARRED);
        ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_AUTH, "token revoked", "stop",
                           0);
        return 1;
    }

    return 0;
}


ngx_uint_t
ngx_astro_barred(uint64_t user, int64_t iat)
{
    ngx_astro_barred_t  *b;

    b = ngx_astro_nbarred ? ngx_astro_barred_find(user) : NULL;

    return b && (b->blocked || iat < b->valid_from);
}
