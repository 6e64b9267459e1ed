/*
 * approvals.c
 *	  What people were asked about a job, and what they said.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/timestamp.h"

#include "dispatch/approvals.h"
#include "dispatch/decision.h"
#include "dispatch/owner_query.h"
#include "dispatch/row_writer.h"
#include "engine/edit.h"
#include "store/active.h"
#include "store/notify.h"
#include "store/table.h"

/* The columns of policy.approvals: sql/50_jobs.sql creates them in this order. */
enum
{
	APPROVAL_ID = 1,
	APPROVAL_DECISION_ID,
	APPROVAL_DECIDED_AT,
	APPROVAL_JOB_TABLE,
	APPROVAL_JOB_KEY,
	APPROVAL_JOB_HASH,
	APPROVAL_IMMATERIAL,
	APPROVAL_SNAPSHOT,
	APPROVAL_RULE,
	APPROVAL_STATUS,
	APPROVAL_REQUIRED,
	APPROVAL_APPROVERS,
	APPROVAL_ALLOW_SELF,
	APPROVAL_ATTEMPTS,
	APPROVAL_SUPERSEDED_BY,
	APPROVAL_SUPERSEDED_AT,
	APPROVAL_REQUESTED_BY,
	APPROVAL_REQUESTED_AT,
	APPROVAL_EXPIRES_AT,
	APPROVAL_RESOLVED_AT,
	APPROVAL_REQUESTED_VIA
};

#define APPROVAL_NCOLUMNS APPROVAL_REQUESTED_VIA

static const Oid column_types[APPROVAL_NCOLUMNS + 1] = {
	[APPROVAL_ID] = INT8OID,
	[APPROVAL_DECISION_ID] = INT8OID,
	[APPROVAL_DECIDED_AT] = TIMESTAMPTZOID,
	[APPROVAL_JOB_TABLE] = TEXTOID,
	[APPROVAL_JOB_KEY] = TEXTOID,
	[APPROVAL_JOB_HASH] = BYTEAOID,
	[APPROVAL_IMMATERIAL] = TEXTARRAYOID,
	[APPROVAL_SNAPSHOT] = TEXTOID,
	[APPROVAL_RULE] = TEXTOID,
	[APPROVAL_STATUS] = TEXTOID,
	[APPROVAL_REQUIRED] = INT4OID,
	[APPROVAL_APPROVERS] = TEXTARRAYOID,
	[APPROVAL_ALLOW_SELF] = BOOLOID,
	[APPROVAL_ATTEMPTS] = INT4OID,
	[APPROVAL_SUPERSEDED_BY] = INT8OID,
	[APPROVAL_SUPERSEDED_AT] = TIMESTAMPTZOID,
	[APPROVAL_REQUESTED_BY] = TEXTOID,
	[APPROVAL_REQUESTED_AT] = TIMESTAMPTZOID,
	[APPROVAL_EXPIRES_AT] = TIMESTAMPTZOID,
	[APPROVAL_RESOLVED_AT] = TIMESTAMPTZOID,
	[APPROVAL_REQUESTED_VIA] = TEXTOID,
};

const char *const policy_approval_statuses[POLICY_APPROVAL_CONSUMED + 1] = {
	[POLICY_APPROVAL_PENDING] = "pending",
	[POLICY_APPROVAL_APPROVED] = "approved",
	[POLICY_APPROVAL_REJECTED] = "rejected",
	[POLICY_APPROVAL_EXPIRED] = "expired",
	[POLICY_APPROVAL_SUPERSEDED] = "superseded",
	[POLICY_APPROVAL_CONSUMED] = "consumed"
};

PolicyJobKey
policy_job_key(int64 job_id)
{
	char	   *digits = palloc(MAXINT8LEN + 1);
	PolicyJobKey key = {POLICY_JOBS_TABLE, digits};

	pg_lltoa(job_id, digits);
	return key;
}

static PolicyApprovalStatus
status_of(const char *name)
{
	for (int i = 0; i <= POLICY_APPROVAL_CONSUMED; i++)
	{
		if (strcmp(name, policy_approval_statuses[i]) == 0)
			return i;
	}
	elog(ERROR, "unknown status of an approval: \"%s\"", name);
}

/* A value of the row's type need not be a row of the table. */
static void
check_not_null(const bool *nulls)
{
	for (int column = APPROVAL_ID; column <= APPROVAL_NCOLUMNS; column++)
	{
		if (nulls[column - 1] && column != APPROVAL_SNAPSHOT && column != APPROVAL_RULE &&
			column != APPROVAL_SUPERSEDED_BY && column != APPROVAL_SUPERSEDED_AT &&
			column != APPROVAL_RESOLVED_AT && column != APPROVAL_REQUESTED_VIA)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("an approval has a NULL where the table has none"),
					 errhint("Pass a row of policy.approvals.")));
	}
}

void
policy_approval_from_tuple(HeapTuple tuple, TupleDesc tupdesc, JobApproval *approval)
{
	Datum	   *values = palloc(sizeof(Datum) * tupdesc->natts);
	bool	   *nulls = palloc(sizeof(bool) * tupdesc->natts);
	bytea	   *hash;

	memset(approval, 0, sizeof(JobApproval));
	policy_check_columns("approvals", tupdesc, column_types + 1, APPROVAL_NCOLUMNS);
	heap_deform_tuple(tuple, tupdesc, values, nulls);
	check_not_null(nulls);
	approval->approval_id = DatumGetInt64(values[APPROVAL_ID - 1]);
	approval->decision_id = DatumGetInt64(values[APPROVAL_DECISION_ID - 1]);
	approval->decided_at = DatumGetTimestampTz(values[APPROVAL_DECIDED_AT - 1]);
	hash = DatumGetByteaPP(values[APPROVAL_JOB_HASH - 1]);
	if (VARSIZE_ANY_EXHDR(hash) == POLICY_DIGEST_LENGTH)
		memcpy(approval->job_hash, VARDATA_ANY(hash), POLICY_DIGEST_LENGTH);
	approval->immaterial = DatumGetArrayTypePCopy(values[APPROVAL_IMMATERIAL - 1]);
	if (!nulls[APPROVAL_RULE - 1])
		approval->rule = TextDatumGetCString(values[APPROVAL_RULE - 1]);
	approval->status = status_of(TextDatumGetCString(values[APPROVAL_STATUS - 1]));
	approval->required = DatumGetInt32(values[APPROVAL_REQUIRED - 1]);
	approval->approvers = DatumGetArrayTypePCopy(values[APPROVAL_APPROVERS - 1]);
	approval->allow_self = DatumGetBool(values[APPROVAL_ALLOW_SELF - 1]);
	approval->attempts = DatumGetInt32(values[APPROVAL_ATTEMPTS - 1]);
	approval->expires_at = DatumGetTimestampTz(values[APPROVAL_EXPIRES_AT - 1]);
}

void
policy_approvals_read(const PolicyJobKey *key, JobApprovals *approvals)
{
	Relation	relation = policy_table_open("approvals");
	Relation	index = policy_index_open("approvals_job");
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	int			capacity = 4;

	approvals->count = 0;
	approvals->items = palloc(sizeof(JobApproval) * capacity);
	ScanKeyEntryInitialize(&keys[0], 0, APPROVAL_JOB_KEY, BTEqualStrategyNumber, InvalidOid,
						   C_COLLATION_OID, F_TEXTEQ, CStringGetTextDatum(key->key));
	ScanKeyEntryInitialize(&keys[1], 0, APPROVAL_JOB_TABLE, BTEqualStrategyNumber, InvalidOid,
						   C_COLLATION_OID, F_TEXTEQ, CStringGetTextDatum(key->table));
	scan = systable_beginscan_ordered(relation, index, NULL, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		if (approvals->count == capacity)
		{
			capacity *= 2;
			approvals->items = repalloc(approvals->items, sizeof(JobApproval) * capacity);
		}
		policy_approval_from_tuple(tuple, RelationGetDescr(relation),
								   &approvals->items[approvals->count++]);
	}
	systable_endscan_ordered(scan);
	policy_table_close(relation, index);
}

static bool
same_texts(ArrayType *array, const char *const *strings, int count)
{
	Datum	   *items;
	bool	   *nulls;
	int			nitems;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &items, &nulls, &nitems);
	if (nitems != count)
		return false;
	for (int i = 0; i < nitems; i++)
	{
		if (nulls[i] || strcmp(TextDatumGetCString(items[i]), strings[i]) != 0)
			return false;
	}
	return true;
}

static const char **
path_sources(const PolicyPathList *paths)
{
	const char **sources = palloc(sizeof(char *) * Max(paths->count, 1));

	for (int i = 0; i < paths->count; i++)
		sources[i] = paths->items[i].source;
	return sources;
}

static void
approval_hash(Jsonb *job, const CompiledApproval *asks, uint8 *hash)
{
	job_hash(policy_without(job, &asks->immaterial), hash);
}

bool
policy_approval_stands(const JobApproval *approval, const CompiledApproval *asks, Jsonb *job)
{
	uint8		hash[POLICY_DIGEST_LENGTH];

	if (approval->required != asks->min_approvals || approval->allow_self != asks->allow_self ||
		!same_texts(approval->approvers, asks->approvers, asks->napprovers) ||
		!same_texts(approval->immaterial, path_sources(&asks->immaterial), asks->immaterial.count))
		return false;
	approval_hash(job, asks, hash);
	return memcmp(hash, approval->job_hash, POLICY_DIGEST_LENGTH) == 0;
}

const CompiledApproval *
policy_asks(const CompiledPolicy *policy, const CompiledRule *rule)
{
	return rule != NULL ? rule->approval : policy->default_approval;
}

static bool
is_for_rule(const JobApproval *approval, const CompiledRule *rule)
{
	if (rule == NULL || approval->rule == NULL)
		return rule == NULL && approval->rule == NULL;
	return strcmp(approval->rule, rule->id) == 0;
}

static bool
is_open(const JobApproval *approval)
{
	return approval->status == POLICY_APPROVAL_PENDING ||
		approval->status == POLICY_APPROVAL_APPROVED;
}

JobApprovals *
policy_satisfied_approvals(JobSatisfied *satisfied)
{
	if (!satisfied->has_approvals)
		policy_approvals_read(&satisfied->key, &satisfied->approvals);
	satisfied->has_approvals = true;
	return &satisfied->approvals;
}

/* Whether the job holds an approval of that rule that still admits an attempt. */
static bool
holds_approval(JobSatisfied *satisfied, const CompiledRule *rule)
{
	JobApprovals *approvals = policy_satisfied_approvals(satisfied);
	const CompiledApproval *asks = policy_asks(satisfied->policy, rule);

	for (int i = 0; i < approvals->count; i++)
	{
		JobApproval *approval = &approvals->items[i];

		if (approval->status != POLICY_APPROVAL_APPROVED &&
			approval->status != POLICY_APPROVAL_CONSUMED)
			continue;
		if (!is_for_rule(approval, rule) || approval->expires_at <= satisfied->at ||
			approval->attempts >= satisfied->attempts_allowed ||
			!policy_approval_stands(approval, asks, satisfied->job))
			continue;
		approval->used = true;
		return true;
	}
	return false;
}

/*
 * Reads the decision that set run_after: the newest that throttled the job as it is; what
 * another job under its key has waited for counts for nothing.
 */
static void
read_waited(JobSatisfied *satisfied)
{
	static OwnerQuery query = {
		.text = "SELECT d.matched_rules, d.snapshot FROM policy.decisions d "
		"WHERE d.job_key OPERATOR(pg_catalog.=) $1 AND d.job_table OPERATOR(pg_catalog.=) $2 "
		"AND d.decision::pg_catalog.text OPERATOR(pg_catalog.=) 'THROTTLE' "
		"AND d.job_hash OPERATOR(pg_catalog.=) $3 "
		"ORDER BY d.decision_id DESC LIMIT 1",
		.nargs = 3, .types = {TEXTOID, TEXTOID, BYTEAOID}
	};
	Datum		values[3];
	bool		isnull;
	uint8		hash[POLICY_DIGEST_LENGTH];

	job_hash(satisfied->job, hash);
	values[0] = CStringGetTextDatum(satisfied->key.key);
	values[1] = CStringGetTextDatum(satisfied->key.table);
	values[2] = PointerGetDatum(cstring_to_text_with_len((const char *) hash, sizeof(hash)));
	policy_owner_run(&query, values, NULL);
	satisfied->has_waited = true;
	if (SPI_processed == 0)
		return;
	satisfied->waited_rules =
		DatumGetArrayTypePCopy(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
											 &isnull));
	satisfied->waited_snapshot = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2);
}

static bool
contains_text(ArrayType *array, const char *string)
{
	Datum	   *items;
	bool	   *nulls;
	int			nitems;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &items, &nulls, &nitems);
	for (int i = 0; i < nitems; i++)
	{
		if (!nulls[i] && strcmp(TextDatumGetCString(items[i]), string) == 0)
			return true;
	}
	return false;
}

/*
 * Whether the rule throttled the job, and not only applied to it: the decision's
 * own policy says, where that is not the one in force.
 */
static bool
has_waited(JobSatisfied *satisfied, const CompiledRule *rule)
{
	if (!satisfied->is_due)
		return false;
	if (!satisfied->has_waited)
		read_waited(satisfied);
	if (satisfied->waited_rules == NULL || satisfied->waited_snapshot == NULL ||
		!contains_text(satisfied->waited_rules, rule->id))
		return false;
	return policy_snapshot_throttles(satisfied->waited_snapshot, satisfied->policy, rule->id);
}

static bool
satisfied_holds(PolicySatisfied *base, const CompiledRule *rule)
{
	JobSatisfied *satisfied = (JobSatisfied *) base;

	if (rule != NULL && rule->decision == POLICY_THROTTLE)
		return rule->velocity == NULL && has_waited(satisfied, rule);
	return holds_approval(satisfied, rule);
}

void
policy_satisfied_init(JobSatisfied *satisfied, Jsonb *job, PolicyJobKey key, TimestampTz at,
					  int32 attempts_allowed, bool is_due)
{
	memset(satisfied, 0, sizeof(JobSatisfied));
	satisfied->base.holds = satisfied_holds;
	satisfied->job = job;
	satisfied->key = key;
	satisfied->at = at;
	satisfied->attempts_allowed = attempts_allowed;
	satisfied->is_due = is_due;
}

/* The rules that ask, in a verdict that requires approval; NULL stands for the default. */
static int
asking_rules(const PolicyEnforced *enforced, const CompiledRule ***rules)
{
	const PolicyVerdict *verdict = &enforced->verdict;
	int			count = 0;

	*rules = palloc(sizeof(CompiledRule *) * (verdict->nmatched + 1));
	if (verdict->decision != POLICY_REQUIRE_APPROVAL)
		return 0;
	for (int i = 0; i < verdict->nmatched; i++)
	{
		if (verdict->matched[i]->decision == POLICY_REQUIRE_APPROVAL)
			(*rules)[count++] = verdict->matched[i];
	}
	/* A default that counts beside rules that are unknown may well allow. */
	if (verdict->default_counts && policy_asks(enforced->policy, NULL) != NULL)
		(*rules)[count++] = NULL;
	return count;
}

static Datum
text_array(const char *const *strings, int count)
{
	Datum	   *items = palloc(sizeof(Datum) * Max(count, 1));

	if (count == 0)
		return PointerGetDatum(construct_empty_array(TEXTOID));
	for (int i = 0; i < count; i++)
		items[i] = CStringGetTextDatum(strings[i]);
	return PointerGetDatum(construct_array(items, count, TEXTOID, -1, false, TYPALIGN_INT));
}

RowBatch *
policy_approvals_batch(void)
{
	return row_batch_create("approvals", column_types + 1, APPROVAL_NCOLUMNS);
}

/* Asks people, for a rule (NULL: the default). */
static void
add_approval(RowBatch *batch, const PolicyEnforced *enforced, const PolicyJobKey *key,
			 const CompiledRule *rule, const char *requested_by, const char *requested_via)
{
	const CompiledApproval *asks = policy_asks(enforced->policy, rule);
	int64		approval_id = nextval_internal(policy_relation_oid("approval_id_seq"), false);
	Datum		values[APPROVAL_NCOLUMNS] = {0};
	bool		nulls[APPROVAL_NCOLUMNS] = {false};
	bytea	   *hash = palloc(VARHDRSZ + POLICY_DIGEST_LENGTH);

	SET_VARSIZE(hash, VARHDRSZ + POLICY_DIGEST_LENGTH);
	approval_hash(enforced->job, asks, (uint8 *) VARDATA(hash));
	values[APPROVAL_ID - 1] = Int64GetDatum(approval_id);
	values[APPROVAL_DECISION_ID - 1] = Int64GetDatum(enforced->decision_id);
	values[APPROVAL_DECIDED_AT - 1] = TimestampTzGetDatum(enforced->at);
	values[APPROVAL_JOB_TABLE - 1] = CStringGetTextDatum(key->table);
	values[APPROVAL_JOB_KEY - 1] = CStringGetTextDatum(key->key);
	values[APPROVAL_JOB_HASH - 1] = PointerGetDatum(hash);
	values[APPROVAL_IMMATERIAL - 1] = text_array(path_sources(&asks->immaterial),
												 asks->immaterial.count);
	values[APPROVAL_SNAPSHOT - 1] = PointerGetDatum(enforced->snapshot);
	values[APPROVAL_RULE - 1] = rule != NULL ? PointerGetDatum(rule->id_text) : 0;
	nulls[APPROVAL_RULE - 1] = rule == NULL;
	values[APPROVAL_STATUS - 1] = CStringGetTextDatum("pending");
	values[APPROVAL_REQUIRED - 1] = Int32GetDatum(asks->min_approvals);
	values[APPROVAL_APPROVERS - 1] = text_array(asks->approvers, asks->napprovers);
	values[APPROVAL_ALLOW_SELF - 1] = BoolGetDatum(asks->allow_self);
	values[APPROVAL_ATTEMPTS - 1] = Int32GetDatum(0);
	nulls[APPROVAL_SUPERSEDED_BY - 1] = true;
	nulls[APPROVAL_SUPERSEDED_AT - 1] = true;
	values[APPROVAL_REQUESTED_BY - 1] = CStringGetTextDatum(requested_by);
	values[APPROVAL_REQUESTED_AT - 1] = TimestampTzGetDatum(enforced->at);
	values[APPROVAL_EXPIRES_AT - 1] = TimestampTzGetDatum(enforced->at +
														  asks->expires_in_sec * USECS_PER_SEC);
	nulls[APPROVAL_RESOLVED_AT - 1] = true;
	nulls[APPROVAL_REQUESTED_VIA - 1] = requested_via == NULL;
	if (requested_via != NULL)
		values[APPROVAL_REQUESTED_VIA - 1] = CStringGetTextDatum(requested_via);
	row_batch_add(batch, values, nulls);
	policy_notify(POLICY_CHANNEL_APPROVALS, approval_id);
}

/* Whether a rule of the policy still applies and asks just what this one was asked. */
static bool
is_asked(const JobApproval *approval, const PolicyEnforced *enforced)
{
	const PolicyVerdict *verdict = &enforced->verdict;

	if (enforced->policy == NULL || verdict->decision == POLICY_DENY)
		return false;
	if (approval->rule == NULL)
		return verdict->default_counts && enforced->policy->default_approval != NULL &&
			policy_approval_stands(approval, enforced->policy->default_approval, enforced->job);
	for (int i = 0; i < verdict->nmatched; i++)
	{
		if (is_for_rule(approval, verdict->matched[i]))
			return verdict->matched[i]->approval != NULL &&
				policy_approval_stands(approval, verdict->matched[i]->approval, enforced->job);
	}
	return false;
}

static void
supersede(const JobApproval *approval, const PolicyEnforced *enforced)
{
	static OwnerQuery query = {
		.text = "UPDATE policy.approvals SET status = 'superseded', superseded_by = $2, superseded_at = $3, "
		"resolved_at = coalesce(resolved_at, $3) WHERE approval_id OPERATOR(pg_catalog.=) $1",
		.nargs = 3, .types = {INT8OID, INT8OID, TIMESTAMPTZOID}
	};
	Datum		values[3];

	values[0] = Int64GetDatum(approval->approval_id);
	values[1] = Int64GetDatum(enforced->decision_id);
	values[2] = TimestampTzGetDatum(enforced->at);
	policy_owner_execute(&query, values, NULL);
}

static void
expire(const JobApproval *approval, TimestampTz at)
{
	static OwnerQuery query = {
		.text = "UPDATE policy.approvals SET status = 'expired', resolved_at = coalesce(resolved_at, $2) "
		"WHERE approval_id OPERATOR(pg_catalog.=) $1",
		.nargs = 2, .types = {INT8OID, TIMESTAMPTZOID}
	};
	Datum		values[2];

	values[0] = Int64GetDatum(approval->approval_id);
	values[1] = TimestampTzGetDatum(at);
	policy_owner_execute(&query, values, NULL);
}

/* Whether an approval that was given is past its time. */
static bool
has_lapsed(const JobApproval *approval, const PolicyEnforced *enforced)
{
	return approval->status == POLICY_APPROVAL_APPROVED && approval->expires_at <= enforced->at;
}

bool
policy_approval_falls(const JobApproval *approval, const PolicyEnforced *enforced)
{
	return is_open(approval) &&
		(!is_asked(approval, enforced) || has_lapsed(approval, enforced));
}

static void
close_fallen(JobApprovals *approvals, const PolicyEnforced *enforced)
{
	for (int i = 0; i < approvals->count; i++)
	{
		JobApproval *approval = &approvals->items[i];

		if (!policy_approval_falls(approval, enforced))
			continue;
		if (is_asked(approval, enforced))
		{
			expire(approval, enforced->at);
			approval->status = POLICY_APPROVAL_EXPIRED;
		}
		else
		{
			supersede(approval, enforced);
			approval->status = POLICY_APPROVAL_SUPERSEDED;
		}
	}
}

/* Whether the rule asks nothing more: it is open, or was satisfied. */
static bool
is_covered(const JobApprovals *approvals, const CompiledRule *rule)
{
	for (int i = 0; approvals != NULL && i < approvals->count; i++)
	{
		if (is_for_rule(&approvals->items[i], rule) &&
			(is_open(&approvals->items[i]) || approvals->items[i].used))
			return true;
	}
	return false;
}

bool
policy_approvals_missing(const JobApprovals *approvals, const PolicyEnforced *enforced)
{
	const CompiledRule **rules;
	int			nrules = asking_rules(enforced, &rules);

	for (int i = 0; i < nrules; i++)
	{
		if (!is_covered(approvals, rules[i]))
			return true;
	}
	return false;
}

void
policy_approvals_sync(RowBatch *batch, const PolicyEnforced *enforced, const PolicyJobKey *key,
					  JobApprovals *approvals, const char *requested_by,
					  const char *requested_via)
{
	const CompiledRule **rules;
	int			nrules;

	if (approvals != NULL)
		close_fallen(approvals, enforced);
	nrules = asking_rules(enforced, &rules);
	for (int i = 0; i < nrules; i++)
	{
		if (!is_covered(approvals, rules[i]))
			add_approval(batch, enforced, key, rules[i], requested_by, requested_via);
	}
}

int64
policy_approval_job(HeapTuple tuple, TupleDesc tupdesc, PolicyJobKey *key)
{
	bool		isnull;

	policy_check_columns("approvals", tupdesc, column_types + 1, APPROVAL_NCOLUMNS);
	key->table = TextDatumGetCString(heap_getattr(tuple, APPROVAL_JOB_TABLE, tupdesc, &isnull));
	key->key = TextDatumGetCString(heap_getattr(tuple, APPROVAL_JOB_KEY, tupdesc, &isnull));
	return strcmp(key->table, POLICY_JOBS_TABLE) == 0 ? strtoll(key->key, NULL, 10) : 0;
}

void
policy_approvals_close(const PolicyJobKey *key)
{
	static OwnerQuery query = {
		.text = "UPDATE policy.approvals SET "
		"status = CASE WHEN status OPERATOR(pg_catalog.=) 'consumed' THEN status ELSE 'superseded' END, "
		"expires_at = CASE WHEN status OPERATOR(pg_catalog.=) 'consumed' "
		"THEN least(expires_at, pg_catalog.clock_timestamp()) ELSE expires_at END, "
		"resolved_at = coalesce(resolved_at, pg_catalog.clock_timestamp()) "
		"WHERE job_key OPERATOR(pg_catalog.=) $1 AND job_table OPERATOR(pg_catalog.=) $2 "
		"AND status OPERATOR(pg_catalog.=) ANY (ARRAY['pending', 'approved', 'consumed'])",
		.nargs = 2, .types = {TEXTOID, TEXTOID}
	};
	JobApprovals approvals;
	Datum		values[2];
	bool		any = false;

	policy_approvals_read(key, &approvals);
	for (int i = 0; i < approvals.count; i++)
		any = any || is_open(&approvals.items[i]) ||
			approvals.items[i].status == POLICY_APPROVAL_CONSUMED;
	if (!any)
		return;
	values[0] = CStringGetTextDatum(key->key);
	values[1] = CStringGetTextDatum(key->table);
	policy_owner_execute(&query, values, NULL);
}
