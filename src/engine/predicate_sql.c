/*
 * predicate_sql.c
 *	  A `when` inside the server, by jsonb_path_match().
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/jsonpath.h"
#include "utils/memutils.h"

#include "engine/predicate.h"
#include "errors.h"
#include "language/jsonpath.h"

struct PolicyPredicate
{
	const char *text;
	JsonPath   *path;			/* NULL until it is tested */
	JsonPath   *highest;		/* with its filters at their widest; NULL if
								 * the same */
	JsonPath   *lowest;			/* at their narrowest; NULL if the same */
	Jsonb	   *no_variables;
	PolicyPathList *reads;		/* NULL until they are asked for */
};

PolicyPredicate *
policy_predicate_compile(const char *text)
{
	PolicyPredicate *predicate = palloc0(sizeof(PolicyPredicate));

	predicate->text = pstrdup(text);
	return predicate;
}

static JsonPath *
parse(const char *text, MemoryContext context)
{
	Datum		path = DirectFunctionCall1(jsonpath_in, CStringGetDatum(text));
	MemoryContext caller = MemoryContextSwitchTo(context);

	path = datumCopy(path, false, -1);
	MemoryContextSwitchTo(caller);
	return DatumGetJsonPathP(path);
}

/* NULL where it is the same as the predicate itself */
static JsonPath *
parse_bound(const PolicyPredicate *predicate, bool highest, MemoryContext context)
{
	char	   *text = policy_predicate_bound(predicate->text, highest);

	return strcmp(text, predicate->text) == 0 ? NULL : parse(text, context);
}

/* The text has been parsed before; few sessions test every predicate of a policy. */
static void
prepare(PolicyPredicate *predicate)
{
	MemoryContext context = GetMemoryChunkContext(predicate);
	Datum		variables = DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"));
	MemoryContext caller = MemoryContextSwitchTo(context);
	JsonPath   *path;

	predicate->no_variables = DatumGetJsonbP(datumCopy(variables, false, -1));
	MemoryContextSwitchTo(caller);
	path = parse(predicate->text, context);
	if ((path->header & JSONPATH_LAX) == 0)
	{
		predicate->highest = parse_bound(predicate, true, context);
		predicate->lowest = parse_bound(predicate, false, context);
	}
	predicate->path = path;
}

/*
 * jsonb_path_match() in silent mode gives NULL for unknown.  What it throws all
 * the same (too deep a job for the stack) is unknown too.  No subtransaction is
 * needed to go on after it: evaluating a jsonpath takes nothing but memory.
 */
static PolicyTruth
test_path(const PolicyPredicate *predicate, JsonPath *path, Jsonb *job)
{
	LOCAL_FCINFO(fcinfo, 4);
	volatile PolicyTruth truth = POLICY_UNKNOWN;
	MemoryContext context = CurrentMemoryContext;

	InitFunctionCallInfoData(*fcinfo, NULL, 4, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = JsonbPGetDatum(job);
	fcinfo->args[0].isnull = false;
	fcinfo->args[1].value = PointerGetDatum(path);
	fcinfo->args[1].isnull = false;
	fcinfo->args[2].value = JsonbPGetDatum(predicate->no_variables);
	fcinfo->args[2].isnull = false;
	fcinfo->args[3].value = BoolGetDatum(true);
	fcinfo->args[3].isnull = false;

	PG_TRY();
	{
		Datum		result = jsonb_path_match(fcinfo);

		if (!fcinfo->isnull)
			truth = DatumGetBool(result) ? POLICY_TRUE : POLICY_FALSE;
	}
	PG_CATCH();
	{
		if (policy_error_stops_query(geterrcode()))
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	return truth;
}

/*
 * PostgreSQL drops an item that a filter cannot judge, so that an amount written
 * as a string would slip past `? (@.amount > 1000)`.  Here what such items change
 * is unknown: with all of them kept and with none the answer has to be one.
 */
PolicyTruth
policy_predicate_test(PolicyPredicate *predicate, Jsonb *job)
{
	PolicyTruth truth;

	if (predicate->path == NULL)
		prepare(predicate);
	if (predicate->highest == NULL && predicate->lowest == NULL)
		return test_path(predicate, predicate->path, job);
	truth = test_path(predicate, predicate->highest ? predicate->highest : predicate->path, job);
	if (test_path(predicate, predicate->lowest ? predicate->lowest : predicate->path, job) != truth)
		return POLICY_UNKNOWN;
	return truth;
}

const PolicyPathList *
policy_predicate_reads(PolicyPredicate *predicate)
{
	static const PolicyMark nowhere = {0, 0};
	MemoryContext caller;
	PolicyPathList *reads;
	PolicyPathList nulls = {0};
	PolicyDiagnostics diags;
	bool		lax;

	if (predicate->reads != NULL)
		return predicate->reads;
	caller = MemoryContextSwitchTo(GetMemoryChunkContext(predicate));
	reads = palloc0(sizeof(PolicyPathList));
	policy_diagnostics_init(&diags);
	if (policy_predicate_parse(predicate->text, strlen(predicate->text), nowhere, &lax, reads,
							   &nulls, &diags) == NULL)
		elog(ERROR, "a stored predicate cannot be parsed: %s", predicate->text);
	MemoryContextSwitchTo(caller);
	predicate->reads = reads;
	return reads;
}
