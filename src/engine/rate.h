/*
 * rate.h
 *	  How many requests the last so many seconds had: a counter of fixed size, and
 *	  what it is a counter of.
 *
 * Time is cut into sub-buckets, 16 to a window, and the counter has the number of
 * charges in each.  A charge counts until the sub-bucket that is a whole window
 * after its own has ended: for a window at least, and for 1/16 of one longer at most.
 * So whoever charges only what is admitted never admits more than the limit in
 * any window of that length, wherever it begins.
 *
 * Requests come in nearly the order of their times: who read the clock first may be
 * the last to be counted.  So what is later than a request counts against it, and
 * almost two windows are kept.  A request that is late by more than what is kept
 * beyond one window is not admitted; where that is because the clock was set back,
 * rate_set_back() goes on from there.
 *
 * Everything here is a function of its arguments; whoever shares a Rate locks it.
 */
#ifndef POLICY_RATE_H
#define POLICY_RATE_H

#include "lib/stringinfo.h"

#include "engine/job.h"

#define RATE_SUB_BUCKETS 16
#define RATE_KEPT 32			/* a power of two: numbers wrap around */

/* Zeroed, nothing was charged.  Its window is its owner's to know. */
typedef struct Rate
{
	int64		latest;			/* the number of the latest sub-bucket */
	uint32		charges[RATE_KEPT]; /* by number, round and round */
} Rate;

/* Whether a request comes too late to be told how many there were before it. */
extern bool rate_is_late(const Rate *rate, int window_seconds, TimestampTz at);

/* All that is kept counts as charged at a time, which is late. */
extern void rate_set_back(Rate *rate, int window_seconds, TimestampTz at);

/* Whether one more request is within the limit at a time. */
extern bool rate_admits(const Rate *rate, int window_seconds, int64 limit, TimestampTz at);

/* Counts one request; a late one as late as may be. */
extern void rate_charge(Rate *rate, int window_seconds, TimestampTz at);

/*
 * In how many seconds, rounded up, a request would be admitted if none were charged
 * until then; 0 where one is now.
 */
extern int	rate_wait(const Rate *rate, int window_seconds, int64 limit, TimestampTz at);

/* The same, where some others are ahead, charged as soon as they are admitted. */
extern int	rate_wait_in_line(const Rate *rate, int window_seconds, int64 limit, int64 ahead,
							  TimestampTz at);

/* Whether nothing that was charged counts any more. */
extern bool rate_is_idle(const Rate *rate, int window_seconds, TimestampTz at);

/*
 * Appends what tells one counter of a rule from another: the rule's id, the window,
 * and the job's value of each part of the velocity's key, an absent one being empty.
 * All have their lengths before them, and so no two keys can look alike.
 */
extern void rate_key(StringInfo key, const char *rule_id, const PolicyVelocity *velocity,
					 const Job *job);

#endif							/* POLICY_RATE_H */
