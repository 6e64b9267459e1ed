/*
 * counters.h
 *	  Rates that all sessions share, by key, in shared memory.
 *
 * They belong to the server: a restart begins anew, and a standby has none.
 */
#ifndef POLICY_COUNTERS_H
#define POLICY_COUNTERS_H

#include "datatype/timestamp.h"

typedef enum CounterState
{
	COUNTER_UNKNOWN,			/* it cannot be read */
	COUNTER_ADMITS,
	COUNTER_EXCEEDED,
	COUNTER_REFUSED				/* there is no room for it */
} CounterState;

typedef enum CounterUse
{
	COUNTER_READ,
	COUNTER_CHARGE,				/* whatever it says */
	COUNTER_CHARGE_ADMITTED,	/* where it admits the request, which else
								 * gets into line */
	COUNTER_CHARGE_RETURNING	/* the same, of one that was in line */
} CounterUse;

/* Longer keys are refused. */
#define COUNTER_MAX_KEY 4096

/*
 * Asks the counter of a key of this database about a request at a time, which is
 * about now, and charges it in the same moment.  *wait is set for EXCEEDED: in how
 * many seconds a request will next be admitted, after those that are in line, but not
 * more than an hour because of them; at least 1.  Raises nothing but for a cancelled
 * query.
 */
extern CounterState counters_ask(const char *key, int keylen, int window_seconds, int64 limit,
								 TimestampTz at, CounterUse use, int *wait);

#endif							/* POLICY_COUNTERS_H */
