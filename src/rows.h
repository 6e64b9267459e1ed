/*
 * rows.h
 *	  Functions that return a set of rows all at once.
 */
#ifndef POLICY_ROWS_H
#define POLICY_ROWS_H

#include "fmgr.h"
#include "utils/tuplestore.h"

/*
 * Prepares the result of a set-returning function: a tuplestore in the query's
 * memory context, to which rows of *descriptor are to be added: the function's
 * declared result, or one column where that is a scalar.  Raises
 * feature_not_supported where the caller takes no materialized set.
 */
extern Tuplestorestate *policy_begin_rows(FunctionCallInfo fcinfo,
										  TupleDesc *descriptor);

#endif							/* POLICY_ROWS_H */
