/*
 * replay_query.h
 *	  Running a query of jobs, and replaying what it yields.
 */
#ifndef POLICY_REPLAY_QUERY_H
#define POLICY_REPLAY_QUERY_H

#include "replay/progress.h"
#include "replay/replay_run.h"

typedef struct ReplayQuery
{
	ReplayRun  *run;
	ReplayCounts counts;
	int64		simulation_id;
	const char *candidate;
	const char *base;			/* or NULL */
	TimestampTz present;
	TimestampTz since;			/* the window, of recorded jobs: $1 of their
								 * query */
	TimestampTz until;			/* and $2 */
	TimestampTz deadline;		/* no job is begun after it; DT_NOEND: none */
	MemoryContext row_context;	/* reset for each job */
	RowBatch   *flips;			/* NULL: they are only counted */
	int64		nflips;
	PolicyProgress *progress;	/* NULL: it is not shown */
	MemoryContextCallback ended;
} ReplayQuery;

/*
 * Begins a replay in the current memory context; simulation_id is NULL where flips are
 * not to be kept.  Raises PE002 for an unknown snapshot.
 */
extern ReplayQuery *replay_query_begin(const int64 *simulation_id, text *candidate, text *base,
									   TimestampTz present, bool recorded);

/*
 * Runs a query as the current user, read-only, with SPI connected; counts, and writes
 * flips.  Raises datatype_mismatch where it does not yield jobs.
 */
extern void replay_query_run(ReplayQuery *query, const char *text);

#endif							/* POLICY_REPLAY_QUERY_H */
