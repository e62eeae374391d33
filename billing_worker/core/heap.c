
/*
 * Copyright (C) The Astro authors
 *
 * The timer heap: see heap.h.
 */

#include <stdlib.h>

#include "heap.h"
#include "tariff.h"


#define BILLING_HEAP_FIRST  64


static void billing_heap_up(billing_heap_t *h, size_t i);
static void billing_heap_down(billing_heap_t *h, size_t i);
static void billing_heap_put(billing_heap_t *h, size_t i,
    billing_heap_node_t *node);
static int billing_heap_before(const billing_heap_node_t *a,
    const billing_heap_node_t *b);


void
billing_heap_init(billing_heap_t *h)
{
    h->nodes = NULL;
    h->n = 0;
    h->size = 0;
}


void
billing_heap_free(billing_heap_t *h)
{
    size_t  i;

    for (i = 0; i < h->n; i++) {
        h->nodes[i]->place = 0;
    }

    free(h->nodes);

    billing_heap_init(h);
}


int
billing_heap_set(billing_heap_t *h, billing_heap_node_t *node, int64_t key)
{
    size_t                 size;
    billing_heap_node_t  **nodes;

    node->key = key;

    if (node->place == 0) {

        if (h->n == h->size) {
            size = h->size ? h->size * 2 : BILLING_HEAP_FIRST;

            nodes = realloc(h->nodes, size * sizeof(billing_heap_node_t *));
            if (nodes == NULL) {
                return BILLING_ERROR;
            }

            h->nodes = nodes;
            h->size = size;
        }

        billing_heap_put(h, h->n++, node);
    }

    billing_heap_up(h, node->place - 1);
    billing_heap_down(h, node->place - 1);

    return BILLING_OK;
}


void
billing_heap_remove(billing_heap_t *h, billing_heap_node_t *node)
{
    size_t                i;
    billing_heap_node_t  *last;

    if (node->place == 0) {
        return;
    }

    i = node->place - 1;
    node->place = 0;

    last = h->nodes[--h->n];

    if (last == node) {
        return;
    }

    billing_heap_put(h, i, last);
    billing_heap_up(h, i);
    billing_heap_down(h, last->place - 1);
}


billing_heap_node_t *
billing_heap_min(billing_heap_t *h)
{
    return h->n ? h->nodes[0] : NULL;
}


static void
billing_heap_up(billing_heap_t *h, size_t i)
{
    size_t                parent;
    billing_heap_node_t  *node;

    node = h->nodes[i];

    while (i > 0) {
        parent = (i - 1) / 2;

        if (!billing_heap_before(node, h->nodes[parent])) {
            break;
        }

        billing_heap_put(h, i, h->nodes[parent]);
        i = parent;
    }

    billing_heap_put(h, i, node);
}


static void
billing_heap_down(billing_heap_t *h, size_t i)
{
    size_t                child;
    billing_heap_node_t  *node;

    node = h->nodes[i];

    for ( ;; ) {
        child = 2 * i + 1;

        if (child >= h->n) {
            break;
        }

        if (child + 1 < h->n
            && billing_heap_before(h->nodes[child + 1], h->nodes[child]))
        {
            child++;
        }

        if (!billing_heap_before(h->nodes[child], node)) {
            break;
        }

        billing_heap_put(h, i, h->nodes[child]);
        i = child;
    }

    billing_heap_put(h, i, node);
}


static void
billing_heap_put(billing_heap_t *h, size_t i, billing_heap_node_t *node)
{
    h->nodes[i] = node;
    node->place = i + 1;
}


static int
billing_heap_before(const billing_heap_node_t *a, const billing_heap_node_t *b)
{
    return (a->key != b->key) ? a->key < b->key : a->rank < b->rank;
}
