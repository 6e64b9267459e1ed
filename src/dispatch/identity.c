/*
 * identity.c
 *	  The identity that is bound to a submitter, stamped on its jobs.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "dispatch/identity.h"
#include "language/normalize.h"

/* A normalised string; NULL where it cannot be normalised. */
static char *
normal(const char *string, int len)
{
	const char *result;
	int			result_len;

	if (!policy_normalize(string, len, POLICY_TRIM, &result, &result_len))
		return NULL;
	return pnstrdup(result, result_len);
}

static bool
same_normal(const char *a, const char *b)
{
	return a != NULL && b != NULL && strcmp(a, b) == 0;
}

static bool
stamp_string(JobRow *row, int column, const JsonbValue *bound)
{
	if (!row->nulls[column])
	{
		text	   *given = DatumGetTextPP(row->values[column]);
		char	   *is = normal(VARDATA_ANY(given), VARSIZE_ANY_EXHDR(given));

		if (!same_normal(is, "") &&
			!same_normal(is, normal(bound->val.string.val, bound->val.string.len)))
			return false;
	}
	row->nulls[column] = false;
	row->values[column] = PointerGetDatum(cstring_to_text_with_len(bound->val.string.val,
																   bound->val.string.len));
	return true;
}

/* The normalised strings of an array; false where it is no array of strings. */
static bool
normal_strings(JsonbContainer *container, List **strings)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;

	*strings = NIL;
	if (!JsonContainerIsArray(container) || JsonContainerIsScalar(container))
		return false;
	iterator = JsonbIteratorInit(container);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		char	   *string;

		if (token != WJB_ELEM)
			continue;
		if (value.type != jbvString)
			return false;
		string = normal(value.val.string.val, value.val.string.len);
		if (string == NULL)
			return false;
		if (string[0] != '\0')
			*strings = lappend(*strings, string);
	}
	return true;
}

static bool
contains_all(List *strings, List *wanted)
{
	ListCell   *cell;

	foreach(cell, wanted)
	{
		bool		found = false;
		ListCell   *other;

		foreach(other, strings)
			found = found || strcmp(lfirst(cell), lfirst(other)) == 0;
		if (!found)
			return false;
	}
	return true;
}

static bool
is_json_null(Jsonb *jsonb)
{
	JsonbValue	value;

	return JB_ROOT_IS_SCALAR(jsonb) && JsonbExtractScalar(&jsonb->root, &value) &&
		value.type == jbvNull;
}

static bool
stamp_roles(JobRow *row, const JsonbValue *bound)
{
	List	   *wanted;
	List	   *given;

	if (!row->nulls[JOB_ACTOR_ROLES] && !is_json_null(DatumGetJsonbP(row->values[JOB_ACTOR_ROLES])))
	{
		Jsonb	   *roles = DatumGetJsonbP(row->values[JOB_ACTOR_ROLES]);

		if (!normal_strings(&roles->root, &given) ||
			!normal_strings(bound->val.binary.data, &wanted))
			return false;
		if (given != NIL && (!contains_all(given, wanted) || !contains_all(wanted, given)))
			return false;
	}
	row->nulls[JOB_ACTOR_ROLES] = false;
	row->values[JOB_ACTOR_ROLES] = JsonbPGetDatum(JsonbValueToJsonb(unconstify(JsonbValue *, bound)));
	return true;
}

const char *
policy_stamp_identity(JobRow *row, List *identities)
{
	static const int columns[] = {JOB_TENANT_ID, JOB_ACTOR_ID, JOB_ACTOR_TYPE, JOB_ACTOR_ROLES};
	Jsonb	   *identity;

	if (identities == NIL)
		return NULL;
	if (list_length(identities) > 1)
		return "its submitter holds two bound identities that differ";
	identity = linitial(identities);
	for (int i = 0; i < (int) lengthof(columns); i++)
	{
		const char *name = job_columns[columns[i]].name;
		JsonbValue	space;
		JsonbValue *bound = getKeyJsonValueFromContainer(&identity->root, name, strlen(name),
														 &space);

		if (bound == NULL)
			continue;
		if (!(bound->type == jbvString ? stamp_string(row, columns[i], bound) :
			  stamp_roles(row, bound)))
			return psprintf("%s contradicts the identity that is bound to its submitter", name);
	}
	return NULL;
}
