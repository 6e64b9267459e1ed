/*
 * floor.c
 *	  What one decision cannot cost less than: reading the job's fields from jsonb
 *	  and forming the verdict's tuple, with no matching in between.
 *
 * bench_floor(job, matched) reads every field that policy_evaluate() reads and
 * returns a policy_verdict with `matched` rules in it, out of strings that it
 * keeps.  It is no part of the extension.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(bench_floor);

enum
{
	VERDICT_DECISION,
	VERDICT_REASON,
	VERDICT_CONSTRAINTS,
	VERDICT_MATCHED_RULE,
	VERDICT_MATCHED_RULES,
	VERDICT_MONITORED_RULES,
	VERDICT_SNAPSHOT,
	VERDICT_RETRY_AFTER_SEC,
	VERDICT_NCOLUMNS
};

/* What a call site keeps. */
typedef struct FloorState
{
	TupleDesc	tupdesc;
	Datum		values[VERDICT_NCOLUMNS];	/* of a verdict, less its rules */
	Datum	   *ids;
	int			nids;
} FloorState;

static const char *const top_keys[] = {
	"topic", "tenant_id", "tenant", "capability", "pack_id", "actor_id",
	"actor_type", "idempotency_key", "secrets_present"
};

static const char *const actor_keys[] = {"id", "type"};

static const char *const mcp_keys[] = {"server", "tool", "resource", "action"};

static const char *const top_sets[] = {"actor_roles", "risk_tags", "requires"};

static JsonbValue *
get(JsonbContainer *object, const char *key, JsonbValue *space)
{
	return getKeyJsonValueFromContainer(object, key, strlen(key), space);
}

/* Reads scalars; returns a sum, so that no compiler leaves the reading out. */
static int
read_keys(JsonbContainer *object, const char *const *keys, int count)
{
	int			seen = 0;

	for (int i = 0; i < count; i++)
	{
		JsonbValue	space;
		JsonbValue *value = get(object, keys[i], &space);

		if (value != NULL)
			seen += value->type == jbvString ? value->val.string.len : 1;
	}
	return seen;
}

static JsonbContainer *
get_container(JsonbContainer *object, const char *key)
{
	JsonbValue	space;
	JsonbValue *value = get(object, key, &space);

	return value != NULL && value->type == jbvBinary ? value->val.binary.data : NULL;
}

static int
read_set(JsonbContainer *object, const char *key)
{
	JsonbContainer *array = get_container(object, key);
	int			seen = 0;

	if (array == NULL || !JsonContainerIsArray(array))
		return 0;
	for (uint32 i = 0; i < JsonContainerSize(array); i++)
	{
		JsonbValue *item = getIthJsonbValueFromContainer(array, i);

		seen += item->type == jbvString ? item->val.string.len : 1;
	}
	return seen;
}

static int
read_labels(JsonbContainer *object)
{
	JsonbContainer *labels = get_container(object, "labels");
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;
	int			seen = 0;

	if (labels == NULL)
		return 0;
	iterator = JsonbIteratorInit(labels);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY || token == WJB_VALUE)
			seen += value.type == jbvString ? value.val.string.len : 1;
	}
	return seen;
}

static int
read_job(JsonbContainer *object)
{
	JsonbContainer *actor = get_container(object, "actor");
	JsonbContainer *mcp = get_container(object, "mcp");
	int			seen = read_keys(object, top_keys, lengthof(top_keys));

	for (int i = 0; i < (int) lengthof(top_sets); i++)
		seen += read_set(object, top_sets[i]);
	if (actor != NULL)
		seen += read_keys(actor, actor_keys, lengthof(actor_keys)) + read_set(actor, "roles");
	if (mcp != NULL)
		seen += read_keys(mcp, mcp_keys, lengthof(mcp_keys));
	return seen + read_labels(object);
}

static FloorState *
make_state(FunctionCallInfo fcinfo)
{
	MemoryContext caller = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	FloorState *state = palloc0(sizeof(FloorState));
	Oid			enumtype;

	if (get_call_result_type(fcinfo, NULL, &state->tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "bench_floor must return a policy_verdict");
	state->tupdesc = BlessTupleDesc(CreateTupleDescCopy(state->tupdesc));
	enumtype = TupleDescAttr(state->tupdesc, VERDICT_DECISION)->atttypid;
	state->values[VERDICT_DECISION] = DirectFunctionCall2(enum_in, CStringGetDatum("DENY"),
														  ObjectIdGetDatum(enumtype));
	state->values[VERDICT_REASON] = CStringGetTextDatum("matched rule rule-00000");
	state->values[VERDICT_CONSTRAINTS] =
		DirectFunctionCall1(jsonb_in,
							CStringGetDatum("{\"max_retries\": 1, \"max_runtime_sec\": 60}"));
	state->values[VERDICT_MATCHED_RULE] = CStringGetTextDatum("rule-00000");
	state->values[VERDICT_SNAPSHOT] = CStringGetTextDatum("r1000");
	MemoryContextSwitchTo(caller);
	return state;
}

static void
make_ids(FloorState *state, int count, MemoryContext context)
{
	MemoryContext caller;

	if (count <= state->nids)
		return;
	caller = MemoryContextSwitchTo(context);
	state->ids = palloc(sizeof(Datum) * count);
	for (int i = 0; i < count; i++)
		state->ids[i] = CStringGetTextDatum(psprintf("rule-%05d", i));
	state->nids = count;
	MemoryContextSwitchTo(caller);
}

Datum
bench_floor(PG_FUNCTION_ARGS)
{
	FloorState *state = fcinfo->flinfo->fn_extra;
	Jsonb	   *job = PG_GETARG_JSONB_P(0);
	int			matched = PG_GETARG_INT32(1);
	Datum		values[VERDICT_NCOLUMNS];
	bool		nulls[VERDICT_NCOLUMNS] = {false};

	if (state == NULL)
		state = fcinfo->flinfo->fn_extra = make_state(fcinfo);
	make_ids(state, matched, fcinfo->flinfo->fn_mcxt);
	if (read_job(&job->root) < 0)
		PG_RETURN_NULL();

	memcpy(values, state->values, sizeof(values));
	values[VERDICT_MATCHED_RULES] = matched == 0 ?
		PointerGetDatum(construct_empty_array(TEXTOID)) :
		PointerGetDatum(construct_array(state->ids, matched, TEXTOID, -1, false, TYPALIGN_INT));
	values[VERDICT_MONITORED_RULES] = PointerGetDatum(construct_empty_array(TEXTOID));
	nulls[VERDICT_RETRY_AFTER_SEC] = true;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(state->tupdesc, values, nulls)));
}
