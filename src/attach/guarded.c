/*
 * guarded.c
 *	  What is kept of the rows of attached tables that are not plainly allowed.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/timestamp.h"

#include "attach/guarded.h"
#include "dispatch/caller.h"
#include "dispatch/owner_query.h"
#include "store/table.h"

/* The columns of policy.guarded_jobs: sql/58_attach.sql creates them in this order. */
enum
{
	GUARDED_JOB_KEY = 1,
	GUARDED_JOB_TABLE,
	GUARDED_ROW_KEY,
	GUARDED_STATE,
	GUARDED_DECISION_ID,
	GUARDED_DECIDED_AT,
	GUARDED_CONSTRAINTS,
	GUARDED_RUN_AFTER,
	GUARDED_STARTED_AT,
	GUARDED_WANTED,
	GUARDED_ASKED_BY,
	GUARDED_ASKED_VIA,
	GUARDED_IDENTITIES
};

#define GUARDED_NCOLUMNS GUARDED_IDENTITIES

static const Oid column_types[GUARDED_NCOLUMNS + 1] = {
	[GUARDED_JOB_KEY] = TEXTOID,
	[GUARDED_JOB_TABLE] = TEXTOID,
	[GUARDED_ROW_KEY] = JSONBOID,
	[GUARDED_STATE] = TEXTOID,
	[GUARDED_DECISION_ID] = INT8OID,
	[GUARDED_DECIDED_AT] = TIMESTAMPTZOID,
	[GUARDED_CONSTRAINTS] = JSONBOID,
	[GUARDED_RUN_AFTER] = TIMESTAMPTZOID,
	[GUARDED_STARTED_AT] = TIMESTAMPTZOID,
	[GUARDED_WANTED] = JSONBOID,
	[GUARDED_ASKED_BY] = TEXTOID,
	[GUARDED_ASKED_VIA] = TEXTOID,
	[GUARDED_IDENTITIES] = JSONBOID,
};

/* A job that nothing is kept of. */
#define STATE_GONE "gone"

static OwnerQuery write_query = {
	.text = "INSERT INTO policy.guarded_jobs AS g (job_key, job_table, row_key, state, decision_id, "
	"decided_at, constraints, run_after, started_at, wanted, asked_by, asked_via, identities) "
	"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) "
	"ON CONFLICT ON CONSTRAINT guarded_jobs_pkey DO UPDATE SET row_key = excluded.row_key, "
	"state = excluded.state, decision_id = excluded.decision_id, "
	"decided_at = excluded.decided_at, constraints = excluded.constraints, "
	"run_after = excluded.run_after, started_at = excluded.started_at, "
	"wanted = excluded.wanted, asked_by = excluded.asked_by, asked_via = excluded.asked_via, "
	"identities = excluded.identities",
	.nargs = 13, .types = {TEXTOID, TEXTOID, JSONBOID, TEXTOID, INT8OID, TIMESTAMPTZOID, JSONBOID,
	TIMESTAMPTZOID, TIMESTAMPTZOID, JSONBOID, TEXTOID, TEXTOID, JSONBOID}
};

bool
guarded_waits(const GuardedJob *guarded, TimestampTz at)
{
	if (!guarded->is_kept || strcmp(guarded->state, STATE_GONE) == 0 ||
		strcmp(guarded->state, "ready") == 0 || strcmp(guarded->state, "running") == 0)
		return false;
	return strcmp(guarded->state, "throttled") != 0 || guarded->run_after > at;
}

List *
guarded_identities(const GuardedJob *guarded)
{
	List	   *identities = NIL;
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;

	if (guarded->identities == NULL)
		return NIL;
	iterator = JsonbIteratorInit(&guarded->identities->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_ELEM)
			identities = lappend(identities, JsonbValueToJsonb(&value));
	}
	return identities;
}

Jsonb *
guarded_identity_array(List *identities)
{
	JsonbParseState *state = NULL;
	ListCell   *cell;

	if (identities == NIL)
		return NULL;
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	foreach(cell, identities)
	{
		Jsonb	   *identity = lfirst(cell);
		JsonbValue	value;

		value.type = jbvBinary;
		value.val.binary.data = &identity->root;
		value.val.binary.len = VARSIZE(identity) - VARHDRSZ;
		pushJsonbValue(&state, WJB_ELEM, &value);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL));
}

static char *
copy_string(Datum value, bool isnull)
{
	return isnull ? NULL : TextDatumGetCString(value);
}

static void
read_tuple(HeapTuple tuple, TupleDesc tupdesc, GuardedJob *guarded)
{
	Datum		values[GUARDED_NCOLUMNS + 1];
	bool		nulls[GUARDED_NCOLUMNS + 1];

	policy_check_columns("guarded_jobs", tupdesc, column_types + 1, GUARDED_NCOLUMNS);
	for (int i = 1; i <= GUARDED_NCOLUMNS; i++)
		values[i] = heap_getattr(tuple, i, tupdesc, &nulls[i]);
	guarded->is_kept = true;
	guarded->row_key = DatumGetJsonbPCopy(values[GUARDED_ROW_KEY]);
	guarded->state = TextDatumGetCString(values[GUARDED_STATE]);
	guarded->decision_id = DatumGetInt64(values[GUARDED_DECISION_ID]);
	guarded->decided_at = DatumGetTimestampTz(values[GUARDED_DECIDED_AT]);
	guarded->constraints = DatumGetJsonbPCopy(values[GUARDED_CONSTRAINTS]);
	guarded->run_after = nulls[GUARDED_RUN_AFTER] ? 0 :
		DatumGetTimestampTz(values[GUARDED_RUN_AFTER]);
	guarded->started_at = nulls[GUARDED_STARTED_AT] ? 0 :
		DatumGetTimestampTz(values[GUARDED_STARTED_AT]);
	guarded->wanted = nulls[GUARDED_WANTED] ? NULL : DatumGetJsonbPCopy(values[GUARDED_WANTED]);
	guarded->asked_by = copy_string(values[GUARDED_ASKED_BY], false);
	guarded->asked_via = copy_string(values[GUARDED_ASKED_VIA], nulls[GUARDED_ASKED_VIA]);
	guarded->identities = nulls[GUARDED_IDENTITIES] ? NULL :
		DatumGetJsonbPCopy(values[GUARDED_IDENTITIES]);
}

void
guarded_read(const PolicyJobKey *key, GuardedJob *guarded)
{
	Relation	relation = policy_table_open("guarded_jobs");
	Relation	index = policy_primary_key_open(relation);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	memset(guarded, 0, sizeof(GuardedJob));
	ScanKeyEntryInitialize(&keys[0], 0, GUARDED_JOB_KEY, BTEqualStrategyNumber, InvalidOid,
						   C_COLLATION_OID, F_TEXTEQ, CStringGetTextDatum(key->key));
	ScanKeyEntryInitialize(&keys[1], 0, GUARDED_JOB_TABLE, BTEqualStrategyNumber, InvalidOid,
						   C_COLLATION_OID, F_TEXTEQ, CStringGetTextDatum(key->table));
	scan = systable_beginscan_ordered(relation, index, NULL, 2, keys);
	tuple = systable_getnext_ordered(scan, ForwardScanDirection);
	if (HeapTupleIsValid(tuple))
		read_tuple(tuple, RelationGetDescr(relation), guarded);
	systable_endscan_ordered(scan);
	policy_table_close(relation, index);
}

static void
set_string(Datum *values, char *nulls, int column, const char *string)
{
	nulls[column - 1] = string == NULL ? 'n' : ' ';
	values[column - 1] = string == NULL ? (Datum) 0 : CStringGetTextDatum(string);
}

static void
set_time(Datum *values, char *nulls, int column, TimestampTz at)
{
	nulls[column - 1] = at == 0 ? 'n' : ' ';
	values[column - 1] = TimestampTzGetDatum(at);
}

void
guarded_write(const PolicyJobKey *key, const GuardedJob *guarded)
{
	Datum		values[GUARDED_NCOLUMNS];
	char		nulls[GUARDED_NCOLUMNS];

	memset(nulls, ' ', sizeof(nulls));
	set_string(values, nulls, GUARDED_JOB_KEY, key->key);
	set_string(values, nulls, GUARDED_JOB_TABLE, key->table);
	values[GUARDED_ROW_KEY - 1] = JsonbPGetDatum(guarded->row_key);
	set_string(values, nulls, GUARDED_STATE, guarded->state);
	values[GUARDED_DECISION_ID - 1] = Int64GetDatum(guarded->decision_id);
	values[GUARDED_DECIDED_AT - 1] = TimestampTzGetDatum(guarded->decided_at);
	values[GUARDED_CONSTRAINTS - 1] = JsonbPGetDatum(guarded->constraints);
	set_time(values, nulls, GUARDED_RUN_AFTER, guarded->run_after);
	set_time(values, nulls, GUARDED_STARTED_AT, guarded->started_at);
	values[GUARDED_WANTED - 1] = PointerGetDatum(guarded->wanted);
	nulls[GUARDED_WANTED - 1] = guarded->wanted == NULL ? 'n' : ' ';
	set_string(values, nulls, GUARDED_ASKED_BY, guarded->asked_by);
	set_string(values, nulls, GUARDED_ASKED_VIA, guarded->asked_via);
	values[GUARDED_IDENTITIES - 1] = PointerGetDatum(guarded->identities);
	nulls[GUARDED_IDENTITIES - 1] = guarded->identities == NULL ? 'n' : ' ';
	policy_owner_execute(&write_query, values, nulls);
}

void
guarded_forget(const PolicyJobKey *key, bool is_gone)
{
	static OwnerQuery keep = {
		.text = "UPDATE policy.guarded_jobs g SET state = 'gone', wanted = NULL "
		"WHERE g.job_key OPERATOR(pg_catalog.=) $1 AND g.job_table OPERATOR(pg_catalog.=) $2 "
		"AND EXISTS (SELECT FROM policy.approvals a WHERE a.job_key OPERATOR(pg_catalog.=) $1 "
		"AND a.job_table OPERATOR(pg_catalog.=) $2 "
		"AND a.status OPERATOR(pg_catalog.=) ANY (ARRAY['approved', 'consumed']))",
		.nargs = 2, .types = {TEXTOID, TEXTOID}
	};
	static OwnerQuery unask = {
		.text = "UPDATE policy.approvals SET status = 'superseded', "
		"resolved_at = pg_catalog.clock_timestamp() "
		"WHERE job_key OPERATOR(pg_catalog.=) $1 AND job_table OPERATOR(pg_catalog.=) $2 "
		"AND status OPERATOR(pg_catalog.=) 'pending'",
		.nargs = 2, .types = {TEXTOID, TEXTOID}
	};
	static OwnerQuery drop = {
		.text = "DELETE FROM policy.guarded_jobs g "
		"WHERE g.job_key OPERATOR(pg_catalog.=) $1 AND g.job_table OPERATOR(pg_catalog.=) $2",
		.nargs = 2, .types = {TEXTOID, TEXTOID}
	};
	Datum		values[2];

	values[0] = CStringGetTextDatum(key->key);
	values[1] = CStringGetTextDatum(key->table);
	if (is_gone)
		(void) policy_owner_execute(&unask, values, NULL);
	if (is_gone && policy_owner_execute(&keep, values, NULL) > 0)
		return;
	(void) policy_owner_execute(&drop, values, NULL);
}

/* Of a job that nothing is kept of: its last decision, and who asked for it. */
static void
read_evidence(const PolicyJobKey *key, GuardedJob *guarded)
{
	static OwnerQuery query = {
		.text = "SELECT d.decision_id, d.decided_at, d.constraints, a.session_role, "
		"CASE WHEN a.role OPERATOR(pg_catalog.<>) a.session_role THEN a.role END "
		"FROM policy.decisions d CROSS JOIN LATERAL (SELECT s.session_role, s.role FROM policy.decisions s "
		"WHERE s.job_key OPERATOR(pg_catalog.=) $1 AND s.job_table OPERATOR(pg_catalog.=) $2 "
		"AND s.source OPERATOR(pg_catalog.=) ANY (ARRAY['submit', 'update']) "
		"ORDER BY s.decision_id DESC LIMIT 1) a "
		"WHERE d.job_key OPERATOR(pg_catalog.=) $1 AND d.job_table OPERATOR(pg_catalog.=) $2 "
		"ORDER BY d.decision_id DESC LIMIT 1",
		.nargs = 2, .types = {TEXTOID, TEXTOID}
	};
	Datum		values[2];
	HeapTuple	tuple;
	TupleDesc	tupdesc;
	bool		isnull;

	values[0] = CStringGetTextDatum(key->key);
	values[1] = CStringGetTextDatum(key->table);
	policy_owner_run(&query, values, NULL);
	if (SPI_processed == 0)
		return;
	tuple = SPI_tuptable->vals[0];
	tupdesc = SPI_tuptable->tupdesc;
	guarded->decision_id = DatumGetInt64(SPI_getbinval(tuple, tupdesc, 1, &isnull));
	guarded->decided_at = DatumGetTimestampTz(SPI_getbinval(tuple, tupdesc, 2, &isnull));
	guarded->constraints = DatumGetJsonbPCopy(SPI_getbinval(tuple, tupdesc, 3, &isnull));
	guarded->asked_by = SPI_getvalue(tuple, tupdesc, 4);
	guarded->asked_via = SPI_getvalue(tuple, tupdesc, 5);
}

static Jsonb *
empty_object(void)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
}

/* A job that came in before its table was attached: whoever moves it asks. */
static void
read_caller(GuardedJob *guarded)
{
	PolicyCaller caller;

	policy_caller_read(&caller);
	guarded->asked_by = caller.name;
	guarded->asked_via = caller.via;
	guarded->constraints = empty_object();
}

void
guarded_candidate(const PolicyJobKey *key, GuardedJob *guarded, Jsonb *job, const char *invalid,
				  Candidate *candidate)
{
	JobRow	   *row = &candidate->row;

	if (!guarded->is_kept)
	{
		read_evidence(key, guarded);
		guarded->state = "ready";
		if (guarded->asked_by == NULL)
			read_caller(guarded);
	}
	memset(candidate, 0, sizeof(Candidate));
	memset(row->nulls, true, sizeof(row->nulls));
	candidate->key = *key;
	candidate->state = pstrdup(guarded->state);
	candidate->job = job;
	candidate->invalid = invalid;
	row->values[JOB_CONSTRAINTS] = JsonbPGetDatum(guarded->constraints);
	row->values[JOB_RUN_AFTER] = TimestampTzGetDatum(guarded->run_after);
	row->nulls[JOB_RUN_AFTER] = guarded->run_after == 0;
	row->values[JOB_CLAIMED_AT] = TimestampTzGetDatum(guarded->started_at);
	row->nulls[JOB_CLAIMED_AT] = guarded->started_at == 0;
	row->values[JOB_DECISION_ID] = Int64GetDatum(guarded->decision_id);
	row->values[JOB_DECIDED_AT] = TimestampTzGetDatum(guarded->decided_at);
	row->values[JOB_SUBMITTED_BY] = CStringGetTextDatum(guarded->asked_by);
	row->nulls[JOB_SUBMITTED_VIA] = guarded->asked_via == NULL;
	if (guarded->asked_via != NULL)
		row->values[JOB_SUBMITTED_VIA] = CStringGetTextDatum(guarded->asked_via);
	if (guarded->decision_id != 0)
		policy_candidate_read_prior(candidate);
}

void
guarded_set_decision(GuardedJob *guarded, const Candidate *candidate, const char *state)
{
	guarded->state = state;
	guarded->decision_id = DatumGetInt64(candidate->row.values[JOB_DECISION_ID]);
	guarded->decided_at = DatumGetTimestampTz(candidate->row.values[JOB_DECIDED_AT]);
	guarded->constraints = candidate->constraints;
	if (strcmp(state, "throttled") == 0)
		guarded->run_after = policy_run_after(&candidate->now);
}
