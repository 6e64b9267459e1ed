/*
 * attached_settle.c
 *	  What verbs do to jobs of attached tables: lock, decide again, move.
 *
 * As for policy.jobs (dispatch/settle.h): the row is locked first, with the rights of
 * who attached the table; only then are the policy and the approvals looked at.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "commands/async.h"
#include "executor/executor.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "attach/attach.h"
#include "attach/attached_guard.h"
#include "attach/attached_move.h"
#include "attach/guarded.h"
#include "dispatch/identity.h"
#include "dispatch/owner_query.h"
#include "dispatch/transitions.h"
#include "errors.h"

PG_FUNCTION_INFO_V1(policy_lock_attached);
PG_FUNCTION_INFO_V1(policy_settle_attached);

/* A job whose row is locked, if there is one. */
typedef struct Locked
{
	Relation	relation;
	AttachedTable *table;
	AttachedScope scope;
	PolicyJobKey key;
	GuardedJob	guarded;
	HeapTuple	row;			/* NULL: it is gone */
	bool		is_busy;		/* somebody else has it */
	AttachedHold *hold;
} Locked;

/*
 * Finds a job, and locks it, inside of a scope that unlock() ends.  False where its table
 * is not attached, or nothing is kept of it.
 */
static bool
find(const char *job_table, const char *job_key, AttachedLock lock, Locked *locked)
{
	MemoryContext caller = CurrentMemoryContext;
	LOCKMODE	mode = lock == ATTACHED_READ ? AccessShareLock : RowExclusiveLock;
	int64		attachment_id;
	Oid			root;

	memset(locked, 0, sizeof(Locked));
	locked->key.table = pstrdup(job_table);
	locked->key.key = pstrdup(job_key);
	guarded_read(&locked->key, &locked->guarded);
	if (!locked->guarded.is_kept || !attached_table_find(job_table, &attachment_id, &root))
		return false;
	locked->relation = try_relation_open(root, mode);
	if (locked->relation == NULL)
		return false;
	attached_scope_begin_confined(&locked->scope, attached_table_mover(attachment_id));
	MemoryContextSwitchTo(caller);
	locked->table = attached_table_acquire(locked->relation, attachment_id);
	locked->hold = attached_table_hold(locked->table);
	locked->row = attached_find_row(locked->table, locked->guarded.row_key, lock);
	if (locked->row == NULL && lock == ATTACHED_LOCK_SKIP)
		locked->is_busy = attached_find_row(locked->table, locked->guarded.row_key,
											ATTACHED_READ) != NULL;
	/* It may have changed while the lock was waited for. */
	guarded_read(&locked->key, &locked->guarded);
	return true;
}

static void
unlock(Locked *locked)
{
	attached_table_unhold(locked->hold);
	attached_scope_end(&locked->scope);
	table_close(locked->relation, NoLock);
}

/* policy.lock_attached(job_table text, job_key text, skip_locked boolean) */
Datum
policy_lock_attached(PG_FUNCTION_ARGS)
{
	Locked		locked;
	const char *found;

	if (!find(text_to_cstring(PG_GETARG_TEXT_PP(0)), text_to_cstring(PG_GETARG_TEXT_PP(1)),
			  PG_GETARG_BOOL(2) ? ATTACHED_LOCK_SKIP : ATTACHED_LOCK, &locked))
		PG_RETURN_TEXT_P(cstring_to_text("gone"));
	found = locked.row != NULL ? "locked" : locked.is_busy ? "busy" : "gone";
	unlock(&locked);
	PG_RETURN_TEXT_P(cstring_to_text(found));
}

/* Tells the client that a row goes on. */
static void
notify(AttachedTable *table, HeapTuple row)
{
	bool		isnull;

	if (table->notify != NULL)
		Async_Notify(table->notify, "");
	if (table->notification == NULL)
		return;
	attached_show(table, row);
	(void) ExecEvalExprSwitchContext(table->notification, table->econtext, &isnull);
}

/* What came in as one that runs, and was denied, would run without a start. */
static void
check_goes_on(const Locked *locked, HeapTuple row)
{
	if (!attached_comes_started(locked->table, row))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_POLICY_ILLEGAL_TRANSITION),
			 errmsg("job %s of %s cannot go on: it came in as one that runs", locked->key.key,
					locked->key.table),
			 errhint("Let its client insert it as one that waits.")));
}

/* Puts the row in the form of a state, and keeps that. */
static void
move(Locked *locked, const char *state, text *reason)
{
	AttachedTable *table = locked->table;
	GuardedJob *guarded = &locked->guarded;
	HeapTuple	row = attached_restore(table, locked->row, guarded->wanted);
	bool		goes_on = strcmp(state, "ready") == 0;
	AttachedFormKind form = ATTACHED_DENY;

	if (goes_on)
	{
		check_goes_on(locked, row);
		form = ATTACHED_RELEASE;
	}
	else if (strcmp(state, "awaiting_approval") == 0)
		form = ATTACHED_HOLD;
	else if (strcmp(state, "throttled") == 0)
		form = ATTACHED_THROTTLE;
	attached_show(table, row);
	attached_set_names(table, form == ATTACHED_THROTTLE ? &guarded->run_after : NULL, reason, NULL);
	guarded->wanted = goes_on ? NULL : attached_wanted(table, row);
	guarded->state = state;
	row = attached_form(table, form, row);
	guarded_write(&locked->key, guarded);
	attached_write_row(table, &locked->key, locked->row, row);
	if (goes_on)
		notify(table, row);
}

/* Raises where nobody can decide, but for maintenance, which comes again. */
static bool
nobody_decides(const Candidate *candidate, const char *source)
{
	if (candidate->now.policy != NULL)
		return false;
	if (strcmp(source, "maintain") == 0)
		return true;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("no policy can decide job %s of %s now", candidate->key.key,
					candidate->key.table),
			 errdetail("%s.", text_to_cstring(candidate->now.verdict.reason)),
			 errhint("Nothing was changed. SELECT * FROM policy_status() shows what is active.")));
	return true;
}

/* The state that the decision leads to; NULL where nothing changes. */
static const char *
decide_locked(Locked *locked, const char *source, const char *note, Candidate *candidate)
{
	bool		always = strcmp(source, "redecide") == 0;
	const char *state;
	Recording	recording;

	policy_candidate_decide(candidate, source);
	if (nobody_decides(candidate, source))
		return NULL;
	candidate->now.note = note;
	state = policy_decision_state(candidate->now.verdict.decision);
	if (policy_state_is_refused(candidate->state) && policy_state_is_refused(state))
		state = candidate->state;
	if (!always && strcmp(state, candidate->state) == 0 &&
		!policy_candidate_changed(candidate, false) && !policy_candidate_asks_anew(candidate))
		return NULL;
	policy_recording_init(&recording);
	policy_candidate_record(candidate, &recording);
	policy_candidate_sync(candidate, &recording);
	policy_recording_write(&recording);
	return state;
}

static bool
is_halted(const GuardedJob *guarded)
{
	return strcmp(guarded->state, "halted") == 0;
}

static void
settle_locked(Locked *locked, const char *source, const char *note)
{
	MemoryContext mine = CurrentMemoryContext;
	const char *invalid;
	const char *state;
	Jsonb	   *job;
	Candidate	candidate;
	OwnerScope	scope;

	if (!policy_state_waits(locked->guarded.state) && !is_halted(&locked->guarded) &&
		!(strcmp(source, "redecide") == 0 && policy_state_is_refused(locked->guarded.state)))
		return;
	attached_show(locked->table, locked->row);
	job = policy_stamped_job(attached_job(locked->table), guarded_identities(&locked->guarded),
							 &invalid);
	job = (Jsonb *) PG_DETOAST_DATUM_COPY(JsonbPGetDatum(job));
	policy_owner_begin(&scope, source);
	MemoryContextSwitchTo(mine);
	guarded_candidate(&locked->key, &locked->guarded, job, invalid, &candidate);
	state = decide_locked(locked, source, note, &candidate);
	policy_owner_end(&scope);
	if (state == NULL)
		return;
	guarded_set_decision(&locked->guarded, &candidate, state);
	move(locked, state, candidate.now.verdict.reason);
}

bool
attached_peek(const PolicyJobKey *key, Candidate *candidate)
{
	MemoryContext mine = CurrentMemoryContext;
	const char *invalid;
	Jsonb	   *job;
	OwnerScope	scope;
	Locked		locked;

	if (!find(key->table, key->key, ATTACHED_READ, &locked))
		return false;
	if (locked.row == NULL)
	{
		unlock(&locked);
		return false;
	}
	attached_show(locked.table, locked.row);
	job = policy_stamped_job(attached_job(locked.table), guarded_identities(&locked.guarded),
							 &invalid);
	job = (Jsonb *) PG_DETOAST_DATUM_COPY(JsonbPGetDatum(job));
	policy_owner_begin(&scope, POLICY_VERB_PEEK);
	MemoryContextSwitchTo(mine);
	guarded_candidate(&locked.key, &locked.guarded, job, invalid, candidate);
	policy_candidate_decide(candidate, POLICY_VERB_PEEK);
	policy_owner_end(&scope);
	unlock(&locked);
	MemoryContextSwitchTo(mine);
	return true;
}

/* Whether a job may be refused so, without a decision. */
static bool
may_refuse(const GuardedJob *guarded, const char *to)
{
	const char *from = guarded->state;

	if (strcmp(to, "expired") == 0)
		return strcmp(from, "awaiting_approval") == 0;
	return policy_state_waits(from) || is_halted(guarded);
}

static void
refuse_locked(Locked *locked, const char *state, const char *note)
{
	if (may_refuse(&locked->guarded, state))
		move(locked, state, cstring_to_text(note != NULL ? psprintf("%s: %s", state, note) : state));
}

/*
 * Settles a job (to: NULL), or refuses it (to: the state); returns its state in the
 * current memory context, NULL where there is none.
 */
static char *
settle(const PolicyJobKey *key, const char *source, const char *note, const char *to)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext work = AllocSetContextCreate(caller, "policy attached job",
											   ALLOCSET_DEFAULT_SIZES);
	char	   *state = NULL;
	Locked		locked;

	MemoryContextSwitchTo(work);
	if (find(key->table, key->key, ATTACHED_LOCK, &locked))
	{
		MemoryContextSwitchTo(work);
		if (locked.row == NULL)
			guarded_forget(&locked.key, true);
		else if (to != NULL)
			refuse_locked(&locked, to, note);
		else
			settle_locked(&locked, source, note);
		if (locked.row != NULL)
			state = MemoryContextStrdup(caller, locked.guarded.state);
		unlock(&locked);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(work);
	return state;
}

void
attached_approval_changed(const PolicyJobKey *key, const char *source, const char *to)
{
	(void) settle(key, source, NULL, to);
}

/* policy.settle_attached(job_table text, job_key text, source text, note text, refused text) */
Datum
policy_settle_attached(PG_FUNCTION_ARGS)
{
	PolicyJobKey key;
	char	   *state;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	key.table = text_to_cstring(PG_GETARG_TEXT_PP(0));
	key.key = text_to_cstring(PG_GETARG_TEXT_PP(1));
	state = settle(&key, text_to_cstring(PG_GETARG_TEXT_PP(2)),
				   PG_ARGISNULL(3) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(3)),
				   PG_ARGISNULL(4) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(4)));
	if (state == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(state));
}
