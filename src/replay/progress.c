/*
 * progress.c
 *	  How far the replays of all sessions are: policy.replay_progress.
 *
 * What a transaction writes nobody else sees while it runs, and so this is in shared
 * memory: a small block of the server's slop, made by whoever comes first, under
 * AddinShmemInitLock, which also guards who has a slot.  A slot is its replay's to
 * write (a session has several where its query of jobs replays others); a reader may
 * see a number that is just being changed.  An abort gives it back, by the memory
 * context that the replay ends with, and a crash all of them.
 */
#include "postgres.h"

#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "replay/progress.h"
#include "rows.h"

PG_FUNCTION_INFO_V1(policy_replays);

/* The name has the layout's version: another one needs a block of its own. */
#define BLOCK_NAME "policy_engine replays 1"
#define SLOTS 16
#define SNAPSHOT_BYTES 128

struct PolicyProgress
{
	int			pid;			/* 0: free */
	Oid			database;
	int64		simulation_id;
	TimestampTz started_at;
	int64		expected;
	volatile int64 jobs;
	char		snapshot[SNAPSHOT_BYTES];
};

static PolicyProgress *slots = NULL;

static void
init_slots(void *block)
{
	memset(block, 0, sizeof(PolicyProgress) * SLOTS);
}

/*
 * Attaches to the block; false where there is no room for it, of which nothing is
 * left: no caller holds a lock of this kind.
 */
static bool
attach(void)
{
	MemoryContext caller = CurrentMemoryContext;
	bool		found;

	if (slots != NULL)
		return true;
	PG_TRY();
	{
		slots = policy_shared_block(BLOCK_NAME, sizeof(PolicyProgress) * SLOTS, init_slots, &found);
	}
	PG_CATCH();
	{
		LWLockReleaseAll();
		MemoryContextSwitchTo(caller);
		FlushErrorState();
	}
	PG_END_TRY();
	return slots != NULL;
}

PolicyProgress *
policy_progress_begin(int64 simulation_id, const char *snapshot, double expected)
{
	PolicyProgress *mine = NULL;

	if (!attach())
		return NULL;
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	for (int i = 0; i < SLOTS && mine == NULL; i++)
	{
		if (slots[i].pid == 0)
			mine = &slots[i];
	}
	if (mine != NULL)
	{
		mine->database = MyDatabaseId;
		mine->simulation_id = simulation_id;
		mine->started_at = GetCurrentTimestamp();
		mine->expected = (int64) expected;
		mine->jobs = 0;
		strlcpy(mine->snapshot, snapshot,
				1 + pg_mbcliplen(snapshot, strlen(snapshot), SNAPSHOT_BYTES - 1));
		mine->pid = MyProcPid;
	}
	LWLockRelease(AddinShmemInitLock);
	return mine;
}

void
policy_progress_set(PolicyProgress *progress, int64 jobs)
{
	if (progress != NULL)
		progress->jobs = jobs;
}

void
policy_progress_end(PolicyProgress *progress)
{
	if (progress != NULL)
		progress->pid = 0;
}

/* policy.replays() */
Datum
policy_replays(PG_FUNCTION_ARGS)
{
	TupleDesc	tupdesc;
	Tuplestorestate *rows = policy_begin_rows(fcinfo, &tupdesc);

	if (!attach())
		return (Datum) 0;
	LWLockAcquire(AddinShmemInitLock, LW_SHARED);
	for (int i = 0; i < SLOTS; i++)
	{
		Datum		values[6];
		bool		nulls[6] = {false};

		if (slots[i].pid == 0 || slots[i].database != MyDatabaseId)
			continue;
		values[0] = Int32GetDatum(slots[i].pid);
		values[1] = Int64GetDatum(slots[i].simulation_id);
		values[2] = CStringGetTextDatum(slots[i].snapshot);
		values[3] = TimestampTzGetDatum(slots[i].started_at);
		values[4] = Int64GetDatum(slots[i].jobs);
		values[5] = Int64GetDatum(slots[i].expected);
		tuplestore_putvalues(rows, tupdesc, values, nulls);
	}
	LWLockRelease(AddinShmemInitLock);
	return (Datum) 0;
}
