/*
 * active.c
 *	  The policy in force.
 *
 * What must be seen (docs/sql-api.md, section 2): in READ COMMITTED, and in
 * anything parallel, the newest release that the statement's snapshot sees; in
 * REPEATABLE READ and SERIALIZABLE the newest committed at the statement's start;
 * always this transaction's own releases, and never one that was rolled back.
 *
 * A look reads the newest release and its document's digest, and pins the
 * compiled policy of that digest; where nothing was released since, newest.c knows
 * what it would read.  The session keeps its last look of each kind,
 * with what tells whether another would find the same:
 *
 * BY_SNAPSHOT	the active snapshot's xmin, xmax, xcnt, subxcnt and curcid.  For
 *				one xmax the transactions in progress below it can only become
 *				fewer, so that equal counts mean equal sets (a standby keeps them
 *				in subxip).  That is not enough for own subtransactions: rolling
 *				one back takes its release away under the same curcid.
 * BY_STATEMENT	the transaction's lxid, and when the running portal was made and
 *				from which statement of its text.  Used where transactions have one
 *				snapshot only, and in triggers, whose own queries take newer
 *				snapshots than the statement that fires them.  A call site keeps
 *				its own look besides, for a cursor to go on with after other
 *				statements have run.
 *
 * Both are also bound to `generation`, which every own release and every
 * subtransaction that aborts raises, and both are dropped when the transaction
 * ends.  A failure is never kept.
 *
 * Everything here is the backend's own: no locks.  The callbacks only count and
 * unpin; they may run while a transaction aborts.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "errors.h"
#include "store/active.h"
#include "store/cache.h"
#include "store/newest.h"
#include "store/notify.h"
#include "store/release.h"
#include "store/settings.h"
#include "store/store.h"

typedef enum LookKind
{
	LOOK_BY_SNAPSHOT,
	LOOK_BY_STATEMENT
} LookKind;

#define LOOK_KINDS (LOOK_BY_STATEMENT + 1)

static PolicyLook looks[LOOK_KINDS];
static uint64 generation = 0;

PG_FUNCTION_INFO_V1(policy_release_made);

void
policy_look_forget(PolicyLook *look)
{
	if (look->policy != NULL)
		policy_cache_unpin(look->policy);
	if (look->snapshot != NULL)
		pfree(look->snapshot);
	memset(look, 0, sizeof(PolicyLook));
}

static void
keep_release(PolicyLook *look, int64 release_id, const text *name, CompiledPolicy *policy)
{
	look->policy = policy;
	look->snapshot = MemoryContextAlloc(TopMemoryContext, VARSIZE(name));
	memcpy(look->snapshot, name, VARSIZE(name));
	look->release_id = release_id;
	look->found = true;
	look->valid = true;
}

void
policy_look_copy(PolicyLook *to, const PolicyLook *from)
{
	if (from->found)
		keep_release(to, from->release_id, from->snapshot, policy_cache_pin_again(from->policy));
	to->valid = true;
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT &&
		event != XACT_EVENT_PREPARE && event != XACT_EVENT_PARALLEL_COMMIT &&
		event != XACT_EVENT_PARALLEL_ABORT)
		return;
	for (int i = 0; i < LOOK_KINDS; i++)
		policy_look_forget(&looks[i]);
}

static void
at_subtransaction_end(SubXactEvent event, SubTransactionId my_subid,
					  SubTransactionId parent_subid, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		generation++;
}

void
policy_active_init(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
	policy_newest_init();
}

/* The row trigger of policy.releases: this session's next call looks again. */
Datum
policy_release_made(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("policy_release_made must be called as a trigger")));
	generation++;
	policy_newest_signal();
	policy_notify(POLICY_CHANNEL_RELEASES,
				  release_id_of(((TriggerData *) fcinfo->context)->tg_relation,
								((TriggerData *) fcinfo->context)->tg_trigtuple));
	return PointerGetDatum(((TriggerData *) fcinfo->context)->tg_trigtuple);
}

static bool
in_trigger(void)
{
	LOCAL_FCINFO(fcinfo, 0);

	InitFunctionCallInfoData(*fcinfo, NULL, 0, InvalidOid, NULL, NULL);
	return DatumGetInt32(pg_trigger_depth(fcinfo)) > 0;
}

static LookKind
look_kind(void)
{
	if (IsInParallelMode())
		return LOOK_BY_SNAPSHOT;
	return IsolationUsesXactSnapshot() || in_trigger() ?
		LOOK_BY_STATEMENT : LOOK_BY_SNAPSHOT;
}

static Snapshot
statement_snapshot(void)
{
	return ActiveSnapshotSet() ? GetActiveSnapshot() : GetTransactionSnapshot();
}

/* Fetching from a cursor goes on with the statement that it was opened for. */
static void
set_statement(PolicyLookKey *key)
{
	key->statement = GetCurrentStatementStartTimestamp();
	if (ActivePortal == NULL)
		return;
	key->statement = ActivePortal->creation_time;
	if (ActivePortal->stmts != NIL)
		key->location = linitial_node(PlannedStmt, ActivePortal->stmts)->stmt_location;
}

static void
set_key(LookKind kind, PolicyLookKey *key)
{
	memset(key, 0, sizeof(PolicyLookKey));
	key->generation = generation;
	key->lxid = policy_current_lxid();
	set_statement(key);
	if (kind == LOOK_BY_SNAPSHOT)
	{
		Snapshot	snapshot = statement_snapshot();

		key->xmin = snapshot->xmin;
		key->xmax = snapshot->xmax;
		key->xcnt = snapshot->xcnt;
		key->subxcnt = snapshot->subxcnt;
		key->curcid = snapshot->curcid;
	}
}

static bool
same_key(const PolicyLookKey *a, const PolicyLookKey *b)
{
	return a->generation == b->generation && a->lxid == b->lxid &&
		a->statement == b->statement && a->location == b->location && a->xmin == b->xmin && a->xmax == b->xmax &&
		a->xcnt == b->xcnt && a->subxcnt == b->subxcnt && a->curcid == b->curcid;
}

/* Errors that are about the query, and not about the policy. */
static bool
stops_the_query(const ErrorData *error)
{
	return ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION;
}

/*
 * Compiles the document of an open row.  Returns NULL, with why in *cause, where
 * that fails; a subtransaction puts back whatever the attempt took.
 */
static CompiledPolicy *
load_shielded(const SnapshotRow *row, char **cause)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	CompiledPolicy *volatile policy = NULL;
	PolicyTimeLimit limit;

	if (IsInParallelMode())
		return policy_cache_load_snapshot(row, policy_time_limit(&limit));

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		policy = policy_cache_load_snapshot(row, policy_time_limit(&limit));
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (stops_the_query(error))
			ReThrowError(error);
		*cause = error->message;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return policy;
}

/* Pins the policy of an open row: from the cache, else compiled. */
static CompiledPolicy *
pin_row(const SnapshotRow *row, char **cause)
{
	uint8		digest[POLICY_DIGEST_LENGTH];
	CompiledPolicy *policy;

	policy = snapshot_digest(row, digest) ? policy_cache_pin(digest) : NULL;
	return policy != NULL ? policy : load_shielded(row, cause);
}

/* Reads; leaves *look invalid and sets *cause where the policy is unavailable. */
static void
read_release(PolicyLook *look, Snapshot snapshot, char **cause)
{
	int64		release_id;
	text	   *name;
	TransactionId xid;
	SnapshotRow row;
	CompiledPolicy *policy = NULL;

	if (!release_newest(snapshot, &release_id, &name, &xid))
	{
		look->valid = true;
		return;
	}
	snapshot_open(name, snapshot, &row);
	if (HeapTupleIsValid(row.tuple))
		policy = pin_row(&row, cause);
	else
		*cause = psprintf("snapshot \"%s\" is not stored", text_to_cstring(name));
	snapshot_close(&row);
	if (policy != NULL)
		keep_release(look, release_id, name, policy);
}

/* The same, but that nothing is read where the newest release is known. */
static void
take_look(PolicyLook *look, Snapshot snapshot, char **cause)
{
	uint64		watched;

	if (policy_newest_known(snapshot, look))
		return;
	watched = policy_newest_watch();
	read_release(look, snapshot, cause);
	if (look->valid)
		policy_newest_learn(look, watched);
}

/*
 * A trigger's first call in a statement sees what the statement itself has seen,
 * where that has looked already.
 */
static bool
adopt_statement_look(PolicyLook *look, const PolicyLookKey *key)
{
	const PolicyLook *other = &looks[LOOK_BY_SNAPSHOT];

	if (!other->valid || IsolationUsesXactSnapshot() ||
		other->key.generation != key->generation || other->key.lxid != key->lxid ||
		other->key.statement != key->statement || other->key.location != key->location)
		return false;
	policy_look_copy(look, other);
	return true;
}

/* The session's look of a kind, taken again where the key says so. */
static PolicyLook *
current_look(LookKind kind, PolicyLookKey *key, char **cause)
{
	PolicyLook *look = &looks[kind];
	bool		newest = IsolationUsesXactSnapshot() && !IsInParallelMode();

	if (look->valid && same_key(&look->key, key))
		return look;
	policy_look_forget(look);
	if (kind != LOOK_BY_STATEMENT || !adopt_statement_look(look, key))
		take_look(look, newest ? NULL : statement_snapshot(), cause);
	/* Compiling may have raised it; nothing was released meanwhile. */
	key->generation = generation;
	look->key = *key;
	return look;
}

static void
keep_at_site(PolicyLook *site, const PolicyLook *look)
{
	policy_look_forget(site);
	if (!look->valid)
		return;
	policy_look_copy(site, look);
	site->key = look->key;
}

void
policy_active(PolicyLook *site, ActivePolicy *active)
{
	LookKind	kind = look_kind();
	PolicyLook *look = site;
	PolicyLookKey key;

	memset(active, 0, sizeof(ActivePolicy));
	set_key(kind, &key);
	if (site == NULL || !site->valid || !same_key(&site->key, &key))
	{
		look = current_look(kind, &key, &active->unavailable);
		if (site != NULL && kind == LOOK_BY_STATEMENT)
			keep_at_site(site, look);
	}
	active->policy = look->policy;
	active->snapshot = look->snapshot;
	active->release_id = look->release_id;
}

/* Opens the row of a snapshot that a user has named; raises PE002. */
static void
open_named(text *name, Snapshot snapshot, SnapshotRow *row)
{
	snapshot_open(name, snapshot, row);
	if (!HeapTupleIsValid(row->tuple))
		ereport(ERROR,
				(errcode(ERRCODE_POLICY_UNKNOWN_SNAPSHOT),
				 errmsg("snapshot \"%s\" does not exist", text_to_cstring(name)),
				 errhint("SELECT snapshot FROM policy.snapshots lists those that are staged.")));
}

PolicyDocument *
policy_snapshot_document(text *name, bool active)
{
	bool		newest = active && IsolationUsesXactSnapshot() && !IsInParallelMode();
	SnapshotRow row;
	PolicyDocument *document;

	open_named(name, newest ? NULL : statement_snapshot(), &row);
	document = (PolicyDocument *) PG_DETOAST_DATUM_COPY(snapshot_document(&row));
	snapshot_close(&row);
	return document;
}

CompiledPolicy *
policy_snapshot_pin(text *name)
{
	SnapshotRow row;
	CompiledPolicy *policy;
	PolicyTimeLimit limit;
	uint8		digest[POLICY_DIGEST_LENGTH];

	open_named(name, statement_snapshot(), &row);
	policy = snapshot_digest(&row, digest) ? policy_cache_pin(digest) : NULL;
	if (policy == NULL)
		policy = policy_cache_load_snapshot(&row, policy_time_limit(&limit));
	snapshot_close(&row);
	return policy;
}

static bool
rule_throttles(const CompiledPolicy *policy, const char *rule_id)
{
	for (int i = 0; i < policy->nrules; i++)
	{
		if (strcmp(policy->rules[i].id, rule_id) == 0)
			return policy->rules[i].decision == POLICY_THROTTLE;
	}
	return false;
}

CompiledPolicy *
policy_snapshot_pin_readable(const char *name, const CompiledPolicy *policy)
{
	SnapshotRow row;
	CompiledPolicy *stored = NULL;
	uint8		digest[POLICY_DIGEST_LENGTH];
	char	   *cause = NULL;

	snapshot_open(cstring_to_text(name), statement_snapshot(), &row);
	if (policy != NULL && HeapTupleIsValid(row.tuple) && snapshot_digest(&row, digest) &&
		memcmp(digest, policy->digest, POLICY_DIGEST_LENGTH) == 0)
		stored = policy_cache_pin_again(unconstify(CompiledPolicy *, policy));
	else if (HeapTupleIsValid(row.tuple))
		stored = pin_row(&row, &cause);
	snapshot_close(&row);
	return stored;
}

bool
policy_snapshot_throttles(const char *name, const CompiledPolicy *policy, const char *rule_id)
{
	CompiledPolicy *stored = policy_snapshot_pin_readable(name, policy);
	bool		throttles;

	if (stored == NULL)
		return false;
	throttles = rule_throttles(stored, rule_id);
	policy_cache_unpin(stored);
	return throttles;
}
