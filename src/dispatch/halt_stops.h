/*
 * halt_stops.h
 *	  Jobs of policy.jobs that halts have stopped: out of the queue, and in evidence.
 */
#ifndef POLICY_HALT_STOPS_H
#define POLICY_HALT_STOPS_H

#include "dispatch/halts.h"
#include "dispatch/job_row.h"

/* Locked jobs and the halts that stop them, in the current memory context. */
typedef struct HaltStops
{
	Datum	   *halt_ids;
	Datum	   *job_ids;
	PolicyHalt *halts;
	Jsonb	  **jobs;
	int			count;
	int			capacity;
} HaltStops;

/* Where in the queue a claim is: what it has yet to look at comes after that. */
typedef struct QueuePlace
{
	TimestampTz at;
	int64		job_id;
} QueuePlace;

extern const QueuePlace queue_head;

/* The place of a job in the queue. */
extern QueuePlace queue_place_of(const JobRow *row);

/*
 * Adds a locked job where a halt in force covers it; between policy_halts_check() and
 * policy_halts_release().
 */
extern bool halt_stops_add(HaltStops *stops, const JobRow *row, Jsonb *job, const char *invalid);

/* Takes them out of the queue, and records each job and halt once; in a scope. */
extern void halt_stops_apply(HaltStops *stops);

/*
 * Goes through the queue from a place on, and stops what is covered there without
 * touching the rest, for as long as most of it is; looks at `most` jobs first.
 * Returns a place before which nothing is left.
 */
extern QueuePlace halt_stops_sweep(QueuePlace from, int most);

/* Puts jobs back in the queue whose halts were resumed, a batch of them. */
extern void halt_stops_return(void);

#endif							/* POLICY_HALT_STOPS_H */
