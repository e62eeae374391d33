
/*
 * Copyright (C) The Astro authors
 *
 * What systemd is told (sd_notify's protocol, without its library): that we are
 * ready, reload, stop; and, while all goes as it should, that we live.
 */

#ifndef _BILLING_NOTIFY_H_INCLUDED_
#define _BILLING_NOTIFY_H_INCLUDED_


#include "worker.h"


/* Do nothing without $NOTIFY_SOCKET. */
int billing_notify_start(billing_worker_t *w);
void billing_notify_stop(billing_worker_t *w);

void billing_notify_reloading(billing_worker_t *w);
void billing_notify_reloaded(billing_worker_t *w);
void billing_notify_stopping(billing_worker_t *w);


#endif /* _BILLING_NOTIFY_H_INCLUDED_ */
