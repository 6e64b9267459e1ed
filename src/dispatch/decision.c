/*
 * decision.c
 *	  A verdict that is enforced, and its row in the evidence.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "columns.h"
#include "dispatch/caller.h"
#include "dispatch/decision.h"
#include "dispatch/row_writer.h"
#include "engine/edit.h"
#include "engine/verdict_sql.h"
#include "store/table.h"

/* The columns of policy.decisions: sql/50_jobs.sql creates them in this order. */
enum
{
	DECISION_ID,
	DECISION_DECIDED_AT,
	DECISION_SOURCE,
	DECISION_JOB_TABLE,
	DECISION_JOB_KEY,
	DECISION_JOB_HASH,
	DECISION_TENANT_ID,
	DECISION_ACTOR_ID,
	DECISION_TOPIC,
	DECISION_JOB,
	DECISION_DECISION,
	DECISION_REASON,
	DECISION_MATCHED_RULE,
	DECISION_MATCHED_RULES,
	DECISION_MONITORED_RULES,
	DECISION_CONSTRAINTS,
	DECISION_SNAPSHOT,
	DECISION_RELEASE_ID,
	DECISION_ROLE,
	DECISION_SESSION_ROLE,
	DECISION_APPLICATION_NAME,
	DECISION_NOTE,
	DECISION_NCOLUMNS
};

static const Oid column_types[DECISION_NCOLUMNS] = {
	[DECISION_ID] = INT8OID,
	[DECISION_DECIDED_AT] = TIMESTAMPTZOID,
	[DECISION_SOURCE] = TEXTOID,
	[DECISION_JOB_TABLE] = TEXTOID,
	[DECISION_JOB_KEY] = TEXTOID,
	[DECISION_JOB_HASH] = BYTEAOID,
	[DECISION_TENANT_ID] = TEXTOID,
	[DECISION_ACTOR_ID] = TEXTOID,
	[DECISION_TOPIC] = TEXTOID,
	[DECISION_JOB] = JSONBOID,
	[DECISION_DECISION] = POLICY_OWN_TYPE,
	[DECISION_REASON] = TEXTOID,
	[DECISION_MATCHED_RULE] = TEXTOID,
	[DECISION_MATCHED_RULES] = TEXTARRAYOID,
	[DECISION_MONITORED_RULES] = TEXTARRAYOID,
	[DECISION_CONSTRAINTS] = JSONBOID,
	[DECISION_SNAPSHOT] = TEXTOID,
	[DECISION_RELEASE_ID] = INT8OID,
	[DECISION_ROLE] = TEXTOID,
	[DECISION_SESSION_ROLE] = TEXTOID,
	[DECISION_APPLICATION_NAME] = TEXTOID,
	[DECISION_NOTE] = TEXTOID,
};

/* Who has rows recorded, as a batch's last row names it. */
typedef struct EvidenceCaller
{
	Oid			role;
	Oid			session_role;
	const char *application;
	text	   *role_name;
	text	   *session_role_name;
	text	   *application_name;	/* NULL: it has none */
} EvidenceCaller;

/* Clients cannot read infinity, nor years far beyond this. */
#define LAST_DEADLINE_YEAR 9000

PG_FUNCTION_INFO_V1(policy_attempts_allowed);

static text *
fact(const JobString *value)
{
	return value->data == NULL ? NULL : cstring_to_text_with_len(value->data, value->len);
}

void
policy_enforce(Jsonb *job, const char *invalid, const char *source,
			   PolicySatisfied *satisfied, PolicyAttempt *attempt, PolicyEnforced *enforced)
{
	ActivePolicy active;
	PolicyAttempt alone;
	Job			read;

	memset(enforced, 0, sizeof(PolicyEnforced));
	policy_job_read(job, &read);
	if (invalid != NULL)
		read.invalid = pstrdup(invalid);
	policy_active(NULL, &active);
	enforced->at = GetCurrentTimestamp();
	if (satisfied != NULL)
		((JobSatisfied *) satisfied)->policy = active.policy;
	if (attempt == NULL)
		policy_attempt_init(attempt = &alone, NULL);
	attempt->policy = active.policy;
	policy_decide_active(&active, &read, enforced->at, satisfied, &attempt->base,
						 &enforced->verdict);
	enforced->source = source;
	enforced->job = job;
	enforced->policy = active.policy;
	enforced->snapshot = active.snapshot;
	enforced->release_id = active.release_id;
	enforced->unavailable = active.unavailable != NULL;
	if (read.invalid == NULL)
	{
		enforced->tenant_id = fact(&read.fields[POLICY_FIELD_TENANT]);
		enforced->actor_id = fact(&read.fields[POLICY_FIELD_ACTOR_ID]);
		enforced->topic = fact(&read.fields[POLICY_FIELD_TOPIC]);
	}
}

const char *
policy_decision_state(PolicyDecision decision)
{
	switch (decision)
	{
		case POLICY_ALLOW:
		case POLICY_ALLOW_WITH_CONSTRAINTS:
			return "ready";
		case POLICY_THROTTLE:
			return "throttled";
		case POLICY_REQUIRE_APPROVAL:
			return "awaiting_approval";
		default:
			return "denied";
	}
}

TimestampTz
policy_run_after(const PolicyEnforced *enforced)
{
	return enforced->at + enforced->verdict.retry_after_sec * USECS_PER_SEC;
}

/* A number of a job's constraints, at least 0; false where it has none. */
static bool
get_bound(Jsonb *constraints, const char *name, double *bound)
{
	JsonbValue	space;
	JsonbValue *value;

	if (!JB_ROOT_IS_OBJECT(constraints))
		return false;
	value = getKeyJsonValueFromContainer(&constraints->root, name, strlen(name), &space);
	if (value == NULL || value->type != jbvNumeric)
		return false;
	*bound = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
												NumericGetDatum(value->val.numeric)));
	*bound = Max(*bound, 0);
	return true;
}

int32
policy_attempts_allowed_by(Jsonb *constraints)
{
	double		retries;

	if (!get_bound(constraints, "max_retries", &retries))
		return 1;
	return retries >= PG_INT32_MAX - 1 ? PG_INT32_MAX : 1 + (int32) retries;
}

/* policy.attempts_allowed(constraints jsonb) */
Datum
policy_attempts_allowed(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(policy_attempts_allowed_by(PG_GETARG_JSONB_P(0)));
}

bool
policy_deadline(Jsonb *constraints, TimestampTz from, TimestampTz *deadline)
{
	TimestampTz last = ((TimestampTz) date2j(LAST_DEADLINE_YEAR, 1, 1) - POSTGRES_EPOCH_JDATE) *
	USECS_PER_DAY;
	double		seconds;

	if (!get_bound(constraints, "max_runtime_sec", &seconds))
		return false;
	if (seconds >= (double) (last - from) / USECS_PER_SEC)
		*deadline = last;
	else
		*deadline = from + (TimestampTz) (seconds * USECS_PER_SEC);
	return true;
}

/*
 * The job as evidence shows it.  Where the policy cannot be read nobody knows what
 * it masks, and so the payload is not shown at all.
 */
static Jsonb *
shown_job(const PolicyEnforced *enforced)
{
	static PolicyStep step = {.kind = POLICY_STEP_KEY, .key = "payload", .keylen = 7};
	static PolicyPath path = {.steps = &step, .nsteps = 1};
	static const PolicyPathList payload = {&path, 1};

	if (enforced->policy != NULL)
		return policy_masked(enforced->job, &enforced->policy->masks);
	return enforced->unavailable ? policy_masked(enforced->job, &payload) : enforced->job;
}

static bool
step_is(const PolicyStep *step, const char *key)
{
	return step->kind == POLICY_STEP_KEY && step->keylen == (int) strlen(key) &&
		memcmp(step->key, key, step->keylen) == 0;
}

/* Whether a path leads to `key`, or to `key.inner`, or to all of either. */
static bool
path_leads_to(const PolicyPath *path, const char *key, const char *inner)
{
	if (path->nsteps == 0 || !step_is(&path->steps[0], key))
		return false;
	return path->nsteps == 1 ||
		(inner != NULL && path->nsteps == 2 && step_is(&path->steps[1], inner));
}

/* What is masked in the job is not to be read beside it. */
static text *
shown_fact(const PolicyEnforced *enforced, text *value, const char *key, const char *other,
		   const char *inner)
{
	const PolicyPathList *masks;

	if (value == NULL || enforced->policy == NULL)
		return value;
	masks = &enforced->policy->masks;
	for (int i = 0; i < masks->count; i++)
	{
		if (path_leads_to(&masks->items[i], key, NULL) ||
			(other != NULL && path_leads_to(&masks->items[i], other, inner)))
			return cstring_to_text("***");
	}
	return value;
}

static Datum
bytes_datum(const uint8 *bytes, int len)
{
	bytea	   *result = palloc(VARHDRSZ + len);

	SET_VARSIZE(result, VARHDRSZ + len);
	memcpy(VARDATA(result), bytes, len);
	return PointerGetDatum(result);
}

static void
set_text(Datum *values, bool *nulls, int column, const char *string)
{
	nulls[column] = string == NULL;
	if (string != NULL)
		values[column] = CStringGetTextDatum(string);
}

static void
set_pointer(Datum *values, bool *nulls, int column, const void *pointer)
{
	nulls[column] = pointer == NULL;
	values[column] = PointerGetDatum(pointer);
}

static void
set_verdict(TupleDesc tupdesc, Datum *values, bool *nulls, const PolicyVerdict *verdict)
{
	static Oid	decisions[POLICY_NDECISIONS];
	static Oid	enumtype = InvalidOid;

	if (enumtype != TupleDescAttr(tupdesc, DECISION_DECISION)->atttypid)
	{
		enumtype = InvalidOid;
		policy_decision_oids(TupleDescAttr(tupdesc, DECISION_DECISION)->atttypid, decisions);
		enumtype = TupleDescAttr(tupdesc, DECISION_DECISION)->atttypid;
	}
	values[DECISION_DECISION] = ObjectIdGetDatum(decisions[verdict->decision]);
	values[DECISION_REASON] = PointerGetDatum(verdict->reason);
	set_pointer(values, nulls, DECISION_MATCHED_RULE,
				verdict->winner != NULL ? verdict->winner->id_text : NULL);
	values[DECISION_MATCHED_RULES] = policy_rule_ids(verdict->matched, verdict->nmatched);
	values[DECISION_MONITORED_RULES] = policy_rule_ids(verdict->monitored, verdict->nmonitored);
	values[DECISION_CONSTRAINTS] = JsonbPGetDatum(verdict->constraints);
}

static const char *
current_application(void)
{
	return application_name != NULL ? application_name : "";
}

static bool
is_current(const EvidenceCaller *caller)
{
	return caller != NULL && caller->role == GetOuterUserId() &&
		caller->session_role == GetSessionUserId() &&
		strcmp(caller->application, current_application()) == 0;
}

/* The caller as the batch's last row names it, read again where that has changed. */
static const EvidenceCaller *
batch_caller(RowBatch *batch)
{
	MemoryContext mine;
	EvidenceCaller *caller;

	if (is_current(batch->caller))
		return batch->caller;
	mine = MemoryContextSwitchTo(MemoryContextGetParent(batch->context));
	caller = palloc0(sizeof(EvidenceCaller));
	caller->role = GetOuterUserId();
	caller->session_role = GetSessionUserId();
	caller->application = pstrdup(current_application());
	caller->role_name = cstring_to_text(GetUserNameFromId(caller->role, false));
	caller->session_role_name = cstring_to_text(GetUserNameFromId(caller->session_role, false));
	if (caller->application[0] != '\0')
		caller->application_name = cstring_to_text(caller->application);
	MemoryContextSwitchTo(mine);
	batch->caller = caller;
	return caller;
}

static void
set_caller(RowBatch *batch, Datum *values, bool *nulls)
{
	const EvidenceCaller *caller = batch_caller(batch);

	values[DECISION_ROLE] = PointerGetDatum(caller->role_name);
	values[DECISION_SESSION_ROLE] = PointerGetDatum(caller->session_role_name);
	set_pointer(values, nulls, DECISION_APPLICATION_NAME, caller->application_name);
}

void
policy_record(RowBatch *batch, const PolicyEnforced *enforced, const PolicyJobKey *key)
{
	Datum		values[DECISION_NCOLUMNS] = {0};
	bool		nulls[DECISION_NCOLUMNS] = {false};

	values[DECISION_ID] = Int64GetDatum(enforced->decision_id);
	values[DECISION_DECIDED_AT] = TimestampTzGetDatum(enforced->at);
	set_text(values, nulls, DECISION_SOURCE, enforced->source);
	set_text(values, nulls, DECISION_JOB_TABLE, key->table);
	set_text(values, nulls, DECISION_JOB_KEY, key->key);
	values[DECISION_JOB_HASH] = bytes_datum(enforced->hash, POLICY_DIGEST_LENGTH);
	set_pointer(values, nulls, DECISION_TENANT_ID,
				shown_fact(enforced, enforced->tenant_id, "tenant_id", "tenant", NULL));
	set_pointer(values, nulls, DECISION_ACTOR_ID,
				shown_fact(enforced, enforced->actor_id, "actor_id", "actor", "id"));
	set_pointer(values, nulls, DECISION_TOPIC,
				shown_fact(enforced, enforced->topic, "topic", NULL, NULL));
	set_pointer(values, nulls, DECISION_JOB, enforced->job != NULL ? shown_job(enforced) : NULL);
	set_verdict(batch->tupdesc, values, nulls, &enforced->verdict);
	set_pointer(values, nulls, DECISION_SNAPSHOT, enforced->snapshot);
	values[DECISION_RELEASE_ID] = Int64GetDatum(enforced->release_id);
	nulls[DECISION_RELEASE_ID] = enforced->snapshot == NULL;
	set_caller(batch, values, nulls);
	set_text(values, nulls, DECISION_NOTE, enforced->note);
	row_batch_add(batch, values, nulls);
}

RowBatch *
policy_evidence_batch(void)
{
	return row_batch_create("decisions", column_types, DECISION_NCOLUMNS);
}
