/*
 * guard.c
 *	  The triggers of policy.jobs.
 *
 * BEFORE decides and fills the row, and writes nothing: it also fires for rows that
 * ON CONFLICT never inserts.  AFTER records what BEFORE has decided of the row that
 * is there, and the statement's end writes it.  Verbs decide and record by
 * themselves (settle.c, claim.c): for them the guard only checks the transition.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "commands/trigger.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "dispatch/dispatch.h"
#include "dispatch/identity.h"
#include "dispatch/owner_query.h"
#include "dispatch/statement.h"
#include "dispatch/submission.h"
#include "dispatch/transitions.h"
#include "dispatch/verb.h"
#include "errors.h"
#include "language/normalize.h"
#include "store/notify.h"
#include "store/table.h"

PG_FUNCTION_INFO_V1(policy_guard_insert);
PG_FUNCTION_INFO_V1(policy_guard_update);
PG_FUNCTION_INFO_V1(policy_guard_record);
PG_FUNCTION_INFO_V1(policy_guard_delete);
PG_FUNCTION_INFO_V1(policy_guard_flush);

PolicySubmission *policy_submission = NULL;

/*
 * The trigger's data.  A guard is made for one place of one table, and reads rows of
 * any other as what they are not: it must not be hung elsewhere.
 */
static TriggerData *
trigger_data(FunctionCallInfo fcinfo, TriggerEvent when)
{
	static PolicyRelation jobs = {.name = "jobs"};
	const TriggerEvent events = TRIGGER_EVENT_TIMINGMASK | TRIGGER_EVENT_ROW;
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || (trigger->tg_event & events) != when)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("a guard of policy_engine was called as another trigger than it is"),
				 errhint("Its triggers are made by CREATE EXTENSION alone.")));
	policy_check_trigger_table(trigger->tg_relation, &jobs);
	return trigger;
}

static void
check_event(bool expected)
{
	if (!expected)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("a guard of policy_engine was called for another event than its own"),
				 errhint("Its triggers are made by CREATE EXTENSION alone.")));
}

static void
set_text(JobRow *row, JobColumn column, const char *string)
{
	row->nulls[column] = string == NULL;
	if (string != NULL)
		row->values[column] = CStringGetTextDatum(string);
}

static void
set_datum(JobRow *row, JobColumn column, Datum value)
{
	row->nulls[column] = false;
	row->values[column] = value;
}

/* What the decision says of the row. */
static void
set_decision(JobRow *row, const PolicyEnforced *enforced)
{
	bool		waits = enforced->verdict.decision == POLICY_THROTTLE;

	set_text(row, JOB_STATE, policy_decision_state(enforced->verdict.decision));
	set_datum(row, JOB_DECISION_ID, Int64GetDatum(enforced->decision_id));
	set_datum(row, JOB_DECIDED_AT, TimestampTzGetDatum(enforced->at));
	set_datum(row, JOB_CONSTRAINTS, JsonbPGetDatum(enforced->verdict.constraints));
	set_datum(row, JOB_RUN_AFTER, waits ? TimestampTzGetDatum(policy_run_after(enforced)) : 0);
	row->nulls[JOB_RUN_AFTER] = !waits;
}

/* The engine's columns of a new job. */
static void
set_submitted(JobRow *row, const PolicyCaller *caller, TimestampTz at)
{
	static const JobColumn unused[] = {
		JOB_CLAIMED_BY, JOB_CLAIMED_AT, JOB_CLAIM_TOKEN, JOB_DEADLINE, JOB_FINISHED_AT,
		JOB_RESULT, JOB_ERROR, JOB_HALT_ID
	};

	for (int i = 0; i < (int) lengthof(unused); i++)
		row->nulls[unused[i]] = true;
	set_datum(row, JOB_ID, Int64GetDatum(policy_next_job_id()));
	set_datum(row, JOB_ATTEMPTS, Int32GetDatum(0));
	set_text(row, JOB_SUBMITTED_BY, caller->name);
	set_text(row, JOB_SUBMITTED_VIA, caller->via);
	set_datum(row, JOB_SUBMITTED_AT, TimestampTzGetDatum(at));
}

/* A key that is empty once normalised is none. */
static void
drop_blank_key(JobRow *row)
{
	text	   *key;
	const char *normal;
	int			len;

	if (row->nulls[JOB_IDEMPOTENCY_KEY])
		return;
	key = DatumGetTextPP(row->values[JOB_IDEMPOTENCY_KEY]);
	if (policy_normalize(VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key), POLICY_TRIM, &normal, &len) &&
		len == 0)
		row->nulls[JOB_IDEMPOTENCY_KEY] = true;
}

/* The job of a row, with the identity that is bound to its submitter. */
static Jsonb *
stamped_job(GuardStatement *statement, JobRow *row, const char **invalid)
{
	const char *contradiction = policy_stamp_identity(row, statement->identities);
	Jsonb	   *job;

	drop_blank_key(row);
	job = job_row_object(row, invalid);
	if (*invalid == NULL)
		*invalid = contradiction;
	return job;
}

/* What policy_submit looks for where the row's idempotency key is taken. */
static void
tell_submission(PolicySubmission *submission, const JobRow *row, Jsonb *job)
{
	MemoryContext caller = MemoryContextSwitchTo(submission->context);

	if (!row->nulls[JOB_IDEMPOTENCY_KEY])
	{
		job_hash(job, submission->hash);
		submission->key_hash =
			job_idempotency_hash(job_tenant_key(!row->nulls[JOB_TENANT_ID], row->values[JOB_TENANT_ID],
												!row->nulls[JOB_EXTRA], row->values[JOB_EXTRA]),
								 DatumGetTextPP(row->values[JOB_IDEMPOTENCY_KEY]));
	}
	MemoryContextSwitchTo(caller);
}

/* The attempt of a new row; what the one before it was told is forgotten. */
static PolicyAttempt *
begin_attempt(GuardStatement *statement)
{
	policy_attempt_end(&statement->attempt);
	policy_attempt_init(&statement->attempt, NULL);
	statement->attempt.context = statement->context;
	return &statement->attempt;
}

static void
decide_insert(GuardStatement *statement, JobRow *row)
{
	const PolicyCaller *caller = policy_statement_caller(statement);
	PolicySubmission *submission = policy_submission;
	bool		is_given = submission != NULL && submission->invalid != NULL;
	const char *invalid;
	Jsonb	   *job = stamped_job(statement, row, &invalid);
	PolicyEnforced enforced;

	if (is_given)
		invalid = submission->invalid;
	policy_enforce(job, invalid, "submit", NULL, begin_attempt(statement), &enforced);
	enforced.decision_id = policy_next_decision_id();
	enforced.note = submission != NULL ? submission->note : NULL;
	set_submitted(row, caller, enforced.at);
	statement->attempt_job_id = DatumGetInt64(row->values[JOB_ID]);
	set_decision(row, &enforced);
	if (submission != NULL)
		tell_submission(submission, row, job);
	policy_statement_keep(statement, &enforced, job_row_content(row), is_given,
						  is_given ? submission->given : NULL);
}

static void
check_restore(Relation relation)
{
	if (policy_caller_owns(RelationGetRelid(relation)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_POLICY_ENGINE_COLUMN),
			 errmsg("column \"decision_id\" is the engine's"),
			 errdetail("A row that brings its own decision is a restore, which needs the rights of the table's owner."),
			 errhint("Leave it out: the insert decides.")));
}

/* Forms the changed tuple in the context of whoever called the trigger. */
static HeapTuple
form_row(TriggerData *trigger, HeapTuple given, JobRow *row, MemoryContext caller)
{
	MemoryContext mine = MemoryContextSwitchTo(caller);
	HeapTuple	tuple = job_row_form(given, RelationGetDescr(trigger->tg_relation), row);

	MemoryContextSwitchTo(mine);
	return tuple;
}

Datum
policy_guard_insert(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo, TRIGGER_EVENT_BEFORE | TRIGGER_EVENT_ROW);
	GuardStatement *statement = policy_statement(fcinfo);
	MemoryContext caller = MemoryContextSwitchTo(statement->row_context);
	HeapTuple	tuple = trigger->tg_trigtuple;
	JobRow		row;

	MemoryContextReset(statement->row_context);
	check_event(TRIGGER_FIRED_BY_INSERT(trigger->tg_event));
	job_row_read(tuple, RelationGetDescr(trigger->tg_relation), &row);
	if (!row.nulls[JOB_DECISION_ID])
		check_restore(trigger->tg_relation);
	else
	{
		decide_insert(statement, &row);
		tuple = form_row(trigger, tuple, &row, caller);
	}
	MemoryContextSwitchTo(caller);
	return PointerGetDatum(tuple);
}

static void
check_transition(const char *from, const char *to, const char *verb)
{
	if (policy_transition_allowed(from, to, verb))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_POLICY_ILLEGAL_TRANSITION),
			 errmsg("a job that is %s cannot become %s", from, to),
			 errhint("SELECT * FROM policy.job_transitions lists the ways.")));
}

static bool
same_column(Relation relation, const JobRow *a, const JobRow *b, JobColumn column)
{
	Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(relation), column - 1);

	if (a->nulls[column] != b->nulls[column])
		return false;
	return a->nulls[column] ||
		datum_image_eq(a->values[column], b->values[column], attribute->attbyval,
					   attribute->attlen);
}

/* Nobody but a verb writes the engine's columns. */
static void
check_engine_columns(Relation relation, const JobRow *old, const JobRow *new)
{
	for (int column = JOB_ID; column <= JOB_NCOLUMNS; column++)
	{
		if (column >= JOB_FIRST_SUBMITTED && column <= JOB_LAST_SUBMITTED)
			continue;
		if (same_column(relation, old, new, column))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_POLICY_ENGINE_COLUMN),
				 errmsg("column \"%s\" is the engine's",
						NameStr(TupleDescAttr(RelationGetDescr(relation), column - 1)->attname)),
				 errhint("policy_claim, policy_complete, policy_fail, policy_cancel, policy_approve and policy_reject move jobs.")));
	}
}

static void
check_content_may_change(const char *state)
{
	if (policy_state_waits(state))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_POLICY_ILLEGAL_TRANSITION),
			 errmsg("a job that is %s cannot be changed", state),
			 errdetail("What was decided, or is running, is what was submitted."),
			 errhint("Submit another job.")));
}

/* A job is its submitter's to change, and an operator's. */
static void
check_may_change(Relation relation, const PolicyCaller *caller, const JobRow *old)
{
	char	   *submitted_by = TextDatumGetCString(old->values[JOB_SUBMITTED_BY]);

	if (strcmp(submitted_by, caller->name) == 0 ||
		policy_caller_owns(RelationGetRelid(relation)) ||
		policy_duty_held(policy_caller_roles(caller), "operate"))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("job " INT64_FORMAT " is not yours to change", DatumGetInt64(old->values[JOB_ID])),
			 errdetail("It was submitted by \"%s\".", submitted_by),
			 errhint("Who submitted it may change it, or somebody with the duty operate.")));
}

static bool
job_is_stored(int64 job_id)
{
	Relation	relation = policy_table_open("jobs");
	Relation	index = policy_primary_key_open(relation);
	ScanKeyData key;
	SysScanDesc scan;
	bool		found;

	ScanKeyInit(&key, JOB_ID, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(job_id));
	scan = systable_beginscan_ordered(relation, index, SnapshotSelf, 1, &key);
	found = HeapTupleIsValid(systable_getnext_ordered(scan, ForwardScanDirection));
	systable_endscan_ordered(scan);
	policy_table_close(relation, index);
	return found;
}

/*
 * The attempt that goes on where ON CONFLICT makes an update of a row that was to be
 * inserted: it was charged for the same job.  NULL where there is none: a row that was
 * inserted has had its attempt.
 */
static PolicyAttempt *
conflicting_attempt(GuardStatement *statement, Jsonb *job)
{
	const Decided *last;

	if (statement->attempt.nanswers == 0 || statement->ndecided == 0)
		return NULL;
	last = &statement->decided[statement->ndecided - 1];
	if (last->job == NULL || VARSIZE(last->job) != VARSIZE(job) ||
		memcmp(last->job, job, VARSIZE(job)) != 0 ||
		job_is_stored(statement->attempt_job_id))
		return NULL;
	return &statement->attempt;
}

static void
decide_update(GuardStatement *statement, const JobRow *old, JobRow *new)
{
	JobSatisfied satisfied;
	const char *invalid;
	Jsonb	   *job = stamped_job(statement, new, &invalid);
	PolicyEnforced enforced;

	policy_satisfied_init(&satisfied, job, policy_job_key(DatumGetInt64(old->values[JOB_ID])),
						  GetCurrentTimestamp(),
						  policy_attempts_allowed_by(DatumGetJsonbP(old->values[JOB_CONSTRAINTS])),
						  false);
	policy_enforce(job, invalid, "update", &satisfied.base, conflicting_attempt(statement, job),
				   &enforced);
	policy_attempt_end(&statement->attempt);
	enforced.decision_id = policy_next_decision_id();
	set_decision(new, &enforced);
	/* Another job, which its halt may not cover: the next claim tells. */
	new->nulls[JOB_HALT_ID] = true;
	check_transition(TextDatumGetCString(old->values[JOB_STATE]),
					 TextDatumGetCString(new->values[JOB_STATE]), NULL);
	policy_statement_keep(statement, &enforced, job_row_content(new), false, NULL);
}

static HeapTuple
guard_change(FunctionCallInfo fcinfo, TriggerData *trigger, MemoryContext caller)
{
	GuardStatement *statement = policy_statement(fcinfo);
	TupleDesc	tupdesc = RelationGetDescr(trigger->tg_relation);
	const char *verb = policy_verb_current();
	JobRow		old;
	JobRow		new;
	char	   *state;

	job_row_read(trigger->tg_trigtuple, tupdesc, &old);
	job_row_read(trigger->tg_newtuple, tupdesc, &new);
	state = TextDatumGetCString(old.values[JOB_STATE]);
	if (verb != NULL)
	{
		check_transition(state, TextDatumGetCString(new.values[JOB_STATE]), verb);
		return trigger->tg_newtuple;
	}
	check_engine_columns(trigger->tg_relation, &old, &new);
	if (job_row_same_content(&old, &new))
		return trigger->tg_newtuple;
	check_may_change(trigger->tg_relation, policy_statement_caller(statement), &old);
	check_content_may_change(state);
	decide_update(statement, &old, &new);
	return form_row(trigger, trigger->tg_newtuple, &new, caller);
}

Datum
policy_guard_update(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo, TRIGGER_EVENT_BEFORE | TRIGGER_EVENT_ROW);
	GuardStatement *statement = policy_statement(fcinfo);
	MemoryContext caller = MemoryContextSwitchTo(statement->row_context);
	HeapTuple	tuple;

	MemoryContextReset(statement->row_context);
	check_event(TRIGGER_FIRED_BY_UPDATE(trigger->tg_event));
	tuple = guard_change(fcinfo, trigger, caller);
	MemoryContextSwitchTo(caller);
	return PointerGetDatum(tuple);
}

static void
report_changed_after(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
			 errmsg("a trigger changed a job after it was decided"),
			 errhint("Triggers of policy.jobs fire in the order of their names: let its name come before zz_guard_insert.")));
}

/* Records the decision of a row that is stored now, and what it asks of people. */
static void
record_row(GuardStatement *statement, const Decided *decided, const JobRow *row, bool is_new)
{
	PolicyJobKey key = policy_job_key(DatumGetInt64(row->values[JOB_ID]));
	const char *requested_by = TextDatumGetCString(row->values[JOB_SUBMITTED_BY]);
	const char *requested_via = row->nulls[JOB_SUBMITTED_VIA] ? NULL :
	TextDatumGetCString(row->values[JOB_SUBMITTED_VIA]);
	const char *invalid;
	Jsonb	   *job = decided->job;
	PolicyEnforced enforced;
	JobApprovals approvals;

	if (job_row_content(row) != decided->content)
		report_changed_after();
	if (job == NULL)
		job = job_row_object(row, &invalid);
	policy_statement_batches(statement);
	policy_statement_enforced(decided, job, &enforced);
	policy_record(statement->evidence, &enforced, &key);
	if (is_new)
	{
		policy_approvals_sync(statement->approvals, &enforced, &key, NULL, requested_by,
							  requested_via);
		return;
	}
	/* Who changed somebody else's job asks as much as who submitted it. */
	if (strcmp(statement->caller.name, requested_by) != 0)
	{
		requested_via = requested_by;
		requested_by = statement->caller.name;
	}
	policy_approvals_read(&key, &approvals);
	policy_approvals_sync(statement->approvals, &enforced, &key, &approvals, requested_by,
						  requested_via);
}

static void
record_change(GuardStatement *statement, TriggerData *trigger)
{
	TupleDesc	tupdesc = RelationGetDescr(trigger->tg_relation);
	bool		is_new = TRIGGER_FIRED_BY_INSERT(trigger->tg_event);
	JobRow		row;
	JobRow		old;
	Decided    *decided;
	char	   *state;

	job_row_read(is_new ? trigger->tg_trigtuple : trigger->tg_newtuple, tupdesc, &row);
	decided = policy_statement_find(statement, DatumGetInt64(row.values[JOB_DECISION_ID]));
	if (is_new)
	{
		/* Without a decision of this statement's it is a restore. */
		if (decided != NULL)
			record_row(statement, decided, &row, true);
		return;
	}
	job_row_read(trigger->tg_trigtuple, tupdesc, &old);
	if (decided != NULL && !same_column(trigger->tg_relation, &old, &row, JOB_DECISION_ID))
		record_row(statement, decided, &row, false);
	state = TextDatumGetCString(row.values[JOB_STATE]);
	if (policy_state_has_ended(state) &&
		!policy_state_has_ended(TextDatumGetCString(old.values[JOB_STATE])))
	{
		PolicyJobKey key = policy_job_key(DatumGetInt64(row.values[JOB_ID]));

		policy_approvals_close(&key);
	}
}

Datum
policy_guard_record(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo, TRIGGER_EVENT_AFTER | TRIGGER_EVENT_ROW);
	GuardStatement *statement = policy_statement(fcinfo);
	MemoryContext caller = MemoryContextSwitchTo(statement->row_context);

	MemoryContextReset(statement->row_context);
	check_event(TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ||
				TRIGGER_FIRED_BY_UPDATE(trigger->tg_event));
	record_change(statement, trigger);
	MemoryContextSwitchTo(caller);
	return PointerGetDatum(NULL);
}

Datum
policy_guard_flush(PG_FUNCTION_ARGS)
{
	GuardStatement *statement;

	(void) trigger_data(fcinfo, TRIGGER_EVENT_AFTER);
	statement = policy_statement(fcinfo);
	if (statement->evidence != NULL)
	{
		row_batch_write(statement->evidence);
		row_batch_write(statement->approvals);
	}
	return PointerGetDatum(NULL);
}

Datum
policy_guard_delete(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo, TRIGGER_EVENT_AFTER | TRIGGER_EVENT_ROW);
	PolicyJobKey key;
	JobRow		row;

	job_row_read(trigger->tg_trigtuple, RelationGetDescr(trigger->tg_relation), &row);
	key = policy_job_key(DatumGetInt64(row.values[JOB_ID]));
	policy_approvals_close(&key);
	return PointerGetDatum(NULL);
}
