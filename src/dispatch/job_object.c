/*
 * job_object.c
 *	  The job that a row of policy.jobs is, as jsonb.
 *
 * Every inserted row becomes an object here, so the usual one, without extra, is
 * written by its parts: columns have a fixed order of keys.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "dispatch/job_row.h"
#include "dispatch/object_writer.h"

/* The columns as jsonb orders keys: by length, then by bytes. */
static const uint8 key_order[] = {
	JOB_MCP, JOB_TOPIC, JOB_LABELS, JOB_PACK_ID, JOB_PAYLOAD, JOB_ACTOR_ID, JOB_REQUIRES,
	JOB_RISK_TAGS, JOB_TENANT_ID, JOB_ACTOR_TYPE, JOB_CAPABILITY, JOB_ACTOR_ROLES,
	JOB_IDEMPOTENCY_KEY, JOB_SECRETS_PRESENT
};

StaticAssertDecl(lengthof(key_order) == JOB_EXTRA - JOB_FIRST_SUBMITTED,
				 "every column but extra has its place");
StaticAssertDecl(lengthof(key_order) <= OBJECT_MAX_PARTS,
				 "they can be written by their parts");

static void
read_part(ObjectPart *part, int column, Datum datum)
{
	part->name = job_columns[column].name;
	part->namelen = job_columns[column].len;
	switch (job_columns[column].type)
	{
		case JOB_COLUMN_TEXT:
			object_part_text(part, DatumGetTextPP(datum));
			break;
		case JOB_COLUMN_BOOLEAN:
			object_part_bool(part, DatumGetBool(datum));
			break;
		case JOB_COLUMN_JSONB:
			object_part_jsonb(part, datum);
			break;
	}
}

/* The parts of a row, in the order of their keys; returns how many. */
static int
read_parts(const JobRow *row, ObjectPart *parts)
{
	int			count = 0;

	for (int i = 0; i < (int) lengthof(key_order); i++)
	{
		if (!row->nulls[key_order[i]])
			read_part(&parts[count++], key_order[i], row->values[key_order[i]]);
	}
	return count;
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

	push_key(state, job_columns[column].name, job_columns[column].len);
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

static Jsonb *
push_row(const JobRow *row, const char **invalid)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (!row->nulls[JOB_EXTRA])
		push_extra(&state, DatumGetJsonbP(row->values[JOB_EXTRA]), invalid);
	for (int i = JOB_FIRST_SUBMITTED; i < JOB_EXTRA; i++)
	{
		if (!row->nulls[i])
			push_column(&state, i, row->values[i]);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

Jsonb *
job_row_object(const JobRow *row, const char **invalid)
{
	ObjectPart	parts[lengthof(key_order)];
	Jsonb	   *object = NULL;

	*invalid = NULL;
	if (row->nulls[JOB_EXTRA])
	{
		int			count = read_parts(row, parts);

		object = object_write(parts, count);
	}
	if (object == NULL)
		object = push_row(row, invalid);
	if (*invalid == NULL)
		*invalid = job_object_problem(object);
	return object;
}
