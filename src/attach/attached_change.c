/*
 * attached_change.c
 *	  The triggers of attached tables for rows that change, start, end or go.
 *
 * A start that must not be gets no row: its row is put in the form that keeps it from
 * being found again by an update of its own, and the client's leaves it out.  What a
 * client sets in a row that waits is kept for when it goes on, and its row stays as it
 * is.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "attach/attached_guard.h"
#include "attach/attached_move.h"
#include "attach/attached_undo.h"
#include "dispatch/halts.h"
#include "dispatch/identity.h"
#include "dispatch/owner_query.h"
#include "errors.h"

PG_FUNCTION_INFO_V1(policy_attached_update);
PG_FUNCTION_INFO_V1(policy_attached_take);
PG_FUNCTION_INFO_V1(policy_attached_gone);

/* An update or deletion of one row. */
typedef struct Change
{
	AttachedStatement *statement;
	AttachedTable *table;
	HeapTuple	old;
	HeapTuple	new;			/* NULL: a deletion */
	MemoryContext caller;		/* of what goes back to it */
	PolicyJobKey key;
	GuardedJob	guarded;
	Jsonb	   *job;			/* of the new row, or the old one where that
								 * goes */
	const char *invalid;
	bool		has_changed;	/* the job: it is not what was decided */
} Change;

/* What an update does to a row, by the attachment's expressions and columns. */
typedef struct ChangeKind
{
	bool		starts;
	bool		ends;
	bool		revives;		/* it had come to its end, and has not now */
	bool		material;
	bool		touched;		/* a guarded column differs */
	bool		identity;		/* a column that it is known by */
	bool		job;			/* it starts, and a column that the job is
								 * made of differs */
} ChangeKind;

static void
check_key(Change *change)
{
	attached_show(change->table, change->old);
	change->key = attached_job_key(change->table);
	if (change->new == NULL)
		return;
	attached_show(change->table, change->new);
	if (strcmp(attached_job_key(change->table).key, change->key.key) == 0 &&
		!attached_differ(change->table, change->old, change->new, change->table->key_columns,
						 change->table->nkey))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_POLICY_ENGINE_COLUMN),
			 errmsg("the key of job %s of %s cannot be changed", change->key.key,
					change->key.table),
			 errdetail("What was decided and approved is known by it."),
			 errhint("Delete the row, and insert another.")));
}

/* The job of a row, with what was bound to who asked. */
static Jsonb *
job_of(Change *change, HeapTuple row, const char **invalid)
{
	GuardStatement *guard = change->statement->guard;
	List	   *identities;
	Jsonb	   *job;

	(void) policy_statement_caller(guard);
	identities = change->guarded.is_kept ? guarded_identities(&change->guarded) : NIL;
	attached_show(change->table, row);
	job = policy_stamped_job(attached_job(change->table), identities, invalid);
	return (Jsonb *) PG_DETOAST_DATUM_COPY(JsonbPGetDatum(job));
}

/* Whether the update changes what the job is. */
static bool
changes_job(Change *change)
{
	const char *invalid;
	Jsonb	   *old;

	if (change->new == NULL)
		return false;
	old = job_of(change, change->old, &invalid);
	return VARSIZE(old) != VARSIZE(change->job) ||
		memcmp(old, change->job, VARSIZE(old)) != 0;
}

/*
 * The column as a conflict's update sets it: from a row that was formed on its way in it
 * is what the client has given there.
 */
static Datum
given_value(Change *change, AttrNumber column, bool *isnull)
{
	const AttachedStatement *statement = change->statement;
	AttachedTable *table = change->table;

	if (statement->formed != NULL &&
		!attached_differ(table, statement->formed, change->new, &column, 1))
		return heap_getattr(statement->given, column, table->tupdesc, isnull);
	return heap_getattr(change->new, column, table->tupdesc, isnull);
}

/* The new row as the client wants it, whatever form it is in. */
static HeapTuple
client_row(Change *change)
{
	AttachedTable *table = change->table;
	HeapTuple	row = attached_restore(table, change->new, change->guarded.wanted);

	for (int i = 0; i < table->nguarded; i++)
	{
		int			column = table->guarded[i];
		bool		isnull;
		Datum		value;

		if (!attached_differ(table, change->old, change->new, &table->guarded[i], 1))
			continue;
		value = given_value(change, column, &isnull);
		row = heap_modify_tuple_by_cols(row, table->tupdesc, 1, &column, &value, &isnull);
	}
	return row;
}

static HeapTuple
returned(Change *change, HeapTuple row)
{
	MemoryContext mine = MemoryContextSwitchTo(change->caller);
	HeapTuple	copy = heap_copytuple(row);

	MemoryContextSwitchTo(mine);
	return copy;
}

/* The row in the form of a decision. */
static HeapTuple
formed(Change *change, HeapTuple row, const PolicyEnforced *enforced)
{
	TimestampTz retry_at;

	attached_show(change->table, row);
	attached_set_decision_names(change->table, enforced, &retry_at);
	return attached_form(change->table, attached_form_of(enforced->verdict.decision), row);
}

/* Who changes somebody else's job asks as much as who brought it. */
static void
ask_again(Change *change)
{
	const PolicyCaller *caller = policy_statement_caller(change->statement->guard);
	GuardedJob *guarded = &change->guarded;

	if (guarded->asked_by == NULL || strcmp(caller->name, guarded->asked_by) == 0)
		return;
	guarded->asked_via = guarded->asked_by;
	guarded->asked_by = caller->name;
}

static void
begin_scope(OwnerScope *scope, const char *verb)
{
	MemoryContext mine = CurrentMemoryContext;

	policy_owner_begin(scope, verb);
	MemoryContextSwitchTo(mine);
}

/* What has changed is another job: it has waited for nothing, and who changed it asks. */
static void
forget_prior(Change *change, Candidate *candidate)
{
	JobRow	   *row = &candidate->row;

	ask_again(change);
	row->values[JOB_SUBMITTED_BY] = CStringGetTextDatum(change->guarded.asked_by);
	row->nulls[JOB_SUBMITTED_VIA] = change->guarded.asked_via == NULL;
	if (change->guarded.asked_via != NULL)
		row->values[JOB_SUBMITTED_VIA] = CStringGetTextDatum(change->guarded.asked_via);
	row->nulls[JOB_RUN_AFTER] = true;
	candidate->has_prior = false;
}

/* Content that has changed is decided as a job that comes in. */
static void
decide_content(Change *change, Candidate *candidate)
{
	OwnerScope	scope;
	Recording	recording;

	begin_scope(&scope, "engine");
	guarded_candidate(&change->key, &change->guarded, change->job, change->invalid, candidate);
	forget_prior(change, candidate);
	policy_candidate_decide(candidate, "update");
	if (candidate->now.verdict.decision == POLICY_DENY && change->table->raises)
		attached_raise_denied(change->table, &candidate->now);
	policy_recording_init(&recording);
	policy_candidate_record(candidate, &recording);
	policy_candidate_sync(candidate, &recording);
	policy_recording_write(&recording);
	policy_owner_end(&scope);
}

static HeapTuple
change_content(Change *change)
{
	Candidate	candidate;
	HeapTuple	row = client_row(change);
	bool		was_kept = change->guarded.is_kept;
	bool		admits;

	decide_content(change, &candidate);
	admits = attached_admits(candidate.now.verdict.decision);
	guarded_set_decision(&change->guarded, &candidate,
						 policy_decision_state(candidate.now.verdict.decision));
	change->guarded.row_key = attached_row_key(change->table, row);
	change->guarded.wanted = admits ? NULL : attached_wanted(change->table, row);
	if (was_kept || !admits)
		guarded_write(&change->key, &change->guarded);
	return returned(change, admits ? row : formed(change, row, &candidate.now));
}

/* The row keeps its form; what the client has set is kept for when it goes on. */
static HeapTuple
keep_form(Change *change)
{
	change->guarded.wanted = attached_wanted(change->table, client_row(change));
	guarded_write(&change->key, &change->guarded);
	return returned(change, attached_keep(change->table, change->new, change->old));
}

static void
record_start(Candidate *candidate, bool admits)
{
	Recording	recording;

	policy_recording_init(&recording);
	policy_candidate_record(candidate, &recording);
	if (!admits)
		policy_candidate_sync(candidate, &recording);
	policy_recording_write(&recording);
}

/* A start: records what has changed, and what it consumes. */
static bool
decide_start(Change *change, Candidate *candidate)
{
	GuardedJob *guarded = &change->guarded;
	OwnerScope	scope;
	bool		admits;

	begin_scope(&scope, "claim");
	guarded_candidate(&change->key, guarded, change->job, change->invalid, candidate);
	if (change->has_changed)
		forget_prior(change, candidate);
	policy_candidate_decide(candidate, "claim");
	admits = attached_admits(candidate->now.verdict.decision);
	/* Without a policy nothing starts and nothing changes. */
	if (candidate->now.policy != NULL)
	{
		if (!admits || policy_candidate_changed(candidate, true))
			record_start(candidate, admits);
		if (admits)
			policy_candidates_consume(&candidate, 1);
	}
	policy_owner_end(&scope);
	return admits;
}

/* What keeps a start from being, for now: the row is held until policy_resume. */
static void
set_halted(Change *change, const PolicyHalt *halt)
{
	GuardedJob *guarded = &change->guarded;
	HeapTuple	row = attached_restore(change->table, change->old, guarded->wanted);
	Candidate	candidate;
	OwnerScope	scope;

	begin_scope(&scope, "halt");
	guarded_candidate(&change->key, guarded, change->job, change->invalid, &candidate);
	policy_owner_end(&scope);
	if (guarded->decided_at == 0)
		guarded->decided_at = GetCurrentTimestamp();
	guarded->state = "halted";
	guarded->row_key = attached_row_key(change->table, row);
	guarded->wanted = attached_wanted(change->table, row);
	guarded_write(&change->key, guarded);
	attached_show(change->table, row);
	attached_set_names(change->table, NULL, cstring_to_text(halt->reason), NULL);
	attached_write_row(change->table, &change->key, change->old,
					   attached_form(change->table, ATTACHED_HOLD, row));
}

/* Whether a halt covers the start. */
static bool
is_halted(Change *change)
{
	PolicyHalt	halt;
	Job			job;

	policy_job_read(change->job, &job);
	if (change->invalid != NULL)
		job.invalid = pstrdup(change->invalid);
	if (!policy_halted(&job, &halt))
		return false;
	policy_halt_evidence(&halt, change->job, &change->key);
	/* Who resumes it now would not find the row: that stays, to be met again. */
	if (policy_halt_keep(&halt))
		set_halted(change, &halt);
	return true;
}

static HeapTuple
start(Change *change)
{
	GuardedJob *guarded = &change->guarded;
	bool		was_kept = guarded->is_kept;
	Candidate	candidate;
	HeapTuple	row;

	if (is_halted(change))
		return NULL;
	if (decide_start(change, &candidate))
	{
		if (was_kept)
		{
			guarded_set_decision(guarded, &candidate, "running");
			guarded->started_at = candidate.now.at;
			guarded->wanted = NULL;
			guarded_write(&change->key, guarded);
		}
		if (change->new == NULL)
			return change->old;
		return returned(change, formed(change, change->new, &candidate.now));
	}
	if (candidate.now.policy == NULL)
		return NULL;
	row = attached_restore(change->table, change->old, guarded->wanted);
	guarded_set_decision(guarded, &candidate,
						 policy_decision_state(candidate.now.verdict.decision));
	guarded->row_key = attached_row_key(change->table, row);
	guarded->wanted = attached_wanted(change->table, row);
	guarded_write(&change->key, guarded);
	attached_write_row(change->table, &change->key, change->old,
					   formed(change, row, &candidate.now));
	return NULL;
}

/* Nothing starts: whatever else the claim has done is to be undone. */
static HeapTuple
refuse_start(Change *change)
{
	attached_undo_later(change->statement, change->table, change->old);
	return NULL;
}

/* A job that its client ends has what that wants: nothing of its form is left in it. */
static HeapTuple
end_job(Change *change)
{
	HeapTuple	row = change->new;

	if (!change->guarded.is_kept)
		return row;
	if (change->guarded.wanted != NULL)
		row = returned(change, client_row(change));
	policy_approvals_close(&change->key);
	guarded_forget(&change->key, false);
	return row;
}

/* What a change is, where it is anything to us. */
static HeapTuple
settle_change(Change *change, const ChangeKind *kind)
{
	bool		waits;

	guarded_read(&change->key, &change->guarded);
	waits = guarded_waits(&change->guarded, GetCurrentTimestamp());
	if (kind->starts && waits)
		return refuse_start(change);
	change->job = job_of(change, change->new != NULL ? change->new : change->old,
						 &change->invalid);
	if (kind->starts)
	{
		HeapTuple	row;

		change->has_changed = kind->job && changes_job(change);
		row = start(change);
		return row != NULL ? row : refuse_start(change);
	}
	if (kind->ends && !attached_has_ended(change->table, change->old))
		return end_job(change);
	if (kind->revives && !change->guarded.is_kept)
		return change_content(change);
	if (kind->material && (change->guarded.is_kept || !kind->ends) && changes_job(change))
		return change_content(change);
	if (kind->touched && waits)
		return keep_form(change);
	return change->new;
}

static void
classify(Change *change, ChangeKind *kind)
{
	AttachedTable *table = change->table;
	HeapTuple	old = change->old;
	HeapTuple	new = change->new;

	attached_show_change(table, old, new);
	kind->starts = attached_holds(table, table->starts);
	kind->ends = attached_holds(table, table->ends);
	kind->revives = !kind->starts && !kind->ends && attached_has_ended(table, old);
	kind->material = attached_differ(table, old, new, table->material, table->nmaterial);
	kind->touched = attached_differ(table, old, new, table->guarded, table->nguarded);
	kind->identity = attached_differ(table, old, new, table->identity, table->nidentity);
	kind->job = kind->starts && attached_differ_in(table, old, new, table->job_columns);
}

static HeapTuple
guard_update(Change *change)
{
	ChangeKind	kind;

	classify(change, &kind);
	if (!kind.starts && !kind.ends && !kind.revives && !kind.material && !kind.touched &&
		!kind.identity)
		return change->new;
	check_key(change);
	if (attached_is_written(change->table, &change->key))
		return change->new;
	return settle_change(change, &kind);
}

static void
read_change(FunctionCallInfo fcinfo, TriggerData *trigger, Change *change)
{
	memset(change, 0, sizeof(Change));
	change->statement = attached_statement(fcinfo);
	change->caller = MemoryContextSwitchTo(change->statement->guard->row_context);
	MemoryContextReset(change->statement->guard->row_context);
	change->table = attached_statement_table(change->statement, trigger);
	change->old = trigger->tg_trigtuple;
}

Datum
policy_attached_update(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = attached_trigger(fcinfo, TRIGGER_EVENT_BEFORE | TRIGGER_EVENT_ROW);
	Change		change;
	HeapTuple	row;

	attached_check_event(TRIGGER_FIRED_BY_UPDATE(trigger->tg_event));
	read_change(fcinfo, trigger, &change);
	change.new = trigger->tg_newtuple;
	row = guard_update(&change);
	MemoryContextSwitchTo(change.caller);
	return PointerGetDatum(row);
}

/* A row that is taken by deleting it starts, too, where its client says so. */
Datum
policy_attached_take(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = attached_trigger(fcinfo, TRIGGER_EVENT_BEFORE | TRIGGER_EVENT_ROW);
	const ChangeKind deletion = {.starts = true};
	Change		change;
	HeapTuple	row;

	attached_check_event(TRIGGER_FIRED_BY_DELETE(trigger->tg_event));
	read_change(fcinfo, trigger, &change);
	attached_show_change(change.table, change.old, NULL);
	row = change.old;
	if (attached_holds(change.table, change.table->starts))
	{
		check_key(&change);
		row = settle_change(&change, &deletion);
	}
	MemoryContextSwitchTo(change.caller);
	return PointerGetDatum(row);
}

/*
 * A row that is gone: unless the same statement brings it in again, as a client's retry
 * does, nobody is asked about it any more.  One that was running has come to its end;
 * another one keeps the attempts that it was approved for.
 */
Datum
policy_attached_gone(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = attached_trigger(fcinfo, TRIGGER_EVENT_AFTER | TRIGGER_EVENT_ROW);
	Change		change;

	attached_check_event(TRIGGER_FIRED_BY_DELETE(trigger->tg_event));
	read_change(fcinfo, trigger, &change);
	attached_show(change.table, change.old);
	change.key = attached_job_key(change.table);
	guarded_read(&change.key, &change.guarded);
	attached_show(change.table, change.old);
	if (change.guarded.is_kept &&
		!attached_statement_inserts(change.statement, change.table, attached_key(change.table)))
	{
		bool		is_over = strcmp(change.guarded.state, "running") == 0;

		if (is_over)
			policy_approvals_close(&change.key);
		guarded_forget(&change.key, !is_over);
	}
	MemoryContextSwitchTo(change.caller);
	return PointerGetDatum(NULL);
}
