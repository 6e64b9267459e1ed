/*
 * submit.c
 *	  policy_submit(): a job in any of its spellings, made a row of policy.jobs.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/typcache.h"

#include "dispatch/dispatch.h"
#include "dispatch/identity.h"
#include "dispatch/job_insert.h"
#include "dispatch/job_row.h"
#include "dispatch/owner_query.h"
#include "dispatch/submission.h"
#include "dispatch/verb.h"
#include "engine/job.h"
#include "errors.h"
#include "language/normalize.h"
#include "store/table.h"

PG_FUNCTION_INFO_V1(policy_submit);
PG_FUNCTION_INFO_V1(policy_submit_noted);
PG_FUNCTION_INFO_V1(policy_tenant_key);
PG_FUNCTION_INFO_V1(policy_idempotency_hash);
PG_FUNCTION_INFO_V1(policy_job);
PG_FUNCTION_INFO_V1(policy_job_hash);

static OwnerQuery insert_query = {
	.text = "INSERT INTO policy.jobs (tenant_id, topic, capability, pack_id, actor_id, actor_type, "
	"idempotency_key, secrets_present, risk_tags, requires, actor_roles, labels, mcp, payload, "
	"extra) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) "
	"ON CONFLICT DO NOTHING RETURNING *",
	.nargs = 15, .types = {TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, BOOLOID, JSONBOID,
	JSONBOID, JSONBOID, JSONBOID, JSONBOID, JSONBOID, JSONBOID}
};

static OwnerQuery same_key_query = {
	.text = "SELECT * FROM policy.jobs WHERE idempotency_key IS NOT NULL "
	"AND policy.idempotency_hash(tenant_id, extra, idempotency_key) OPERATOR(pg_catalog.=) $1",
	.nargs = 1, .types = {BYTEAOID}
};

/* A job's object on its way into columns. */
typedef struct Rewriting
{
	JobRow		row;
	JsonbParseState *extra;		/* the keys that no column holds */
	bool		has_extra;
	const char *invalid;
} Rewriting;

static void
refuse(Rewriting *rewriting, const char *why)
{
	if (rewriting->invalid == NULL)
		rewriting->invalid = why;
}

static Jsonb *
value_to_jsonb(JsonbValue *value)
{
	return JsonbValueToJsonb(value);
}

static bool
is_null(const JsonbValue *value)
{
	return value->type == jbvNull;
}

/* Two spellings of one fact that differ make the job invalid. */
static bool
same_fact(const JobRow *row, int column, Datum datum)
{
	const char *normal[2];
	int			len[2];
	text	   *strings[2];

	if (job_columns[column].type != JOB_COLUMN_TEXT)
		return compareJsonbContainers(&DatumGetJsonbP(row->values[column])->root,
									  &DatumGetJsonbP(datum)->root) == 0;
	strings[0] = DatumGetTextPP(row->values[column]);
	strings[1] = DatumGetTextPP(datum);
	for (int i = 0; i < 2; i++)
	{
		if (!policy_normalize(VARDATA_ANY(strings[i]), VARSIZE_ANY_EXHDR(strings[i]), POLICY_TRIM,
							  &normal[i], &len[i]))
			return false;
	}
	return len[0] == len[1] && memcmp(normal[0], normal[1], len[0]) == 0;
}

/* Whether a string is empty once normalised, and so is absent. */
static bool
is_blank(Datum string)
{
	text	   *value = DatumGetTextPP(string);
	const char *normal;
	int			len;

	return policy_normalize(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), POLICY_TRIM,
							&normal, &len) && len == 0;
}

static bool
column_datum(int column, JsonbValue *value, Datum *datum)
{
	switch (job_columns[column].type)
	{
		case JOB_COLUMN_TEXT:
			if (value->type != jbvString)
				return false;
			*datum = PointerGetDatum(cstring_to_text_with_len(value->val.string.val,
															  value->val.string.len));
			return true;
		case JOB_COLUMN_BOOLEAN:
			*datum = BoolGetDatum(value->type == jbvBool && value->val.boolean);
			return value->type == jbvBool;
		default:
			*datum = JsonbPGetDatum(value_to_jsonb(value));
			return true;
	}
}

static void
set_column(Rewriting *rewriting, int column, JsonbValue *value)
{
	JobRow	   *row = &rewriting->row;
	Datum		datum;

	/* payload is anything, null included; elsewhere null is absent. */
	if (is_null(value) && column != JOB_PAYLOAD)
		return;
	if (!column_datum(column, value, &datum))
	{
		refuse(rewriting, psprintf("%s is not a %s", job_columns[column].name,
								   job_columns[column].type == JOB_COLUMN_TEXT ?
								   "string" : "boolean"));
		return;
	}
	if (!row->nulls[column] && job_columns[column].type == JOB_COLUMN_TEXT &&
		is_blank(row->values[column]))
		row->nulls[column] = true;
	if (!row->nulls[column])
	{
		if (job_columns[column].type == JOB_COLUMN_TEXT && is_blank(datum))
			return;
		if (!same_fact(row, column, datum))
			refuse(rewriting, psprintf("two spellings of %s contradict each other",
									   job_columns[column].name));
		return;
	}
	row->nulls[column] = false;
	row->values[column] = datum;
}

static void
push_extra(Rewriting *rewriting, const char *name, int len, JsonbValue *value)
{
	JsonbValue	key;

	key.type = jbvString;
	key.val.string.val = unconstify(char *, name);
	key.val.string.len = len;
	pushJsonbValue(&rewriting->extra, WJB_KEY, &key);
	pushJsonbValue(&rewriting->extra, WJB_VALUE, value);
	rewriting->has_extra = true;
}

/* actor {id, type, roles}: into their columns; what else it has stays in extra. */
static void
rewrite_actor(Rewriting *rewriting, JsonbValue *actor)
{
	static const struct
	{
		const char *name;
		int			column;
	}			facts[] = {
		{"id", JOB_ACTOR_ID}, {"type", JOB_ACTOR_TYPE}, {"roles", JOB_ACTOR_ROLES}
	};
	JsonbParseState *rest = NULL;
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;
	JsonbValue	key = {0};
	int			kept = 0;

	if (actor->type != jbvBinary || !JsonContainerIsObject(actor->val.binary.data))
	{
		if (!is_null(actor))
			push_extra(rewriting, "actor", strlen("actor"), actor);
		return;
	}
	pushJsonbValue(&rest, WJB_BEGIN_OBJECT, NULL);
	iterator = JsonbIteratorInit(actor->val.binary.data);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		int			column = 0;

		if (token == WJB_KEY)
			key = value;
		if (token != WJB_VALUE)
			continue;
		for (int i = 0; i < (int) lengthof(facts); i++)
		{
			if ((int) strlen(facts[i].name) == key.val.string.len &&
				memcmp(facts[i].name, key.val.string.val, key.val.string.len) == 0)
				column = facts[i].column;
		}
		if (column != 0)
		{
			set_column(rewriting, column, &value);
			continue;
		}
		pushJsonbValue(&rest, WJB_KEY, &key);
		pushJsonbValue(&rest, WJB_VALUE, &value);
		kept++;
	}
	if (kept > 0)
		push_extra(rewriting, "actor", strlen("actor"),
				   pushJsonbValue(&rest, WJB_END_OBJECT, NULL));
}

static bool
is_key(const JsonbValue *key, const char *name)
{
	return key->val.string.len == (int) strlen(name) &&
		memcmp(key->val.string.val, name, key->val.string.len) == 0;
}

static void
rewrite_key(Rewriting *rewriting, const JsonbValue *key, JsonbValue *value)
{
	int			column = job_column_by_name(key->val.string.val, key->val.string.len);

	if (is_key(key, "tenant"))
		column = JOB_TENANT_ID;
	if (column != 0)
		set_column(rewriting, column, value);
	else if (is_key(key, "actor"))
		rewrite_actor(rewriting, value);
	else
		push_extra(rewriting, key->val.string.val, key->val.string.len, value);
}

static void
rewrite(Jsonb *job, Rewriting *rewriting)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;
	JsonbValue	key = {0};

	memset(rewriting, 0, sizeof(Rewriting));
	memset(rewriting->row.nulls, true, sizeof(rewriting->row.nulls));
	if (job == NULL)
		refuse(rewriting, "it is NULL");
	else if (VARSIZE(job) - VARHDRSZ > POLICY_MAX_JOB_BYTES)
		refuse(rewriting, psprintf("it is larger than %d bytes", POLICY_MAX_JOB_BYTES));
	else if (!JB_ROOT_IS_OBJECT(job))
		refuse(rewriting, "it is not an object");
	else
		refuse(rewriting, job_object_problem(job));
	if (rewriting->invalid != NULL)
		return;
	pushJsonbValue(&rewriting->extra, WJB_BEGIN_OBJECT, NULL);
	iterator = JsonbIteratorInit(&job->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = value;
		else if (token == WJB_VALUE)
			rewrite_key(rewriting, &key, &value);
	}
	if (rewriting->has_extra)
	{
		rewriting->row.nulls[JOB_EXTRA] = false;
		rewriting->row.values[JOB_EXTRA] =
			JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&rewriting->extra, WJB_END_OBJECT,
															NULL)));
	}
}

Jsonb *
policy_stamped_job(Jsonb *job, List *identities, const char **invalid)
{
	Rewriting	rewriting;
	const char *contradiction;
	Jsonb	   *object;

	*invalid = job_object_problem(job);
	if (identities == NIL || *invalid != NULL || !JB_ROOT_IS_OBJECT(job))
		return job;
	rewrite(job, &rewriting);
	*invalid = rewriting.invalid;
	if (rewriting.invalid != NULL)
		return job;
	contradiction = policy_stamp_identity(&rewriting.row, identities);
	object = job_row_object(&rewriting.row, invalid);
	if (*invalid == NULL)
		*invalid = contradiction;
	return object;
}

/* The row that SPI has, copied out of it; SPI_tuptable goes with the scope. */
static HeapTuple
result_row(MemoryContext context)
{
	MemoryContext caller = MemoryContextSwitchTo(context);
	HeapTuple	tuple = heap_copytuple(SPI_tuptable->vals[0]);

	MemoryContextSwitchTo(caller);
	return tuple;
}

/* By a query: the row, as it was stored, or NULL where another has its key. */
static HeapTuple
insert_by_query(const JobRow *row, MemoryContext context)
{
	Datum		values[JOB_LAST_SUBMITTED - JOB_FIRST_SUBMITTED + 1];
	char		nulls[JOB_LAST_SUBMITTED - JOB_FIRST_SUBMITTED + 1];

	for (int i = JOB_FIRST_SUBMITTED; i <= JOB_LAST_SUBMITTED; i++)
	{
		values[i - JOB_FIRST_SUBMITTED] = row->values[i];
		nulls[i - JOB_FIRST_SUBMITTED] = row->nulls[i] ? 'n' : ' ';
	}
	policy_owner_run(&insert_query, values, nulls);
	return SPI_processed == 1 ? result_row(context) : NULL;
}

/* Inserts, without the engine's leave: the guard decides as for anybody. */
static HeapTuple
insert_row(const JobRow *row, PolicySubmission *submission)
{
	HeapTuple volatile inserted = NULL;

	policy_submission = submission;
	PG_TRY();
	{
		if (row->nulls[JOB_IDEMPOTENCY_KEY])
			inserted = job_insert(row, submission->context);
		if (inserted == NULL)
			inserted = insert_by_query(row, submission->context);
	}
	PG_FINALLY();
	{
		policy_submission = NULL;
	}
	PG_END_TRY();
	return inserted;
}

static void
report_conflict(const char *key, int64 job_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_POLICY_IDEMPOTENCY_CONFLICT),
			 errmsg("idempotency key \"%s\" was used for another job", key),
			 errdetail("Job " INT64_FORMAT " of the same tenant has it, and is not this job.", job_id),
			 errhint("Submit a new job under a new key; the same job under the same key returns what is there.")));
}

/* The job that has the key; NULL where it is gone again. */
static HeapTuple
find_same_key(const JobRow *row, const PolicySubmission *submission)
{
	Datum		value = PointerGetDatum(submission->key_hash);
	JobRow		found;
	const char *invalid;
	uint8		hash[POLICY_DIGEST_LENGTH];

	policy_owner_run(&same_key_query, &value, NULL);
	if (SPI_processed == 0)
		return NULL;
	job_row_read(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, &found);
	job_hash(job_row_object(&found, &invalid), hash);
	if (memcmp(hash, submission->hash, POLICY_DIGEST_LENGTH) != 0)
		report_conflict(TextDatumGetCString(row->values[JOB_IDEMPOTENCY_KEY]),
						DatumGetInt64(found.values[JOB_ID]));
	return result_row(submission->context);
}

static HeapTuple
submit_row(const Rewriting *rewriting, PolicySubmission *submission)
{
	HeapTuple	row = insert_row(&rewriting->row, submission);

	if (row == NULL && !rewriting->row.nulls[JOB_IDEMPOTENCY_KEY])
	{
		row = find_same_key(&rewriting->row, submission);
		/* It was deleted between the two queries. */
		if (row == NULL)
			row = insert_row(&rewriting->row, submission);
	}
	if (row == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not tell which job has the idempotency key"),
				 errhint("Submit it again.")));
	return row;
}

static Datum
submit(FunctionCallInfo fcinfo, Jsonb *job, const char *note)
{
	MemoryContext caller = CurrentMemoryContext;
	PolicySubmission submission = {0};
	Rewriting	rewriting;
	OwnerScope	scope;
	TupleDesc	tupdesc;
	HeapTuple	tuple;

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	tupdesc = BlessTupleDesc(tupdesc);
	rewrite(job, &rewriting);
	submission.context = caller;
	submission.invalid = rewriting.invalid;
	submission.given = job;
	submission.note = note;
	policy_owner_begin(&scope, "submit");
	tuple = submit_row(&rewriting, &submission);
	policy_owner_end(&scope);
	return heap_copy_tuple_as_datum(tuple, tupdesc);
}

/* policy_submit(job jsonb) */
Datum
policy_submit(PG_FUNCTION_ARGS)
{
	return submit(fcinfo, PG_ARGISNULL(0) ? NULL : PG_GETARG_JSONB_P(0), NULL);
}

/* policy.submit(job jsonb, note text) */
Datum
policy_submit_noted(PG_FUNCTION_ARGS)
{
	return submit(fcinfo, PG_GETARG_JSONB_P(0), text_to_cstring(PG_GETARG_TEXT_PP(1)));
}

int64
policy_next_job_id(void)
{
	static PolicyRelation sequence = {.name = "job_id_seq"};

	return nextval_internal(policy_relation_known(&sequence), false);
}

/* policy.tenant_key(tenant_id text, extra jsonb) */
Datum
policy_tenant_key(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(job_tenant_key(!PG_ARGISNULL(0), PG_GETARG_DATUM(0),
									!PG_ARGISNULL(1), PG_GETARG_DATUM(1)));
}

/* policy.idempotency_hash(tenant_id text, extra jsonb, idempotency_key text) */
Datum
policy_idempotency_hash(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(2))
		PG_RETURN_NULL();
	PG_RETURN_BYTEA_P(job_idempotency_hash(job_tenant_key(!PG_ARGISNULL(0), PG_GETARG_DATUM(0),
														  !PG_ARGISNULL(1), PG_GETARG_DATUM(1)),
										   PG_GETARG_TEXT_PP(2)));
}

/* policy.job(job policy.jobs) */
Datum
policy_job(PG_FUNCTION_ARGS)
{
	HeapTupleHeader header = PG_GETARG_HEAPTUPLEHEADER(0);
	TupleDesc	tupdesc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(header),
												 HeapTupleHeaderGetTypMod(header));
	HeapTupleData tuple;
	JobRow		row;
	const char *invalid;

	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = header;
	job_row_read(&tuple, tupdesc, &row);
	ReleaseTupleDesc(tupdesc);
	PG_RETURN_JSONB_P(job_row_object(&row, &invalid));
}

/* policy.job_hash(job jsonb) */
Datum
policy_job_hash(PG_FUNCTION_ARGS)
{
	bytea	   *result = palloc(VARHDRSZ + POLICY_DIGEST_LENGTH);

	SET_VARSIZE(result, VARHDRSZ + POLICY_DIGEST_LENGTH);
	job_hash(PG_GETARG_JSONB_P(0), (uint8 *) VARDATA(result));
	PG_RETURN_BYTEA_P(result);
}
