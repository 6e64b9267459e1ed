/*
 * replay_run.h
 *	  A replay under way: from rows of jobs to rows of flips.
 */
#ifndef POLICY_REPLAY_RUN_H
#define POLICY_REPLAY_RUN_H

#include "access/htup.h"
#include "access/tupdesc.h"

#include "dispatch/row_writer.h"
#include "replay/replay.h"

/* The columns of policy.simulation_flips: sql/70_replay.sql creates them in this order. */
enum
{
	FLIP_SIMULATION_ID,
	FLIP_FLIP,
	FLIP_DECISION_ID,
	FLIP_DECIDED_AT,
	FLIP_JOB_TABLE,
	FLIP_JOB_KEY,
	FLIP_TENANT_ID,
	FLIP_ACTOR_ID,
	FLIP_TOPIC,
	FLIP_JOB,
	FLIP_EVALUATED_AT,
	FLIP_KIND,
	FLIP_WHY,
	FLIP_FROM_DECISION,
	FLIP_TO_DECISION,
	FLIP_FROM_RULE,
	FLIP_TO_RULE,
	FLIP_FROM_REASON,
	FLIP_TO_REASON,
	FLIP_FROM_CONSTRAINTS,
	FLIP_TO_CONSTRAINTS,
	FLIP_NCOLUMNS
};

/* The columns of a query of recorded jobs; a user's has the first two alone. */
enum
{
	SOURCE_JOB,
	SOURCE_TIME,
	SOURCE_DECISION_ID,
	SOURCE_JOB_TABLE,
	SOURCE_JOB_KEY,
	SOURCE_DECISION,
	SOURCE_SNAPSHOT,
	SOURCE_UNAVAILABLE,
	SOURCE_NCOLUMNS
};

/* A row of such a query; what it does not have is NULL. */
typedef struct SourceRow
{
	Datum		values[SOURCE_NCOLUMNS];
	bool		nulls[SOURCE_NCOLUMNS];
} SourceRow;

/* A row of flips, but for the simulation's id and its number in it. */
typedef struct FlipRow
{
	Datum		values[FLIP_NCOLUMNS];
	bool		nulls[FLIP_NCOLUMNS];
} FlipRow;

typedef struct ReplayRun
{
	Replay		replay;
	bool		recorded;		/* the query is of recorded jobs */
	TimestampTz since;			/* earlier ones only charge counters */
	Oid			decisions[POLICY_NDECISIONS];
	CompiledPolicy *masking;	/* that of the snapshot below, pinned; or NULL */
	char	   *masking_snapshot;
	CompiledPolicy *base;		/* pinned */
	CompiledPolicy *candidate;	/* pinned */
	MemoryContextCallback release;
} ReplayRun;

/*
 * Begins, in the current memory context, which unpins the policies when it goes.
 * base may be NULL: nothing, which denies.  Raises PE002 for an unknown snapshot.
 */
extern ReplayRun *replay_run_begin(text *candidate, text *base, TimestampTz present,
								   bool recorded);

/*
 * Replays a row's job, in the current memory context.  Returns false where it only
 * charges counters: nothing is then set.  Where it flips, *row is set.
 */
extern bool replay_run_row(ReplayRun *run, const SourceRow *source, ReplayOutcome *outcome,
						   FlipRow *row);

#endif							/* POLICY_REPLAY_RUN_H */
