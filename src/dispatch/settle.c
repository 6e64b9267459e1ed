/*
 * settle.c
 *	  Jobs that wait, decided again.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "dispatch/owner_query.h"
#include "dispatch/settle.h"
#include "dispatch/statement.h"
#include "dispatch/transitions.h"
#include "dispatch/verb.h"
#include "engine/verdict_sql.h"
#include "store/notify.h"
#include "store/settings.h"
#include "store/table.h"

PG_FUNCTION_INFO_V1(policy_settle);
PG_FUNCTION_INFO_V1(policy_approval_changed);

void		(*policy_attached_settle) (const PolicyJobKey *key, const char *source, const char *to);
bool		(*policy_attached_peek) (const PolicyJobKey *key, Candidate *candidate);

/* The result of prior_query. */
enum
{
	PRIOR_POSITION = 1,
	PRIOR_DECISION,
	PRIOR_MATCHED,
	PRIOR_CONSTRAINTS,
	PRIOR_SNAPSHOT,
	PRIOR_MONITORED
};

static OwnerQuery prior_query = {
	.text = "SELECT u.n, d.decision, d.matched_rules, d.constraints, d.snapshot, d.monitored_rules "
	"FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) "
	"WITH ORDINALITY AS u(decision_id, decided_at, n) "
	"CROSS JOIN LATERAL (SELECT e.decision::pg_catalog.text AS decision, e.matched_rules, "
	"e.constraints, e.snapshot, e.monitored_rules FROM policy.decisions e "
	"WHERE e.decision_id OPERATOR(pg_catalog.=) u.decision_id "
	"AND e.decided_at OPERATOR(pg_catalog.=) u.decided_at LIMIT 1) d",
	.nargs = 2, .types = {INT8ARRAYOID, TIMESTAMPTZARRAYOID}
};

static void
read_candidate(Candidate *candidate, HeapTuple tuple, TupleDesc tupdesc)
{
	memset(candidate, 0, sizeof(Candidate));
	job_row_read(tuple, tupdesc, &candidate->row);
	candidate->job_id = DatumGetInt64(candidate->row.values[JOB_ID]);
	candidate->key = policy_job_key(candidate->job_id);
	candidate->state = TextDatumGetCString(candidate->row.values[JOB_STATE]);
	candidate->job = job_row_object(&candidate->row, &candidate->invalid);
}

static void
read_prior(Candidate *candidate, HeapTuple tuple, TupleDesc tupdesc)
{
	bool		isnull;
	Datum		snapshot = SPI_getbinval(tuple, tupdesc, PRIOR_SNAPSHOT, &isnull);

	candidate->prior.snapshot = isnull ? NULL : TextDatumGetCString(snapshot);
	candidate->prior_decision = SPI_getvalue(tuple, tupdesc, PRIOR_DECISION);
	candidate->prior.matched =
		DatumGetArrayTypePCopy(SPI_getbinval(tuple, tupdesc, PRIOR_MATCHED, &isnull));
	candidate->prior.monitored =
		DatumGetArrayTypePCopy(SPI_getbinval(tuple, tupdesc, PRIOR_MONITORED, &isnull));
	candidate->prior.at = DatumGetTimestampTz(candidate->row.values[JOB_DECIDED_AT]);
	candidate->prior_constraints =
		DatumGetJsonbPCopy(SPI_getbinval(tuple, tupdesc, PRIOR_CONSTRAINTS, &isnull));
	candidate->has_prior = true;
}

static void
read_priors(Candidates *candidates)
{
	Datum	   *ids = palloc(sizeof(Datum) * candidates->count);
	Datum	   *times = palloc(sizeof(Datum) * candidates->count);
	Datum		values[2];
	bool		isnull;

	for (int i = 0; i < candidates->count; i++)
	{
		ids[i] = candidates->items[i].row.values[JOB_DECISION_ID];
		times[i] = candidates->items[i].row.values[JOB_DECIDED_AT];
	}
	values[0] = PointerGetDatum(construct_array(ids, candidates->count, INT8OID, 8,
												FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	values[1] = PointerGetDatum(construct_array(times, candidates->count, TIMESTAMPTZOID, 8,
												FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	policy_owner_run(&prior_query, values, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	tupdesc = SPI_tuptable->tupdesc;
		int64		position = DatumGetInt64(SPI_getbinval(tuple, tupdesc, PRIOR_POSITION,
														   &isnull));

		read_prior(&candidates->items[position - 1], tuple, tupdesc);
	}
}

void
policy_candidate_read_prior(Candidate *candidate)
{
	Candidates	one = {candidate, 1};

	read_priors(&one);
}

void
policy_candidates_read(Candidates *candidates)
{
	SPITupleTable *rows = SPI_tuptable;

	candidates->count = (int) SPI_processed;
	candidates->items = palloc(sizeof(Candidate) * Max(candidates->count, 1));
	for (int i = 0; i < candidates->count; i++)
		read_candidate(&candidates->items[i], rows->vals[i], rows->tupdesc);
	if (candidates->count > 0)
		read_priors(candidates);
}

/* Whether it was throttled, and its time has come. */
static bool
is_due(const Candidate *candidate, TimestampTz at)
{
	const JobRow *row = &candidate->row;

	return !row->nulls[JOB_RUN_AFTER] && DatumGetTimestampTz(row->values[JOB_RUN_AFTER]) <= at;
}

/*
 * The constraints of the decision that an approval was given to, or those that the
 * job has where that is not in evidence any more.
 */
static Jsonb *
approved_constraints(const Candidate *candidate, const JobApproval *approval)
{
	static OwnerQuery query = {
		.text = "SELECT d.constraints FROM policy.decisions d "
		"WHERE d.decision_id OPERATOR(pg_catalog.=) $1 AND d.decided_at OPERATOR(pg_catalog.=) $2",
		.nargs = 2, .types = {INT8OID, TIMESTAMPTZOID}
	};
	Datum		values[2];
	bool		isnull;

	values[0] = Int64GetDatum(approval->decision_id);
	values[1] = TimestampTzGetDatum(approval->decided_at);
	policy_owner_run(&query, values, NULL);
	if (SPI_processed == 0)
		return DatumGetJsonbP(candidate->row.values[JOB_CONSTRAINTS]);
	return DatumGetJsonbPCopy(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
											&isnull));
}

/* The verdict's constraints, and below them those of what was approved. */
static Jsonb *
bounded_constraints(const Candidate *candidate)
{
	const JobApprovals *approvals = &candidate->satisfied.approvals;
	const PolicyConstraint *merged = NULL;

	for (int i = 0; i < approvals->count; i++)
	{
		if (!approvals->items[i].used)
			continue;
		if (merged == NULL)
			merged = constraint_from_jsonb(candidate->now.verdict.constraints);
		merged = constraint_merge(merged, constraint_from_jsonb(approved_constraints(candidate,
																					 &approvals->items[i])));
	}
	return merged != NULL ? constraint_to_jsonb(merged) : candidate->now.verdict.constraints;
}

/* Whether its last decision was made in the attempt that goes on now. */
static bool
goes_on(const Candidate *candidate, const char *source)
{
	const JobRow *row = &candidate->row;

	if (!candidate->has_prior || strcmp(source, "redecide") == 0)
		return false;
	return row->nulls[JOB_CLAIMED_AT] ||
		candidate->prior.at > DatumGetTimestampTz(row->values[JOB_CLAIMED_AT]);
}

void
policy_candidate_decide(Candidate *candidate, const char *source)
{
	PolicyAttempt attempt;
	TimestampTz at = GetCurrentTimestamp();
	Jsonb	   *constraints = DatumGetJsonbP(candidate->row.values[JOB_CONSTRAINTS]);
	bool		pushed = false;

	policy_satisfied_init(&candidate->satisfied, candidate->job, candidate->key, at,
						  policy_attempts_allowed_by(constraints), is_due(candidate, at));
	candidate->prior.is_due = candidate->satisfied.is_due;
	policy_attempt_init(&attempt, goes_on(candidate, source) ? &candidate->prior : NULL);
	attempt.reads_only = policy_is_peeking();
	/* What has committed while the row's lock was waited for counts. */
	if (!IsolationUsesXactSnapshot() && !policy_is_peeking())
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		pushed = true;
	}
	policy_enforce(candidate->job, candidate->invalid, source, &candidate->satisfied.base,
				   &attempt, &candidate->now);
	if (pushed)
		PopActiveSnapshot();
	candidate->constraints = candidate->now.verdict.decision == POLICY_DENY ?
		candidate->now.verdict.constraints : bounded_constraints(candidate);
	candidate->now.verdict.constraints = candidate->constraints;
}

static bool
same_jsonb(Jsonb *a, Jsonb *b)
{
	return compareJsonbContainers(&a->root, &b->root) == 0;
}

static bool
same_rules(ArrayType *prior, const PolicyVerdict *verdict)
{
	Datum	   *items;
	bool	   *nulls;
	int			nitems;

	deconstruct_array(prior, TEXTOID, -1, false, TYPALIGN_INT, &items, &nulls, &nitems);
	if (nitems != verdict->nmatched)
		return false;
	for (int i = 0; i < nitems; i++)
	{
		text	   *rule = DatumGetTextPP(items[i]);
		int			len = VARSIZE_ANY_EXHDR(rule);

		if (nulls[i] || len != (int) strlen(verdict->matched[i]->id) ||
			memcmp(VARDATA_ANY(rule), verdict->matched[i]->id, len) != 0)
			return false;
	}
	return true;
}

bool
policy_candidate_changed(const Candidate *candidate, bool with_snapshot)
{
	const PolicyEnforced *now = &candidate->now;
	char	   *snapshot = now->snapshot != NULL ? text_to_cstring(now->snapshot) : NULL;

	if (!candidate->has_prior ||
		strcmp(candidate->prior_decision, policy_decision_labels[now->verdict.decision]) != 0 ||
		!same_rules(candidate->prior.matched, &now->verdict) ||
		!same_jsonb(candidate->prior_constraints, candidate->constraints))
		return true;
	if (!with_snapshot)
		return false;
	return snapshot == NULL || candidate->prior.snapshot == NULL ?
		snapshot != candidate->prior.snapshot : strcmp(snapshot, candidate->prior.snapshot) != 0;
}

void
policy_recording_init(Recording *recording)
{
	recording->evidence = policy_evidence_batch();
	recording->approvals = policy_approvals_batch();
}

void
policy_recording_write(Recording *recording)
{
	row_batch_write(recording->evidence);
	row_batch_write(recording->approvals);
}

void
policy_candidate_record(Candidate *candidate, Recording *recording)
{
	PolicyEnforced *now = &candidate->now;

	now->decision_id = policy_next_decision_id();
	job_hash(now->job, now->hash);
	policy_record(recording->evidence, now, &candidate->key);
	candidate->row.values[JOB_DECISION_ID] = Int64GetDatum(now->decision_id);
	candidate->row.values[JOB_DECIDED_AT] = TimestampTzGetDatum(now->at);
}

void
policy_candidate_move(const Candidate *candidate, const char *state)
{
	static OwnerQuery query = {
		.text = "UPDATE policy.jobs SET state = $2, decision_id = $3, decided_at = $4, constraints = $5, "
		"run_after = $6, halt_id = NULL WHERE job_id OPERATOR(pg_catalog.=) $1",
		.nargs = 6, .types = {INT8OID, TEXTOID, INT8OID, TIMESTAMPTZOID, JSONBOID, TIMESTAMPTZOID}
	};
	bool		waits = strcmp(state, "throttled") == 0;
	Datum		values[6];
	char		nulls[6] = {' ', ' ', ' ', ' ', ' ', ' '};

	values[0] = Int64GetDatum(candidate->job_id);
	values[1] = CStringGetTextDatum(state);
	values[2] = candidate->row.values[JOB_DECISION_ID];
	values[3] = candidate->row.values[JOB_DECIDED_AT];
	values[4] = JsonbPGetDatum(candidate->constraints);
	values[5] = waits ? TimestampTzGetDatum(policy_run_after(&candidate->now)) :
		candidate->row.values[JOB_RUN_AFTER];
	if (!waits && candidate->row.nulls[JOB_RUN_AFTER])
		nulls[5] = 'n';
	policy_owner_run(&query, values, nulls);
	if (SPI_processed != 1)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
				 errmsg("job " INT64_FORMAT " could not be moved to %s", candidate->job_id, state),
				 errhint("A trigger of policy.jobs keeps its row from being updated.")));
}

static bool
find_job(OwnerQuery *query, int64 job_id, Candidate *candidate)
{
	Datum		value = Int64GetDatum(job_id);
	Candidates	candidates;

	policy_owner_run(query, &value, NULL);
	policy_candidates_read(&candidates);
	if (candidates.count == 0)
		return false;
	*candidate = candidates.items[0];
	return true;
}

static bool
lock_job(int64 job_id, Candidate *candidate)
{
	static OwnerQuery query = {
		.text = "SELECT * FROM policy.jobs WHERE job_id OPERATOR(pg_catalog.=) $1 FOR UPDATE",
		.nargs = 1, .types = {INT8OID}
	};

	return find_job(&query, job_id, candidate);
}

bool
policy_candidate_peek(int64 job_id, Candidate *candidate)
{
	static OwnerQuery query = {
		.text = "SELECT * FROM policy.jobs WHERE job_id OPERATOR(pg_catalog.=) $1",
		.nargs = 1, .types = {INT8OID}
	};

	if (!find_job(&query, job_id, candidate))
		return false;
	policy_candidate_decide(candidate, POLICY_VERB_PEEK);
	return true;
}

/* Whether nobody could decide; raises that, but for maintenance, which comes again. */
static bool
nobody_decides(const Candidate *candidate, const char *source)
{
	if (candidate->now.policy != NULL)
		return false;
	if (strcmp(source, "maintain") == 0)
		return true;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("no policy can decide job " INT64_FORMAT " now", candidate->job_id),
			 errdetail("%s.", text_to_cstring(candidate->now.verdict.reason)),
			 errhint("Nothing was changed. SELECT * FROM policy_status() shows what is active.")));
	return true;
}

void
policy_candidate_sync(Candidate *candidate, Recording *recording)
{
	const JobRow *row = &candidate->row;

	policy_approvals_sync(recording->approvals, &candidate->now, &candidate->key,
						  policy_satisfied_approvals(&candidate->satisfied),
						  TextDatumGetCString(row->values[JOB_SUBMITTED_BY]),
						  row->nulls[JOB_SUBMITTED_VIA] ? NULL :
						  TextDatumGetCString(row->values[JOB_SUBMITTED_VIA]));
}

/* Where a decision leads: a refused job stays what it is where it is refused again. */
static const char *
settled_state(const Candidate *candidate)
{
	const char *state = policy_decision_state(candidate->now.verdict.decision);

	return policy_state_is_refused(candidate->state) && policy_state_is_refused(state) ?
		candidate->state : state;
}

bool
policy_candidate_asks_anew(Candidate *candidate)
{
	JobApprovals *approvals = policy_satisfied_approvals(&candidate->satisfied);

	for (int i = 0; i < approvals->count; i++)
	{
		if (policy_approval_falls(&approvals->items[i], &candidate->now))
			return true;
	}
	return policy_approvals_missing(approvals, &candidate->now);
}

static char *
settle_locked(Candidate *candidate, const char *source, const char *note)
{
	bool		always = strcmp(source, "redecide") == 0;
	const char *state;
	Recording	recording;

	if (!policy_state_waits(candidate->state) &&
		!(always && policy_state_is_refused(candidate->state)))
		return candidate->state;
	policy_candidate_decide(candidate, source);
	if (nobody_decides(candidate, source))
		return candidate->state;
	candidate->now.note = note;
	state = settled_state(candidate);
	if (!always && strcmp(state, candidate->state) == 0 &&
		!policy_candidate_changed(candidate, false) && !policy_candidate_asks_anew(candidate))
		return candidate->state;
	policy_recording_init(&recording);
	policy_candidate_record(candidate, &recording);
	policy_candidate_sync(candidate, &recording);
	policy_candidate_move(candidate, state);
	policy_recording_write(&recording);
	return pstrdup(state);
}

char *
policy_settle_job(int64 job_id, const char *source, const char *note)
{
	MemoryContext caller = CurrentMemoryContext;
	OwnerScope	scope;
	Candidate	candidate;
	char	   *state = NULL;

	policy_owner_begin(&scope, source);
	if (lock_job(job_id, &candidate))
		state = MemoryContextStrdup(caller, settle_locked(&candidate, source, note));
	policy_owner_end(&scope);
	return state;
}

/* policy.settle(job_id bigint, source text, note text) */
Datum
policy_settle(PG_FUNCTION_ARGS)
{
	char	   *state;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	state = policy_settle_job(PG_GETARG_INT64(0), text_to_cstring(PG_GETARG_TEXT_PP(1)),
							  PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2)));
	if (state == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(state));
}

/* Ends a waiting job as rejected or expired. */
static void
refuse_job(int64 job_id, const char *verb, const char *state)
{
	static OwnerQuery query = {
		.text = "UPDATE policy.jobs SET state = $2 WHERE job_id OPERATOR(pg_catalog.=) $1 "
		"AND state OPERATOR(pg_catalog.=) ANY (CASE WHEN $2 OPERATOR(pg_catalog.=) 'expired' "
		"THEN ARRAY['awaiting_approval'] ELSE ARRAY['awaiting_approval', 'ready', 'throttled'] END)",
		.nargs = 2, .types = {INT8OID, TEXTOID}
	};
	OwnerScope	scope;
	Datum		values[2];

	values[0] = Int64GetDatum(job_id);
	values[1] = CStringGetTextDatum(state);
	policy_owner_begin(&scope, verb);
	policy_owner_run(&query, values, NULL);
	policy_owner_end(&scope);
}

/* Where the job of an approval goes that has got this status. */
static void
move_job(const PolicyJobKey *key, int64 job_id, const char *verb, const char *to)
{
	if (strcmp(key->table, POLICY_JOBS_TABLE) != 0)
		policy_attached_settle(key, verb, to);
	else if (to != NULL)
		refuse_job(job_id, verb, to);
	else
		policy_settle_job(job_id, verb, NULL);
}

/* The trigger of policy.approvals. */
Datum
policy_approval_changed(PG_FUNCTION_ARGS)
{
	static PolicyRelation approvals = {.name = "approvals"};
	TriggerData *trigger;
	TupleDesc	tupdesc;
	JobApproval old;
	JobApproval new;
	PolicyJobKey key;
	int64		job_id;

	trigger = (TriggerData *) fcinfo->context;
	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) || !TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("policy.approval_changed() was called as another trigger than it is"),
				 errhint("The extension's triggers are made by CREATE EXTENSION alone.")));
	policy_check_trigger_table(trigger->tg_relation, &approvals);
	tupdesc = RelationGetDescr(trigger->tg_relation);
	policy_approval_from_tuple(trigger->tg_trigtuple, tupdesc, &old);
	policy_approval_from_tuple(trigger->tg_newtuple, tupdesc, &new);
	if (old.status == new.status)
		return PointerGetDatum(NULL);
	policy_notify(POLICY_CHANNEL_APPROVALS, new.approval_id);
	/* A verb that is settling a job moves it by itself. */
	if (policy_verb_current() != NULL)
		return PointerGetDatum(NULL);
	job_id = policy_approval_job(trigger->tg_newtuple, tupdesc, &key);
	if (new.status == POLICY_APPROVAL_REJECTED)
		move_job(&key, job_id, "vote", "rejected");
	else if (new.status == POLICY_APPROVAL_EXPIRED && old.status == POLICY_APPROVAL_PENDING)
		move_job(&key, job_id, "maintain", "expired");
	else
		move_job(&key, job_id, new.status == POLICY_APPROVAL_APPROVED ? "vote" : "maintain", NULL);
	return PointerGetDatum(NULL);
}
