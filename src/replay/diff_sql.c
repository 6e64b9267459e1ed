/*
 * diff_sql.c
 *	  policy.diff(): two documents, by what they mean.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "language/document.h"
#include "replay/diff.h"
#include "rows.h"

/* rule, change, detail */
#define DIFF_COLUMNS 3

PG_FUNCTION_INFO_V1(policy_diff_documents);

typedef struct DiffRows
{
	Tuplestorestate *rows;
	TupleDesc	descriptor;
} DiffRows;

static void
put_row(Diff *diff, const char *rule, const char *change, const char *detail)
{
	DiffRows   *out = diff->arg;
	Datum		values[DIFF_COLUMNS] = {0};
	bool		nulls[DIFF_COLUMNS] = {false};

	nulls[0] = rule == NULL;
	if (rule != NULL)
		values[0] = CStringGetTextDatum(rule);
	values[1] = CStringGetTextDatum(change);
	values[2] = CStringGetTextDatum(detail);
	tuplestore_putvalues(out->rows, out->descriptor, values, nulls);
}

static Policy *
parse(const PolicyDocument *document)
{
	PolicyDiagnostics diags;
	Policy	   *policy;

	policy_diagnostics_init(&diags);
	policy = policy_parse(document->source, document->source_len, &diags);
	if (policy == NULL)
		policy_diagnostics_raise(&diags);
	return policy;
}

/* policy.diff(from_document policy_document, to_document policy_document) */
Datum
policy_diff_documents(PG_FUNCTION_ARGS)
{
	PolicyDocument *from = PG_GETARG_POLICY_DOCUMENT(0);
	PolicyDocument *to = PG_GETARG_POLICY_DOCUMENT(1);
	DiffRows	out;
	Diff		diff = {.put = put_row, .arg = &out};
	MemoryContext context;
	MemoryContext caller;

	out.rows = policy_begin_rows(fcinfo, &out.descriptor);
	context = AllocSetContextCreate(CurrentMemoryContext, "policy_diff", ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(context);
	policy_diff_report(&diff, parse(from), parse(to), GetCurrentStatementStartTimestamp());
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return (Datum) 0;
}
