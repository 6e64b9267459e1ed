/*
 * rows.c
 *	  Functions that return a set of rows all at once.
 *
 * PostgreSQL's own helper for this is not in 14, and has two names in 15.
 */
#include "postgres.h"

#include "access/tupdesc.h"
#include "funcapi.h"
#include "miscadmin.h"

#include "rows.h"

Tuplestorestate *
policy_begin_rows(FunctionCallInfo fcinfo, TupleDesc *descriptor)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext caller;
	Tuplestorestate *rows;
	Oid			type;

	if (result == NULL || !IsA(result, ReturnSetInfo) ||
		!(result->allowedModes & SFRM_Materialize))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set"),
				 errhint("Call it in FROM, as SELECT * FROM function(...).")));

	caller = MemoryContextSwitchTo(result->econtext->ecxt_per_query_memory);
	switch (get_call_result_type(fcinfo, &type, descriptor))
	{
		case TYPEFUNC_COMPOSITE:
			break;
		case TYPEFUNC_SCALAR:
			*descriptor = CreateTemplateTupleDesc(1);
			TupleDescInitEntry(*descriptor, 1, NULL, type, -1, 0);
			break;
		default:
			elog(ERROR, "return type must be a row type or a scalar");
	}
	rows = tuplestore_begin_heap((result->allowedModes & SFRM_Materialize_Random) != 0,
								 false, work_mem);
	result->returnMode = SFRM_Materialize;
	result->setResult = rows;
	result->setDesc = *descriptor;
	MemoryContextSwitchTo(caller);
	return rows;
}
