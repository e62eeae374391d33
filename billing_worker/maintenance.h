
/*
 * Copyright (C) The Astro authors
 *
 * Maintenance of the journal: billing.maintain() now and then.  It makes
 * partitions ahead and rolls up old ones; of all workers one does it, and
 * which is the database's affair.
 */

#ifndef _BILLING_MAINTENANCE_H_INCLUDED_
#define _BILLING_MAINTENANCE_H_INCLUDED_


typedef struct billing_worker_s       billing_worker_t;
typedef struct billing_maintenance_s  billing_maintenance_t;


int billing_maintenance_start(billing_worker_t *w);
void billing_maintenance_stop(billing_worker_t *w);


#endif /* _BILLING_MAINTENANCE_H_INCLUDED_ */
