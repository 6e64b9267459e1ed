/*
 * job_row.c
 *	  A row of policy.jobs, and the job that it is.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/jsonb.h"

#include "dispatch/job_row.h"
#include "language/document.h"
#include "language/normalize.h"
#include "store/table.h"

const JobColumnInfo job_columns[JOB_EXTRA] = {
	[JOB_TENANT_ID] = {"tenant_id", JOB_COLUMN_TEXT},
	[JOB_TOPIC] = {"topic", JOB_COLUMN_TEXT},
	[JOB_CAPABILITY] = {"capability", JOB_COLUMN_TEXT},
	[JOB_PACK_ID] = {"pack_id", JOB_COLUMN_TEXT},
	[JOB_ACTOR_ID] = {"actor_id", JOB_COLUMN_TEXT},
	[JOB_ACTOR_TYPE] = {"actor_type", JOB_COLUMN_TEXT},
	[JOB_IDEMPOTENCY_KEY] = {"idempotency_key", JOB_COLUMN_TEXT},
	[JOB_SECRETS_PRESENT] = {"secrets_present", JOB_COLUMN_BOOLEAN},
	[JOB_RISK_TAGS] = {"risk_tags", JOB_COLUMN_JSONB},
	[JOB_REQUIRES] = {"requires", JOB_COLUMN_JSONB},
	[JOB_ACTOR_ROLES] = {"actor_roles", JOB_COLUMN_JSONB},
	[JOB_LABELS] = {"labels", JOB_COLUMN_JSONB},
	[JOB_MCP] = {"mcp", JOB_COLUMN_JSONB},
	[JOB_PAYLOAD] = {"payload", JOB_COLUMN_JSONB},
};

int
job_column_by_name(const char *name, int len)
{
	for (int i = JOB_FIRST_SUBMITTED; i < JOB_EXTRA; i++)
	{
		if ((int) strlen(job_columns[i].name) == len &&
			memcmp(job_columns[i].name, name, len) == 0)
			return i;
	}
	return 0;
}

void
job_row_read(HeapTuple tuple, TupleDesc tupdesc, JobRow *row)
{
	Datum	   *values = palloc(sizeof(Datum) * tupdesc->natts);
	bool	   *nulls = palloc(sizeof(bool) * tupdesc->natts);

	if (tupdesc->natts < JOB_NCOLUMNS)
		policy_report_altered("jobs");
	heap_deform_tuple(tuple, tupdesc, values, nulls);
	memcpy(row->values + 1, values, sizeof(Datum) * JOB_NCOLUMNS);
	memcpy(row->nulls + 1, nulls, sizeof(bool) * JOB_NCOLUMNS);
	pfree(values);
	pfree(nulls);
}

HeapTuple
job_row_form(HeapTuple tuple, TupleDesc tupdesc, JobRow *row)
{
	Datum	   *values = palloc0(sizeof(Datum) * tupdesc->natts);
	bool	   *nulls = palloc0(sizeof(bool) * tupdesc->natts);
	bool	   *replaced = palloc0(sizeof(bool) * tupdesc->natts);

	memcpy(values, row->values + 1, sizeof(Datum) * JOB_NCOLUMNS);
	memcpy(nulls, row->nulls + 1, sizeof(bool) * JOB_NCOLUMNS);
	memset(replaced, true, sizeof(bool) * JOB_NCOLUMNS);
	return heap_modify_tuple(tuple, tupdesc, values, nulls, replaced);
}

static void
push_key(JsonbParseState **state, const char *name, int len)
{
	JsonbValue	key;

	key.type = jbvString;
	key.val.string.val = unconstify(char *, name);
	key.val.string.len = len;
	pushJsonbValue(state, WJB_KEY, &key);
}

static void
push_jsonb(JsonbParseState **state, Jsonb *jsonb)
{
	JsonbValue	value;

	if (!JB_ROOT_IS_SCALAR(jsonb) || !JsonbExtractScalar(&jsonb->root, &value))
	{
		value.type = jbvBinary;
		value.val.binary.data = &jsonb->root;
		value.val.binary.len = VARSIZE(jsonb) - VARHDRSZ;
	}
	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
push_column(JsonbParseState **state, int column, Datum datum)
{
	JsonbValue	value;
	text	   *string;

	push_key(state, job_columns[column].name, strlen(job_columns[column].name));
	switch (job_columns[column].type)
	{
		case JOB_COLUMN_TEXT:
			string = DatumGetTextPP(datum);
			value.type = jbvString;
			value.val.string.val = VARDATA_ANY(string);
			value.val.string.len = VARSIZE_ANY_EXHDR(string);
			pushJsonbValue(state, WJB_VALUE, &value);
			break;
		case JOB_COLUMN_BOOLEAN:
			value.type = jbvBool;
			value.val.boolean = DatumGetBool(datum);
			pushJsonbValue(state, WJB_VALUE, &value);
			break;
		case JOB_COLUMN_JSONB:
			push_jsonb(state, DatumGetJsonbP(datum));
			break;
	}
}

/* Pushes the keys of extra; columns of the same name, pushed later, win. */
static void
push_extra(JsonbParseState **state, Jsonb *extra, const char **invalid)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;

	if (!JB_ROOT_IS_OBJECT(extra))
	{
		*invalid = "extra is not an object";
		push_key(state, "extra", strlen("extra"));
		push_jsonb(state, extra);
		return;
	}
	iterator = JsonbIteratorInit(&extra->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY &&
			job_column_by_name(value.val.string.val, value.val.string.len) != 0)
			*invalid = "extra has a key that is a column's";
		if (token == WJB_KEY || token == WJB_VALUE)
			pushJsonbValue(state, token, &value);
	}
}

const char *
job_object_problem(Jsonb *object)
{
	JsonbValue	space;

	if (JB_ROOT_IS_OBJECT(object) &&
		getKeyJsonValueFromContainer(&object->root, "topic", strlen("topic"), &space) == NULL &&
		getKeyJsonValueFromContainer(&object->root, "job", strlen("job"), &space) != NULL)
		return "a simulate request is no job";
	return NULL;
}

Jsonb *
job_row_object(const JobRow *row, const char **invalid)
{
	JsonbParseState *state = NULL;
	Jsonb	   *object;

	*invalid = NULL;
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (!row->nulls[JOB_EXTRA])
		push_extra(&state, DatumGetJsonbP(row->values[JOB_EXTRA]), invalid);
	for (int i = JOB_FIRST_SUBMITTED; i < JOB_EXTRA; i++)
	{
		if (!row->nulls[i])
			push_column(&state, i, row->values[i]);
	}
	object = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
	if (*invalid == NULL)
		*invalid = job_object_problem(object);
	return object;
}

static bool
same_value(Datum a, Datum b, bool varlena)
{
	struct varlena *left;
	struct varlena *right;

	if (!varlena)
		return DatumGetBool(a) == DatumGetBool(b);
	if (datumIsEqual(a, b, false, -1))
		return true;
	left = PG_DETOAST_DATUM_PACKED(a);
	right = PG_DETOAST_DATUM_PACKED(b);
	return VARSIZE_ANY_EXHDR(left) == VARSIZE_ANY_EXHDR(right) &&
		memcmp(VARDATA_ANY(left), VARDATA_ANY(right), VARSIZE_ANY_EXHDR(left)) == 0;
}

uint64
job_row_content(const JobRow *row)
{
	uint64		hash = 0;

	for (int i = JOB_FIRST_SUBMITTED; i <= JOB_LAST_SUBMITTED; i++)
	{
		struct varlena *value;

		if (row->nulls[i])
			continue;
		if (i == JOB_SECRETS_PRESENT)
		{
			hash = hash_combine64(hash, DatumGetBool(row->values[i]) ? i : -i);
			continue;
		}
		value = PG_DETOAST_DATUM_PACKED(row->values[i]);
		hash = hash_combine64(hash, hash_bytes_extended((unsigned char *) VARDATA_ANY(value),
														VARSIZE_ANY_EXHDR(value), i));
	}
	return hash;
}

bool
job_row_same_content(const JobRow *a, const JobRow *b)
{
	for (int i = JOB_FIRST_SUBMITTED; i <= JOB_LAST_SUBMITTED; i++)
	{
		if (a->nulls[i] != b->nulls[i])
			return false;
		if (!a->nulls[i] && !same_value(a->values[i], b->values[i], i != JOB_SECRETS_PRESENT))
			return false;
	}
	return true;
}

/* A tenant as policies compare it; NULL where the string gives none. */
static text *
normal_tenant(const char *string, int len)
{
	const char *normal;
	int			normal_len;

	/* What cannot be normalised is compared as it is: its job is invalid. */
	if (!policy_normalize(string, len, POLICY_TRIM, &normal, &normal_len))
		return cstring_to_text_with_len(string, len);
	return normal_len == 0 ? NULL : cstring_to_text_with_len(normal, normal_len);
}

text *
job_tenant_key(bool has_tenant, Datum tenant, bool has_extra, Datum extra)
{
	text	   *key = NULL;

	if (has_tenant)
	{
		text	   *string = DatumGetTextPP(tenant);

		key = normal_tenant(VARDATA_ANY(string), VARSIZE_ANY_EXHDR(string));
	}
	if (key == NULL && has_extra)
	{
		Jsonb	   *object = DatumGetJsonbP(extra);
		JsonbValue	space;
		JsonbValue *value = !JB_ROOT_IS_OBJECT(object) ? NULL :
		getKeyJsonValueFromContainer(&object->root, "tenant", strlen("tenant"), &space);

		if (value != NULL && value->type == jbvString)
			key = normal_tenant(value->val.string.val, value->val.string.len);
	}
	return key != NULL ? key : cstring_to_text("default");
}

bytea *
job_idempotency_hash(const text *tenant, const text *key)
{
	StringInfoData buffer;
	bytea	   *hash = palloc(VARHDRSZ + POLICY_DIGEST_LENGTH);

	initStringInfo(&buffer);
	appendStringInfo(&buffer, "%d:", (int) VARSIZE_ANY_EXHDR(tenant));
	appendBinaryStringInfo(&buffer, VARDATA_ANY(tenant), VARSIZE_ANY_EXHDR(tenant));
	appendBinaryStringInfo(&buffer, VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key));
	SET_VARSIZE(hash, VARHDRSZ + POLICY_DIGEST_LENGTH);
	policy_digest(buffer.data, buffer.len, (uint8 *) VARDATA(hash));
	pfree(buffer.data);
	return hash;
}

void
job_hash(Jsonb *job, uint8 *hash)
{
	StringInfoData buffer;

	initStringInfo(&buffer);
	JsonbToCString(&buffer, &job->root, VARSIZE(job));
	policy_digest(buffer.data, buffer.len, hash);
	pfree(buffer.data);
}
