/*
 * job_row.c
 *	  A row of policy.jobs, and the job that it is.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "port/pg_crc32c.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/jsonb.h"

#include "dispatch/canonical.h"
#include "dispatch/job_row.h"
#include "language/document.h"
#include "language/normalize.h"
#include "store/table.h"

#define COLUMN(name, type) {name, sizeof(name) - 1, type}

const JobColumnInfo job_columns[JOB_EXTRA] = {
	[JOB_TENANT_ID] = COLUMN("tenant_id", JOB_COLUMN_TEXT),
	[JOB_TOPIC] = COLUMN("topic", JOB_COLUMN_TEXT),
	[JOB_CAPABILITY] = COLUMN("capability", JOB_COLUMN_TEXT),
	[JOB_PACK_ID] = COLUMN("pack_id", JOB_COLUMN_TEXT),
	[JOB_ACTOR_ID] = COLUMN("actor_id", JOB_COLUMN_TEXT),
	[JOB_ACTOR_TYPE] = COLUMN("actor_type", JOB_COLUMN_TEXT),
	[JOB_IDEMPOTENCY_KEY] = COLUMN("idempotency_key", JOB_COLUMN_TEXT),
	[JOB_SECRETS_PRESENT] = COLUMN("secrets_present", JOB_COLUMN_BOOLEAN),
	[JOB_RISK_TAGS] = COLUMN("risk_tags", JOB_COLUMN_JSONB),
	[JOB_REQUIRES] = COLUMN("requires", JOB_COLUMN_JSONB),
	[JOB_ACTOR_ROLES] = COLUMN("actor_roles", JOB_COLUMN_JSONB),
	[JOB_LABELS] = COLUMN("labels", JOB_COLUMN_JSONB),
	[JOB_MCP] = COLUMN("mcp", JOB_COLUMN_JSONB),
	[JOB_PAYLOAD] = COLUMN("payload", JOB_COLUMN_JSONB),
};

static const Oid column_types[JOB_NCOLUMNS + 1] = {
	[JOB_ID] = INT8OID,
	[JOB_TENANT_ID] = TEXTOID,
	[JOB_TOPIC] = TEXTOID,
	[JOB_CAPABILITY] = TEXTOID,
	[JOB_PACK_ID] = TEXTOID,
	[JOB_ACTOR_ID] = TEXTOID,
	[JOB_ACTOR_TYPE] = TEXTOID,
	[JOB_IDEMPOTENCY_KEY] = TEXTOID,
	[JOB_SECRETS_PRESENT] = BOOLOID,
	[JOB_RISK_TAGS] = JSONBOID,
	[JOB_REQUIRES] = JSONBOID,
	[JOB_ACTOR_ROLES] = JSONBOID,
	[JOB_LABELS] = JSONBOID,
	[JOB_MCP] = JSONBOID,
	[JOB_PAYLOAD] = JSONBOID,
	[JOB_EXTRA] = JSONBOID,
	[JOB_STATE] = TEXTOID,
	[JOB_DECISION_ID] = INT8OID,
	[JOB_DECIDED_AT] = TIMESTAMPTZOID,
	[JOB_CONSTRAINTS] = JSONBOID,
	[JOB_RUN_AFTER] = TIMESTAMPTZOID,
	[JOB_ATTEMPTS] = INT4OID,
	[JOB_CLAIMED_BY] = TEXTOID,
	[JOB_CLAIMED_AT] = TIMESTAMPTZOID,
	[JOB_CLAIM_TOKEN] = UUIDOID,
	[JOB_DEADLINE] = TIMESTAMPTZOID,
	[JOB_FINISHED_AT] = TIMESTAMPTZOID,
	[JOB_RESULT] = JSONBOID,
	[JOB_ERROR] = TEXTOID,
	[JOB_SUBMITTED_BY] = TEXTOID,
	[JOB_SUBMITTED_AT] = TIMESTAMPTZOID,
	[JOB_SUBMITTED_VIA] = TEXTOID,
	[JOB_HALT_ID] = INT8OID,
};

int
job_column_by_name(const char *name, int len)
{
	for (int i = JOB_FIRST_SUBMITTED; i < JOB_EXTRA; i++)
	{
		if (job_columns[i].len == len &&
			memcmp(job_columns[i].name, name, len) == 0)
			return i;
	}
	return 0;
}

void
job_row_read(HeapTuple tuple, TupleDesc tupdesc, JobRow *row)
{
	Datum	   *values;
	bool	   *nulls;

	policy_check_columns("jobs", tupdesc, column_types + 1, JOB_NCOLUMNS);
	if (tupdesc->natts == JOB_NCOLUMNS)
	{
		heap_deform_tuple(tuple, tupdesc, row->values + 1, row->nulls + 1);
		return;
	}
	values = palloc(sizeof(Datum) * tupdesc->natts);
	nulls = palloc(sizeof(bool) * tupdesc->natts);
	heap_deform_tuple(tuple, tupdesc, values, nulls);
	memcpy(row->values + 1, values, sizeof(Datum) * JOB_NCOLUMNS);
	memcpy(row->nulls + 1, nulls, sizeof(bool) * JOB_NCOLUMNS);
	pfree(values);
	pfree(nulls);
}

HeapTuple
job_row_form(HeapTuple tuple, TupleDesc tupdesc, JobRow *row)
{
	Datum	   *values;
	bool	   *nulls;
	bool	   *replaced;

	if (tupdesc->natts == JOB_NCOLUMNS)
		return heap_form_tuple(tupdesc, row->values + 1, row->nulls + 1);

	/*
	 * A trigger's tuple is known by its content alone, and so need not be
	 * like the given.
	 */
	values = palloc0(sizeof(Datum) * tupdesc->natts);
	nulls = palloc0(sizeof(bool) * tupdesc->natts);
	replaced = palloc0(sizeof(bool) * tupdesc->natts);
	memcpy(values, row->values + 1, sizeof(Datum) * JOB_NCOLUMNS);
	memcpy(nulls, row->nulls + 1, sizeof(bool) * JOB_NCOLUMNS);
	memset(replaced, true, sizeof(bool) * JOB_NCOLUMNS);
	return heap_modify_tuple(tuple, tupdesc, values, nulls, replaced);
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
	uint32		total = 0;
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	for (int i = JOB_FIRST_SUBMITTED; i <= JOB_LAST_SUBMITTED; i++)
	{
		struct varlena *value;
		uint32		head[2] = {i, 0};

		if (row->nulls[i])
			continue;
		if (i == JOB_SECRETS_PRESENT)
		{
			head[1] = DatumGetBool(row->values[i]);
			COMP_CRC32C(crc, head, sizeof(head));
			continue;
		}
		value = PG_DETOAST_DATUM_PACKED(row->values[i]);
		head[1] = VARSIZE_ANY_EXHDR(value);
		total += head[1];
		COMP_CRC32C(crc, head, sizeof(head));
		COMP_CRC32C(crc, VARDATA_ANY(value), head[1]);
	}
	FIN_CRC32C(crc);
	return (uint64) total << 32 | crc;
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
	canonical_text(&buffer, job);
	policy_digest(buffer.data, buffer.len, hash);
	pfree(buffer.data);
}
