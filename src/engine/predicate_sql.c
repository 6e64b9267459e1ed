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

struct PolicyPredicate
{
	const char *text;
	JsonPath   *path;			/* NULL until it is tested */
	Jsonb	   *no_variables;
};

PolicyPredicate *
policy_predicate_compile(const char *text)
{
	PolicyPredicate *predicate = palloc0(sizeof(PolicyPredicate));

	predicate->text = pstrdup(text);
	return predicate;
}

/* The text has been parsed before; few sessions test every predicate of a policy. */
static void
prepare(PolicyPredicate *predicate)
{
	Datum		path = DirectFunctionCall1(jsonpath_in, CStringGetDatum(predicate->text));
	Datum		variables = DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"));
	MemoryContext caller = MemoryContextSwitchTo(GetMemoryChunkContext(predicate));

	predicate->no_variables = DatumGetJsonbP(datumCopy(variables, false, -1));
	predicate->path = DatumGetJsonPathP(datumCopy(path, false, -1));
	MemoryContextSwitchTo(caller);
}

/*
 * jsonb_path_match() in silent mode gives NULL for unknown.  What it throws all
 * the same (too deep a job for the stack) is unknown too.  No subtransaction is
 * needed to go on after it: evaluating a jsonpath takes nothing but memory.
 */
PolicyTruth
policy_predicate_test(PolicyPredicate *predicate, Jsonb *job)
{
	LOCAL_FCINFO(fcinfo, 4);
	volatile PolicyTruth truth = POLICY_UNKNOWN;
	MemoryContext context = CurrentMemoryContext;

	if (predicate->path == NULL)
		prepare(predicate);
	InitFunctionCallInfoData(*fcinfo, NULL, 4, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = JsonbPGetDatum(job);
	fcinfo->args[0].isnull = false;
	fcinfo->args[1].value = PointerGetDatum(predicate->path);
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
