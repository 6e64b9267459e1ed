/*
 * replay_sql.c
 *	  policy_replay, policy_replay_query, and the gate's settings.
 *
 * Whoever owns the tables runs the query of recorded jobs; a query of the user's runs
 * as that user, and read-only.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "dispatch/owner_query.h"
#include "replay/replay_init.h"
#include "replay/replay_query.h"

PG_FUNCTION_INFO_V1(policy_replay_jobs);
PG_FUNCTION_INFO_V1(policy_replay_query);

/* The gate's settings; policy.gate_checks reads them. */
static bool require_simulation = true;
static double gate_max_flip_ratio = 0.05;
static int	gate_max_loosened = 0;
static int	gate_min_window = 7 * 24 * 3600;
static double gate_max_unreplayable = 0.05;

void
policy_replay_init(void)
{
	DefineCustomBoolVariable("policy_engine.require_simulation",
							 "Whether policy_publish asks for a simulation within the gate.",
							 "A snapshot's own tests are run all the same.",
							 &require_simulation, true, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomRealVariable("policy_engine.gate_max_flip_ratio",
							 "Of the jobs that were replayed, the share that may be decided otherwise.",
							 NULL, &gate_max_flip_ratio, 0.05, 0, 1, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("policy_engine.gate_max_loosened",
							"How many jobs may be decided more loosely.",
							NULL, &gate_max_loosened, 0, 0, INT_MAX, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("policy_engine.gate_min_window",
							"How far back a simulation goes, unless all that was recorded is younger.",
							NULL, &gate_min_window, 7 * 24 * 3600, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomRealVariable("policy_engine.gate_max_unreplayable",
							 "Of the jobs of a simulation, the share that may be left out.",
							 NULL, &gate_max_unreplayable, 0.05, 0, 1, PGC_SUSET, 0, NULL, NULL, NULL);
}

static void
append_matrix(StringInfo json, const char *name, const DecisionMatrix matrix)
{
	const char *comma = "";

	appendStringInfo(json, "\"%s\": [", name);
	for (int from = 0; from < POLICY_NDECISIONS; from++)
	{
		for (int to = 0; to < POLICY_NDECISIONS; to++)
		{
			if (matrix[from][to] == 0)
				continue;
			appendStringInfo(json, "%s{\"from\": \"%s\", \"to\": \"%s\", \"jobs\": " INT64_FORMAT "}", comma,
							 policy_decision_labels[from], policy_decision_labels[to], matrix[from][to]);
			comma = ", ";
		}
	}
	appendStringInfoString(json, "], ");
}

static void
append_rules(StringInfo json, const ReplayRules *rules, const ReplayCounts *counts)
{
	const char *comma = "";

	appendStringInfoString(json, "\"rules\": [");
	for (int i = 0; i < rules->count; i++)
	{
		if (counts->gained[i] == 0 && counts->lost[i] == 0)
			continue;
		appendStringInfo(json, "%s{\"rule\": ", comma);
		if (rules->ids[i] == NULL)
			appendStringInfoString(json, "null");
		else
			escape_json(json, rules->ids[i]);
		appendStringInfo(json, ", \"gained\": " INT64_FORMAT ", \"lost\": " INT64_FORMAT "}",
						 counts->gained[i], counts->lost[i]);
		comma = ", ";
	}
	appendStringInfoString(json, "], ");
}

static void
append_obstacles(StringInfo json, const ReplayCounts *counts)
{
	const char *comma = "";

	appendStringInfoString(json, "\"unreplayable\": {");
	for (int i = 0; i < REPLAY_OBSTACLES; i++)
	{
		if (counts->obstacles[i] == 0)
			continue;
		appendStringInfo(json, "%s\"%s\": " INT64_FORMAT, comma, replay_obstacle_names[i],
						 counts->obstacles[i]);
		comma = ", ";
	}
	appendStringInfoString(json, "}, ");
}

/* Days from the first job's own time to the last one's, one at least; 0: no times. */
static double
days_of(const ReplayCounts *counts)
{
	if (counts->first > counts->last)
		return 0;
	return Max((double) (counts->last - counts->first) / USECS_PER_DAY, 1);
}

static Datum
counts_of(const ReplayQuery *query)
{
	const ReplayCounts *counts = &query->counts;
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	append_matrix(&json, "matrix", counts->matrix);
	append_matrix(&json, "matrix_then", counts->matrix_then);
	append_rules(&json, &query->run->replay.rules, counts);
	append_obstacles(&json, counts);
	appendStringInfo(&json, "\"jobs\": " INT64_FORMAT ", \"replayed\": " INT64_FORMAT
					 ", \"loosened\": " INT64_FORMAT ", \"tightened\": " INT64_FORMAT
					 ", \"newly_approval\": " INT64_FORMAT ", \"days\": %.6f}",
					 counts->jobs, counts->replayed, counts->loosened, counts->tightened,
					 counts->newly_approval, days_of(counts));
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
}

/* Runs a query as the current user and counts. */
static Datum
replay(ReplayQuery *query, const char *text)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	replay_query_run(query, text);
	SPI_finish();
	return counts_of(query);
}

/*
 * policy.replay_jobs(simulation_id bigint, candidate text, base text, present
 * timestamptz, query text, since timestamptz, until timestamptz, deadline timestamptz)
 */
Datum
policy_replay_jobs(PG_FUNCTION_ARGS)
{
	int64		simulation_id = PG_ARGISNULL(0) ? 0 : PG_GETARG_INT64(0);
	ReplayQuery *query;

	for (int i = 1; i < PG_NARGS(); i++)
	{
		if (i != 2 && i != 7 && PG_ARGISNULL(i))
			elog(ERROR, "argument %d of policy.replay_jobs is NULL", i + 1);
	}
	query = replay_query_begin(PG_ARGISNULL(0) ? NULL : &simulation_id, PG_GETARG_TEXT_PP(1),
							   PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2),
							   PG_GETARG_TIMESTAMPTZ(3), true);
	query->since = PG_GETARG_TIMESTAMPTZ(5);
	query->until = PG_GETARG_TIMESTAMPTZ(6);
	if (!PG_ARGISNULL(7))
		query->deadline = PG_GETARG_TIMESTAMPTZ(7);
	PG_RETURN_DATUM(replay(query, text_to_cstring(PG_GETARG_TEXT_PP(4))));
}

static OwnerQuery begin_simulation = {
	.text = "SELECT s.simulation_id, s.base_snapshot, s.started_at FROM policy.begin_simulation($1, NULL) s",
	.nargs = 1, .types = {TEXTOID}
};

static OwnerQuery keep_simulation = {
	.text = "SELECT s.* FROM policy.keep_query_simulation($1, $2, $3, $4, $5, $6) s",
	.nargs = 6, .types = {INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID, JSONBOID}
};

/* Takes an id for a simulation, and the base: what is active. */
static ReplayQuery *
begin_query(text *candidate, Datum *keep, char *keep_nulls)
{
	MemoryContext caller = CurrentMemoryContext;
	Datum		value = PointerGetDatum(candidate);
	OwnerScope	scope;
	bool		isnull;
	int64		simulation_id;
	char	   *base;
	MemoryContext inner;

	policy_owner_begin(&scope, "engine");
	policy_owner_run(&begin_simulation, &value, candidate == NULL ? "n" : NULL);
	keep[0] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	keep[3] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3, &isnull);
	base = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2);
	inner = MemoryContextSwitchTo(caller);
	simulation_id = DatumGetInt64(keep[0]);
	keep[0] = Int64GetDatum(simulation_id);
	keep[1] = value;
	keep_nulls[2] = base == NULL ? 'n' : ' ';
	if (base != NULL)
		keep[2] = CStringGetTextDatum(base);
	MemoryContextSwitchTo(inner);
	policy_owner_end(&scope);
	MemoryContextSwitchTo(caller);
	return replay_query_begin(&simulation_id, candidate,
							  keep_nulls[2] == 'n' ? NULL : DatumGetTextPP(keep[2]),
							  DatumGetTimestampTz(keep[3]), false);
}

/* policy_replay_query(snapshot text, query text) */
Datum
policy_replay_query(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	text	   *candidate = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
	Datum		keep[6] = {0};
	char		keep_nulls[6] = {' ', ' ', ' ', ' ', ' ', ' '};
	OwnerScope	scope;
	TupleDesc	tupdesc;
	ReplayQuery *query;
	HeapTuple	row;

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("a replay needs a query of jobs"),
				 errhint("SELECT * FROM policy_replay_query('v1', 'SELECT job, created_at FROM my_jobs').")));
	tupdesc = BlessTupleDesc(tupdesc);
	query = begin_query(candidate, keep, keep_nulls);
	keep[4] = PG_GETARG_DATUM(1);
	keep[5] = replay(query, text_to_cstring(PG_GETARG_TEXT_PP(1)));
	policy_owner_begin(&scope, "engine");
	policy_owner_run(&keep_simulation, keep, keep_nulls);
	MemoryContextSwitchTo(caller);
	row = heap_copytuple(SPI_tuptable->vals[0]);
	policy_owner_end(&scope);
	MemoryContextSwitchTo(caller);
	PG_RETURN_DATUM(heap_copy_tuple_as_datum(row, tupdesc));
}
