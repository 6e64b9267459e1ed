/*
 * halts.c
 *	  Halts: what they cover does not start.
 *
 * A session keeps the halts in force, as newest.c keeps the newest release: read under
 * a catalog snapshot, so that it is what is committed, and good until there is a
 * relcache invalidation of policy.halt_signal, which an ALWAYS trigger of policy.halts
 * sends.  It is sent before the locks of the halt's transaction go, so that who has
 * waited for these has it.  What this very transaction has written is read each time.
 *
 * CHECK and START are locks of policy.halt_signal, in modes that PostgreSQL gives out
 * without the shared lock table; AGAIN is one of an object that only the lock knows.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "dispatch/halt_scope.h"
#include "dispatch/halts.h"
#include "store/notify.h"
#include "store/table.h"

/* The columns of policy.halts: sql/57_halts.sql creates them in this order. */
enum
{
	HALT_ID = 1,
	HALT_SCOPE,
	HALT_REASON,
	HALT_HALTED_BY,
	HALT_HALTED_AT,
	HALT_RESUMED_BY,
	HALT_RESUMED_AT
};

static const Oid column_types[] = {
	INT8OID, JSONBOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID, TIMESTAMPTZOID
};

/* RowExclusiveLock and ShareRowExclusiveLock conflict; RowShareLock and these do not. */
#define CHECK_LOCK RowExclusiveLock
#define CHECK_LOCK_OF_HALT ShareRowExclusiveLock
#define START_LOCK RowShareLock
/* What those conflict with that have START. */
#define CONFLICTS_WITH_START ExclusiveLock
#define AGAIN_LOCK ShareLock
#define AGAIN_LOCK_OF_HALT ExclusiveLock

/* So long a halt waits for transactions that have started jobs. */
#define PATIENCE_MS 5000
#define POLL_MS 5

typedef struct HaltInForce
{
	int64		halt_id;
	const char *reason;
	HaltScope	scope;
} HaltInForce;

typedef struct KnownHalts
{
	MemoryContext context;		/* of all below */
	bool		valid;
	uint64		signals;
	bool		leave_jobs;		/* resumed ones may have left jobs aside */
	HaltInForce *items;			/* by id */
	int			count;
} KnownHalts;

static KnownHalts known;
static uint64 signals = 1;
static PolicyRelation signal_relation = {.name = "halt_signal"};
static Oid	watched[2];			/* the signal, and policy.halts */

/* The transaction that has START. */
static LocalTransactionId starts_in = InvalidLocalTransactionId;

/* This transaction has made a halt. */
static bool halts_at_commit = false;

PG_FUNCTION_INFO_V1(policy_halt_changed);
PG_FUNCTION_INFO_V1(policy_halt_of);

static void
relation_changed(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || relid == watched[0] || relid == watched[1])
		signals++;
}

static LOCKTAG
signal_tag(void)
{
	LOCKTAG		tag;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, watched[0]);
	return tag;
}

static LOCKTAG
again_tag(void)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId, watched[0], 1);
	return tag;
}

void
policy_halts_signal(void)
{
	signals++;
	watched[0] = policy_relation_known(&signal_relation);
	CacheInvalidateRelcacheByRelid(watched[0]);
}

/* The row trigger of policy.halts. */
Datum
policy_halt_changed(PG_FUNCTION_ARGS)
{
	static PolicyRelation halts = {.name = "halts"};
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	bool		isnull;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("policy.halt_changed() was called as another trigger than it is"),
				 errhint("The extension's triggers are made by CREATE EXTENSION alone.")));
	policy_check_trigger_table(trigger->tg_relation, &halts);
	policy_check_columns("halts", RelationGetDescr(trigger->tg_relation), column_types,
						 lengthof(column_types));
	policy_halts_signal();
	policy_notify(POLICY_CHANNEL_HALTS,
				  DatumGetInt64(heap_getattr(trigger->tg_trigtuple, HALT_ID,
											 RelationGetDescr(trigger->tg_relation), &isnull)));
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		halts_at_commit = true;
	return PointerGetDatum(NULL);
}

/* Waits for those that have START; returns how many are left. */
static int
wait_for_starts(void)
{
	LOCKTAG		tag = signal_tag();
	int			count;
	VirtualTransactionId *holders = GetLockConflicts(&tag, CONFLICTS_WITH_START, &count);
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), PATIENCE_MS);
	int			left = 0;

	for (int i = 0; i < count; i++)
	{
		while (!VirtualXactLock(holders[i], false))
		{
			if (GetCurrentTimestamp() >= until)
			{
				left++;
				break;
			}
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							 POLL_MS, PG_WAIT_EXTENSION);
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
		}
	}
	return left;
}

/* The last that a halt does before its commit: see halts.h. */
static void
stop_starts(void)
{
	LOCKTAG		again = again_tag();
	int			left;

	LockRelationOid(watched[0], CHECK_LOCK_OF_HALT);
	left = wait_for_starts();
	if (left > 0)
		ereport(WARNING,
				(errmsg_plural("%d transaction that has started jobs is still open",
							   "%d transactions that have started jobs are still open", left, left),
				 errdetail("The halt is in force. What these have started was handed out before it, and goes on."),
				 errhint("SELECT pid FROM pg_locks WHERE relation = 'policy.halt_signal'::regclass AND mode = 'RowShareLock' lists them.")));
	(void) LockAcquire(&again, AGAIN_LOCK_OF_HALT, false, false);
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	if ((event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE) && halts_at_commit)
		stop_starts();
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
	{
		halts_at_commit = false;
		starts_in = InvalidLocalTransactionId;
	}
}

/* START may have been taken in it, and be gone with it. */
static void
at_subtransaction_end(SubXactEvent event, SubTransactionId my_subid,
					  SubTransactionId parent_subid, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		starts_in = InvalidLocalTransactionId;
}

void
policy_halts_init(void)
{
	CacheRegisterRelcacheCallback(relation_changed, 0);
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
}

/* A row that cannot be read covers everything. */
static void
add_halt(HeapTuple tuple, TupleDesc tupdesc)
{
	HaltInForce *halt;
	const char *hint;
	bool		isnull;
	Datum		scope;

	known.items = known.items == NULL ? palloc(sizeof(HaltInForce)) :
		repalloc(known.items, sizeof(HaltInForce) * (known.count + 1));
	halt = &known.items[known.count];
	halt->halt_id = DatumGetInt64(heap_getattr(tuple, HALT_ID, tupdesc, &isnull));
	halt->reason = TextDatumGetCString(heap_getattr(tuple, HALT_REASON, tupdesc, &isnull));
	scope = heap_getattr(tuple, HALT_SCOPE, tupdesc, &isnull);
	if (halt_scope_read(DatumGetJsonbP(scope), &halt->scope, &hint) != NULL)
		memset(&halt->scope, 0, sizeof(HaltScope));
	known.count++;
}

static int
by_id(const void *a, const void *b)
{
	int64		left = ((const HaltInForce *) a)->halt_id;
	int64		right = ((const HaltInForce *) b)->halt_id;

	return left < right ? -1 : left > right;
}

/* Whether nothing can change a halt without a signal. */
static bool
changes_are_signalled(Relation relation)
{
	static const char *const needed[] = {"halt_changed", "refuse_delete", "refuse_truncate"};
	int			found = 0;

	for (int i = 0; relation->trigdesc != NULL && i < relation->trigdesc->numtriggers; i++)
	{
		const Trigger *trigger = &relation->trigdesc->triggers[i];

		for (int j = 0; j < (int) lengthof(needed); j++)
		{
			if (strcmp(trigger->tgname, needed[j]) == 0 &&
				trigger->tgenabled == TRIGGER_FIRES_ALWAYS)
				found++;
		}
	}
	return found == lengthof(needed);
}

/* Reads all; returns whether what was read may be kept. */
static bool
read_halts(Relation relation)
{
	SysScanDesc scan = systable_beginscan(relation, InvalidOid, false, NULL, 0, NULL);
	bool		committed = true;
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		if (TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(tuple->t_data)))
			committed = false;
		known.leave_jobs = true;
		if (heap_attisnull(tuple, HALT_RESUMED_AT, RelationGetDescr(relation)))
			add_halt(tuple, RelationGetDescr(relation));
	}
	systable_endscan(scan);
	return committed && changes_are_signalled(relation);
}

static void
look_at_halts(void)
{
	MemoryContext caller;
	Relation	relation;
	uint64		before;

	if (known.context == NULL)
		known.context = AllocSetContextCreate(TopMemoryContext, "policy halts",
											  ALLOCSET_SMALL_SIZES);
	known.valid = false;
	known.items = NULL;
	known.count = 0;
	known.leave_jobs = false;
	MemoryContextReset(known.context);
	watched[0] = policy_relation_known(&signal_relation);
	relation = policy_table_open("halts");
	policy_check_columns("halts", RelationGetDescr(relation), column_types,
						 lengthof(column_types));
	watched[1] = RelationGetRelid(relation);
	before = signals;
	caller = MemoryContextSwitchTo(known.context);
	known.valid = read_halts(relation) && before == signals;
	if (known.count > 1)
		qsort(known.items, known.count, sizeof(HaltInForce), by_id);
	MemoryContextSwitchTo(caller);
	table_close(relation, NoLock);
	known.signals = before;
}

bool
policy_halts_look(void)
{
	AcceptInvalidationMessages();
	if (!known.valid || known.signals != signals)
		look_at_halts();
	return known.count > 0;
}

bool
policy_halts_check(bool *again)
{
	watched[0] = policy_relation_known(&signal_relation);
	*again = starts_in == policy_current_lxid();
	if (*again)
	{
		LOCKTAG		tag = again_tag();

		(void) LockAcquire(&tag, AGAIN_LOCK, false, false);
	}
	else
	{
		LockRelationOid(watched[0], CHECK_LOCK);
		LockRelationOid(watched[0], START_LOCK);
		starts_in = policy_current_lxid();
	}
	return policy_halts_look();
}

void
policy_halts_release(bool again)
{
	LOCKTAG		tag = again_tag();

	if (again)
		LockRelease(&tag, AGAIN_LOCK, false);
	else
		UnlockRelationOid(watched[0], CHECK_LOCK);
}

bool
policy_halts_cover(const Job *job, PolicyHalt *halt)
{
	for (int i = 0; i < known.count; i++)
	{
		if (!halt_scope_covers(&known.items[i].scope, job))
			continue;
		halt->halt_id = known.items[i].halt_id;
		halt->reason = pstrdup(known.items[i].reason);
		return true;
	}
	return false;
}

bool
policy_halted(const Job *job, PolicyHalt *halt)
{
	bool		again;
	bool		covered = policy_halts_check(&again) && policy_halts_cover(job, halt);

	policy_halts_release(again);
	return covered;
}

bool
policy_halts_leave_jobs(void)
{
	return known.leave_jobs;
}

void
policy_halts_settled(void)
{
	known.leave_jobs = false;
}

Datum
policy_halts_in_force(void)
{
	Datum	   *ids = palloc(sizeof(Datum) * Max(known.count, 1));

	for (int i = 0; i < known.count; i++)
		ids[i] = Int64GetDatum(known.items[i].halt_id);
	return PointerGetDatum(construct_array(ids, known.count, INT8OID, 8, FLOAT8PASSBYVAL,
										   TYPALIGN_DOUBLE));
}

/* policy.halt_of(job jsonb) */
Datum
policy_halt_of(PG_FUNCTION_ARGS)
{
	TupleDesc	tupdesc;
	Datum		values[2] = {0};
	bool		nulls[2] = {true, true};
	PolicyHalt	halt;
	Job			job;

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (policy_halts_look())
	{
		policy_job_read(PG_GETARG_JSONB_P(0), &job);
		if (policy_halts_cover(&job, &halt))
		{
			values[0] = Int64GetDatum(halt.halt_id);
			values[1] = CStringGetTextDatum(halt.reason);
			memset(nulls, false, sizeof(nulls));
		}
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}
