/*
 * attached_insert.c
 *	  The triggers of attached tables for rows that come in.
 *
 * BEFORE decides and forms the row, and writes nothing: it also fires for rows that
 * ON CONFLICT never inserts.  AFTER records what was stored, and the statement's end
 * writes it; where the statement names a partition that has no trigger for its end,
 * each row is written at once.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "attach/attached_guard.h"
#include "attach/attached_undo.h"
#include "dispatch/halts.h"
#include "dispatch/identity.h"
#include "dispatch/owner_query.h"
#include "errors.h"

PG_FUNCTION_INFO_V1(policy_attached_begin);
PG_FUNCTION_INFO_V1(policy_attached_insert);
PG_FUNCTION_INFO_V1(policy_attached_record);
PG_FUNCTION_INFO_V1(policy_attached_flush);

/* The name of the trigger that policy_attached_flush() is. */
#define FLUSH_TRIGGER "zzz_policy_flush"

/* What a row satisfies that comes in again, under the key of one that was there. */
typedef struct InsertSatisfied
{
	JobSatisfied known;
	bool		(*holds) (PolicySatisfied *satisfied, const CompiledRule *rule);
	MemoryContext context;
	const AttachedTable *table;
	const		text *key;
	bool		is_read;
	GuardedJob	guarded;
} InsertSatisfied;

TriggerData *
attached_trigger(FunctionCallInfo fcinfo, TriggerEvent when)
{
	const TriggerEvent events = TRIGGER_EVENT_TIMINGMASK | TRIGGER_EVENT_ROW;
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || (trigger->tg_event & events) != when)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("a guard of attached tables was called as another trigger than it is"),
				 errhint("Its triggers are made by policy_attach alone.")));
	return trigger;
}

void
attached_check_event(bool expected)
{
	if (!expected)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("a guard of attached tables was called for another event than its own"),
				 errhint("Its triggers are made by policy_attach alone.")));
}

AttachedFormKind
attached_form_of(PolicyDecision decision)
{
	switch (decision)
	{
		case POLICY_REQUIRE_APPROVAL:
			return ATTACHED_HOLD;
		case POLICY_THROTTLE:
			return ATTACHED_THROTTLE;
		case POLICY_ALLOW:
		case POLICY_ALLOW_WITH_CONSTRAINTS:
			return ATTACHED_ALLOW;
		default:
			return ATTACHED_DENY;
	}
}

bool
attached_admits(PolicyDecision decision)
{
	return attached_form_of(decision) == ATTACHED_ALLOW;
}

PolicyJobKey
attached_job_key(AttachedTable *table)
{
	PolicyJobKey key = {table->job_table, text_to_cstring(attached_key(table))};

	return key;
}

Jsonb *
attached_told_constraints(const PolicyEnforced *enforced)
{
	return enforced->verdict.decision == POLICY_ALLOW_WITH_CONSTRAINTS ?
		enforced->verdict.constraints : NULL;
}

/*
 * A job that comes in again, as a client's retry brings it, holds the approvals that it
 * had: its next start counts the attempts.  The query for what it has waited for runs in
 * a scope of its own.
 */
static bool
insert_holds(PolicySatisfied *base, const CompiledRule *rule)
{
	InsertSatisfied *satisfied = (InsertSatisfied *) base;
	MemoryContext caller = MemoryContextSwitchTo(satisfied->context);
	OwnerScope	scope;
	bool		holds;

	if (!satisfied->is_read)
	{
		satisfied->known.at = GetCurrentTimestamp();
		satisfied->known.key.table = satisfied->table->job_table;
		satisfied->known.key.key = text_to_cstring(satisfied->key);
		guarded_read(&satisfied->known.key, &satisfied->guarded);
		satisfied->is_read = true;
		if (satisfied->guarded.is_kept)
		{
			satisfied->known.attempts_allowed = PG_INT32_MAX;
			satisfied->known.is_due = satisfied->guarded.run_after != 0 &&
				satisfied->guarded.run_after <= satisfied->known.at;
		}
	}
	if (!satisfied->known.is_due)
		holds = satisfied->holds(base, rule);
	else
	{
		policy_owner_begin(&scope, "engine");
		MemoryContextSwitchTo(satisfied->context);
		holds = satisfied->holds(base, rule);
		policy_owner_end(&scope);
	}
	MemoryContextSwitchTo(caller);
	return holds;
}

static void
init_satisfied(InsertSatisfied *satisfied, Jsonb *job, const AttachedTable *table,
			   const text *key, MemoryContext context)
{
	PolicyJobKey unread = {NULL, NULL};

	memset(satisfied, 0, sizeof(InsertSatisfied));
	policy_satisfied_init(&satisfied->known, job, unread, 0, 1, false);
	satisfied->holds = satisfied->known.base.holds;
	satisfied->known.base.holds = insert_holds;
	satisfied->context = context;
	satisfied->table = table;
	satisfied->key = key;
}

static PolicyAttempt *
begin_attempt(GuardStatement *guard)
{
	policy_attempt_end(&guard->attempt);
	policy_attempt_init(&guard->attempt, NULL);
	guard->attempt.context = guard->context;
	return &guard->attempt;
}

void
attached_raise_denied(const AttachedTable *table, const PolicyEnforced *enforced)
{
	const CompiledRule *winner = enforced->verdict.winner;

	ereport(ERROR,
			(errcode(ERRCODE_POLICY_DENIED),
			 errmsg("denied by policy: %s", text_to_cstring(enforced->verdict.reason)),
			 winner != NULL ? errdetail("Rule \"%s\" decided it.", winner->id) : 0,
			 errhint("Table %s was attached with on_deny => 'raise': nothing was stored, and nothing recorded.",
					 table->job_table)));
}

/* What is to be kept of a row that is not plainly allowed, in the statement's memory. */
static GuardedJob *
guarded_of(AttachedStatement *statement, AttachedTable *table, HeapTuple given,
		   const PolicyEnforced *enforced, const InsertSatisfied *satisfied)
{
	GuardStatement *guard = statement->guard;
	MemoryContext caller = MemoryContextSwitchTo(guard->context);
	GuardedJob *guarded = palloc0(sizeof(GuardedJob));
	bool		waits = enforced->verdict.decision == POLICY_THROTTLE;

	guarded->is_kept = true;
	guarded->state = policy_decision_state(enforced->verdict.decision);
	guarded->row_key = attached_row_key(table, given);
	guarded->decided_at = enforced->at;
	guarded->constraints =
		(Jsonb *) PG_DETOAST_DATUM_COPY(JsonbPGetDatum(enforced->verdict.constraints));
	guarded->run_after = waits ? policy_run_after(enforced) : satisfied->guarded.run_after;
	guarded->started_at = satisfied->guarded.started_at;
	guarded->wanted = attached_wanted(table, given);
	guarded->asked_by = pstrdup(guard->caller.name);
	guarded->asked_via = guard->caller.via == NULL ? NULL : pstrdup(guard->caller.via);
	guarded->identities = guarded_identity_array(guard->identities);
	MemoryContextSwitchTo(caller);
	return guarded;
}

static void
keep_decision(AttachedStatement *statement, AttachedTable *table, HeapTuple given,
			  const PolicyEnforced *enforced, const InsertSatisfied *satisfied)
{
	GuardStatement *guard = statement->guard;
	AttachedDecision *decision;

	policy_statement_keep(guard, enforced, 0, false, NULL);
	decision = attached_statement_add(statement, table, satisfied->key);
	decision->decided = guard->ndecided - 1;
	if (!attached_admits(enforced->verdict.decision) || satisfied->guarded.is_kept ||
		guard->identities != NIL)
		decision->guarded = guarded_of(statement, table, given, enforced, satisfied);
	if (satisfied->known.has_approvals)
	{
		decision->approvals = MemoryContextAlloc(guard->context, sizeof(JobApprovals));
		*decision->approvals = satisfied->known.approvals;
	}
}

/* For a conflict's update, which sees the row as it was formed. */
static void
keep_forms(AttachedStatement *statement, HeapTuple given, HeapTuple formed)
{
	MemoryContext caller = MemoryContextSwitchTo(statement->guard->context);

	if (statement->formed != NULL)
	{
		heap_freetuple(statement->given);
		heap_freetuple(statement->formed);
		statement->formed = NULL;
	}
	if (formed != given)
	{
		statement->given = heap_copytuple(given);
		statement->formed = heap_copytuple(formed);
	}
	MemoryContextSwitchTo(caller);
}

void
attached_set_decision_names(AttachedTable *table, const PolicyEnforced *enforced,
							TimestampTz *retry_at)
{
	*retry_at = policy_run_after(enforced);
	attached_set_names(table, enforced->verdict.decision == POLICY_THROTTLE ? retry_at : NULL,
					   enforced->verdict.reason, attached_told_constraints(enforced));
}

/* A row that comes in at its end is no job that could run: a client's archive, say. */
static void
keep_ended(AttachedStatement *statement, AttachedTable *table)
{
	AttachedDecision *decision = attached_statement_add(statement, table, attached_key(table));

	decision->has_ended = true;
}

POLICY_NORETURN static void
raise_started(const AttachedTable *table, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_POLICY_ILLEGAL_TRANSITION),
			 errmsg("a job of %s comes in as one that runs, and must not start", table->job_table),
			 errdetail("%s.", why),
			 errhint("Insert it as one that waits, and start it by an update. Nothing was stored, and nothing recorded.")));
}

/*
 * A row that comes in as one that runs is seen by nobody when it starts: it has to be
 * allowed as it is.  What is held or throttled would run as soon as it goes on; only what
 * is denied may be stored, in a form that does not run.
 */
static void
check_started(AttachedTable *table, HeapTuple row, const PolicyEnforced *enforced,
			  const char *invalid)
{
	PolicyHalt	halt;
	Job			job;

	if (enforced->verdict.decision == POLICY_DENY && !attached_comes_started(table, row))
		return;
	if (!attached_admits(enforced->verdict.decision))
		raise_started(table, text_to_cstring(enforced->verdict.reason));
	policy_job_read(enforced->job, &job);
	if (invalid != NULL)
		job.invalid = pstrdup(invalid);
	if (policy_halted(&job, &halt))
		raise_started(table, psprintf("halted: %s", halt.reason));
}

static HeapTuple
decide_insert(AttachedStatement *statement, AttachedTable *table, HeapTuple given,
			  MemoryContext caller)
{
	GuardStatement *guard = statement->guard;
	const char *invalid;
	Jsonb	   *job;
	InsertSatisfied satisfied;
	PolicyEnforced enforced;
	HeapTuple	formed;
	TimestampTz retry_at;
	MemoryContext mine;
	const AttachedComing *coming;
	bool		started;

	(void) policy_statement_caller(guard);
	attached_show(table, given);
	coming = attached_coming(table, given);
	if (coming->has_ended)
	{
		keep_ended(statement, table);
		attached_statement_form(statement, given);
		return given;
	}
	started = coming->is_started;
	job = policy_stamped_job(attached_job(table), guard->identities, &invalid);
	init_satisfied(&satisfied, job, table, attached_key(table), guard->context);
	policy_enforce(job, invalid, "submit", started ? NULL : &satisfied.known.base,
				   begin_attempt(guard), &enforced);
	if (enforced.verdict.decision == POLICY_DENY && table->raises)
		attached_raise_denied(table, &enforced);
	keep_decision(statement, table, given, &enforced, &satisfied);
	formed = given;
	if (started || !attached_admits(enforced.verdict.decision))
	{
		attached_set_decision_names(table, &enforced, &retry_at);
		mine = MemoryContextSwitchTo(caller);
		formed = attached_form(table, attached_form_of(enforced.verdict.decision), given);
		MemoryContextSwitchTo(mine);
		attached_show(table, formed);
	}
	if (started)
		check_started(table, formed, &enforced, invalid);
	keep_forms(statement, given, formed);
	attached_statement_form(statement, formed);
	return formed;
}

Datum
policy_attached_insert(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = attached_trigger(fcinfo, TRIGGER_EVENT_BEFORE | TRIGGER_EVENT_ROW);
	AttachedStatement *statement = attached_statement(fcinfo);
	MemoryContext caller = MemoryContextSwitchTo(statement->guard->row_context);
	HeapTuple	tuple;

	MemoryContextReset(statement->guard->row_context);
	attached_check_event(TRIGGER_FIRED_BY_INSERT(trigger->tg_event));
	tuple = decide_insert(statement, attached_statement_table(statement, trigger),
						  trigger->tg_trigtuple, caller);
	MemoryContextSwitchTo(caller);
	return PointerGetDatum(tuple);
}

static void
write_batches(GuardStatement *guard)
{
	if (guard->evidence == NULL)
		return;
	row_batch_write(guard->evidence);
	row_batch_write(guard->approvals);
}

POLICY_NORETURN static void
report_changed_after(const AttachedTable *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
			 errmsg("a trigger changed a row of %s after it was decided", table->job_table),
			 errhint("Triggers fire in the order of their names: let its name come before zzz_policy_insert.")));
}

static Jsonb *
row_job(GuardStatement *guard, AttachedTable *table, HeapTuple row)
{
	const char *invalid;

	attached_show(table, row);
	return policy_stamped_job(attached_job(table), guard->identities, &invalid);
}

static void
record_insert(AttachedStatement *statement, AttachedTable *table, HeapTuple row)
{
	GuardStatement *guard = statement->guard;
	AttachedDecision *decision;
	const Decided *decided;
	PolicyJobKey key;
	PolicyEnforced enforced;
	Jsonb	   *job;

	decision = attached_statement_find(statement, table, row);
	if (decision == NULL)
		report_changed_after(table);
	decision->is_recorded = true;
	key.table = table->job_table;
	key.key = decision->key;
	if (decision->has_ended)
	{
		policy_approvals_close(&key);
		guarded_forget(&key, false);
		return;
	}
	decided = policy_statement_decided(guard, decision->decided);
	job = decided->job != NULL ? decided->job : row_job(guard, table, row);
	policy_statement_batches(guard);
	policy_statement_enforced(decided, job, &enforced);
	policy_record(guard->evidence, &enforced, &key);
	if (decision->guarded == NULL)
		return;
	decision->guarded->decision_id = enforced.decision_id;
	policy_approvals_sync(guard->approvals, &enforced, &key, decision->approvals,
						  decision->guarded->asked_by, decision->guarded->asked_via);
	guarded_write(&key, decision->guarded);
}

Datum
policy_attached_record(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = attached_trigger(fcinfo, TRIGGER_EVENT_AFTER | TRIGGER_EVENT_ROW);
	AttachedStatement *statement = attached_statement(fcinfo);
	MemoryContext caller = MemoryContextSwitchTo(statement->guard->row_context);

	MemoryContextReset(statement->guard->row_context);
	attached_check_event(TRIGGER_FIRED_BY_INSERT(trigger->tg_event));
	record_insert(statement, attached_statement_table(statement, trigger), trigger->tg_trigtuple);
	if (!statement->is_flushed)
		write_batches(statement->guard);
	MemoryContextSwitchTo(caller);
	return PointerGetDatum(NULL);
}

/* Whether what the statement records is written at its end. */
static bool
will_flush(Relation relation)
{
	const TriggerDesc *triggers = relation->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		if (strcmp(triggers->triggers[i].tgname, FLUSH_TRIGGER) == 0)
			return triggers->triggers[i].tgenabled == TRIGGER_FIRES_ON_ORIGIN ||
				triggers->triggers[i].tgenabled == TRIGGER_FIRES_ALWAYS;
	}
	return false;
}

Datum
policy_attached_begin(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = attached_trigger(fcinfo, TRIGGER_EVENT_BEFORE);

	if (will_flush(trigger->tg_relation))
		attached_statement(fcinfo)->is_flushed = true;
	return PointerGetDatum(NULL);
}

Datum
policy_attached_flush(PG_FUNCTION_ARGS)
{
	AttachedStatement *statement = attached_statement(fcinfo);

	(void) attached_trigger(fcinfo, TRIGGER_EVENT_AFTER);
	write_batches(statement->guard);
	attached_undo(statement);
	return PointerGetDatum(NULL);
}
