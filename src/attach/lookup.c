/*
 * lookup.c
 *	  policy_lookup(): one value of another table, for expressions of attachments.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(policy_lookup);

/* A query that the session has planned. */
typedef struct Lookup
{
	Oid			source;
	NameData	key_column;
	NameData	value_column;
	Oid			key_type;
	SPIPlanPtr	plan;
} Lookup;

static List *lookups = NIL;

static Oid
column_type(Oid source, const char *column)
{
	AttrNumber	attnum = get_attnum(source, column);

	if (attnum == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of \"%s\" does not exist", column, get_rel_name(source))));
	return get_atttype(source, attnum);
}

static Lookup *
plan_lookup(Oid source, const char *key_column, const char *value_column)
{
	char	   *name = get_rel_name(source);
	Lookup	   *lookup = MemoryContextAllocZero(TopMemoryContext, sizeof(Lookup));
	MemoryContext caller;

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("there is no table %u", source)));
	lookup->source = source;
	namestrcpy(&lookup->key_column, key_column);
	namestrcpy(&lookup->value_column, value_column);
	lookup->key_type = column_type(source, key_column);
	(void) column_type(source, value_column);
	lookup->plan = SPI_prepare(psprintf("SELECT t.%s::pg_catalog.text FROM %s t WHERE t.%s OPERATOR(pg_catalog.=) $1 LIMIT 1",
										quote_identifier(value_column),
										quote_qualified_identifier(get_namespace_name(get_rel_namespace(source)), name),
										quote_identifier(key_column)), 1, &lookup->key_type);
	if (lookup->plan == NULL || SPI_keepplan(lookup->plan) != 0)
		elog(ERROR, "could not prepare a lookup: %s", SPI_result_code_string(SPI_result));
	caller = MemoryContextSwitchTo(TopMemoryContext);
	lookups = lappend(lookups, lookup);
	MemoryContextSwitchTo(caller);
	return lookup;
}

static Lookup *
find_lookup(Oid source, const char *key_column, const char *value_column)
{
	ListCell   *cell;

	foreach(cell, lookups)
	{
		Lookup	   *lookup = lfirst(cell);

		if (lookup->source == source && strcmp(NameStr(lookup->key_column), key_column) == 0 &&
			strcmp(NameStr(lookup->value_column), value_column) == 0 &&
			lookup->key_type == column_type(source, key_column))
			return lookup;
	}
	return plan_lookup(source, key_column, value_column);
}

/* policy_lookup(source regclass, key_column name, key text, value_column name) */
Datum
policy_lookup(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	Lookup	   *lookup;
	Oid			input;
	Oid			parameter;
	Datum		key;
	char	   *value = NULL;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	lookup = find_lookup(PG_GETARG_OID(0), NameStr(*PG_GETARG_NAME(1)),
						 NameStr(*PG_GETARG_NAME(3)));
	getTypeInputInfo(lookup->key_type, &input, &parameter);
	key = OidInputFunctionCall(input, text_to_cstring(PG_GETARG_TEXT_PP(2)), parameter, -1);
	if (SPI_execute_plan(lookup->plan, &key, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look up a value");
	if (SPI_processed == 1)
		value = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	if (value != NULL)
		value = MemoryContextStrdup(caller, value);
	SPI_finish();
	if (value == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(value));
}
