
/*
 * Copyright (C) The Astro authors
 *
 * A binary heap of timers.  Nodes live inside the caller's own structs and
 * know their place, so a key moves or a node leaves in O(log n).  The heap
 * owns its array of pointers only; a node must be removed before it is freed.
 * Of equal keys the one with the least rank comes first; rank is the caller's,
 * and does not change while the node is in.
 */

#ifndef _BILLING_HEAP_H_INCLUDED_
#define _BILLING_HEAP_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


typedef struct {
    int64_t                key;
    int64_t                rank;
    size_t                 place;      /* index + 1; 0: in no heap */
} billing_heap_node_t;

typedef struct {
    billing_heap_node_t  **nodes;
    size_t                 n;
    size_t                 size;
} billing_heap_t;


void billing_heap_init(billing_heap_t *h);
void billing_heap_free(billing_heap_t *h);

/* Puts the node in, or moves it if it is in.  BILLING_ERROR: no memory. */
int billing_heap_set(billing_heap_t *h, billing_heap_node_t *node,
    int64_t key);

/* Does nothing if the node is in no heap. */
void billing_heap_remove(billing_heap_t *h, billing_heap_node_t *node);

/* The node with the least key, still in; NULL if the heap is empty. */
billing_heap_node_t *billing_heap_min(billing_heap_t *h);


#endif /* _BILLING_HEAP_H_INCLUDED_ */
