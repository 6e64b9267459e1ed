/*
 * evaluate_sql.c
 *	  policy_evaluate() in its three forms, and policy_simulate().
 *
 * A call site keeps an EvaluateState in its fn_extra: the shape of its result, a
 * context that is reset at every call, and, for a document, the pinned policy,
 * which the context's reset callback gives back.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/xact.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "engine/verdict_sql.h"
#include "language/policy.h"
#include "store/active.h"
#include "store/cache.h"
#include "store/decide.h"
#include "store/notify.h"
#include "store/settings.h"
#include "store/store.h"

typedef struct EvaluateState
{
	MemoryContext call_context;
	VerdictShape shape;
	CompiledPolicy *pinned;		/* the document's, or NULL */
	PolicyLook	look;			/* for the active policy */
	MemoryContextCallback release;
} EvaluateState;

PG_FUNCTION_INFO_V1(policy_evaluate_active);
PG_FUNCTION_INFO_V1(policy_evaluate_active_at);
PG_FUNCTION_INFO_V1(policy_evaluate_document);
PG_FUNCTION_INFO_V1(policy_simulate);

void
policy_store_init(void)
{
	policy_settings_init();
	policy_active_init();
	policy_notify_init();
}

static void
release_pin(EvaluateState *state)
{
	if (state->pinned != NULL)
		policy_cache_unpin(state->pinned);
	state->pinned = NULL;
}

static void
release_state(void *arg)
{
	EvaluateState *state = arg;

	release_pin(state);
	policy_look_forget(&state->look);
}

static EvaluateState *
make_state(FunctionCallInfo fcinfo)
{
	MemoryContext site = fcinfo->flinfo->fn_mcxt;
	MemoryContext caller;
	EvaluateState *state;
	TupleDesc	tupdesc;

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "policy_evaluate must return a composite");
	caller = MemoryContextSwitchTo(site);
	state = palloc0(sizeof(EvaluateState));
	policy_verdict_shape(BlessTupleDesc(CreateTupleDescCopy(tupdesc)), &state->shape);
	state->call_context = AllocSetContextCreate(site, "policy_evaluate", ALLOCSET_SMALL_SIZES);
	state->release.func = release_state;
	state->release.arg = state;
	MemoryContextRegisterResetCallback(site, &state->release);
	MemoryContextSwitchTo(caller);
	return state;
}

static EvaluateState *
get_state(FunctionCallInfo fcinfo)
{
	if (fcinfo->flinfo->fn_extra == NULL)
		fcinfo->flinfo->fn_extra = make_state(fcinfo);
	return fcinfo->flinfo->fn_extra;
}

/* Reads argument n; a huge one is found out without detoasting it. */
static void
read_job(FunctionCallInfo fcinfo, int n, Job *job)
{
	Datum		datum = PG_GETARG_DATUM(n);

	if (PG_ARGISNULL(n))
		policy_job_read(NULL, job);
	else if (toast_raw_datum_size(datum) - VARHDRSZ > POLICY_MAX_JOB_BYTES)
		policy_job_set_too_large(job);
	else
		policy_job_read(DatumGetJsonbP(datum), job);
}

static Datum
evaluate_active(FunctionCallInfo fcinfo, bool has_time, TimestampTz at)
{
	EvaluateState *state = get_state(fcinfo);
	MemoryContext caller = MemoryContextSwitchTo(state->call_context);
	PolicyVerdict verdict;
	ActivePolicy active = {0};
	Job			job;
	Datum		result;

	MemoryContextReset(state->call_context);
	read_job(fcinfo, 0, &job);
	if (has_time)
	{
		policy_active(&state->look, &active);
		policy_decide_active(&active, &job, at, NULL, policy_rates_read, &verdict);
	}
	else
		policy_verdict_without_rule(POLICY_DENY, "policy unavailable: the time is NULL",
									&verdict);
	MemoryContextSwitchTo(caller);
	result = policy_verdict_datum(&state->shape, &verdict, active.snapshot);
	PG_RETURN_DATUM(result);
}

/* policy_evaluate(job jsonb) */
Datum
policy_evaluate_active(PG_FUNCTION_ARGS)
{
	return evaluate_active(fcinfo, true, GetCurrentStatementStartTimestamp());
}

/* policy_evaluate(job jsonb, at timestamptz) */
Datum
policy_evaluate_active_at(PG_FUNCTION_ARGS)
{
	bool		has_time = !PG_ARGISNULL(1);

	return evaluate_active(fcinfo, has_time, has_time ? PG_GETARG_TIMESTAMPTZ(1) : 0);
}

/* Pins the policy of argument 0, unless the call site holds it already. */
static CompiledPolicy *
pin_document(FunctionCallInfo fcinfo, EvaluateState *state)
{
	uint8		digest[POLICY_DIGEST_LENGTH];
	PolicyBudget no_limit = {0};

	policy_document_digest(PG_GETARG_DATUM(0), digest);
	if (state->pinned != NULL &&
		memcmp(state->pinned->digest, digest, POLICY_DIGEST_LENGTH) == 0)
		return state->pinned;
	release_pin(state);
	state->pinned = policy_cache_pin(digest);
	if (state->pinned == NULL)
		state->pinned = policy_cache_load(PG_GETARG_DATUM(0), &no_limit);
	return state->pinned;
}

/* policy_evaluate(document policy_document, job jsonb, at timestamptz) */
Datum
policy_evaluate_document(PG_FUNCTION_ARGS)
{
	EvaluateState *state = get_state(fcinfo);
	MemoryContext caller = MemoryContextSwitchTo(state->call_context);
	PolicyBudget no_limit = {0};
	PolicyVerdict verdict;
	Job			job;
	Datum		result;

	MemoryContextReset(state->call_context);
	if (PG_ARGISNULL(0))
		policy_verdict_without_rule(POLICY_DENY, "policy unavailable: the document is NULL",
									&verdict);
	else if (PG_ARGISNULL(2))
		policy_verdict_without_rule(POLICY_DENY, "policy unavailable: the time is NULL",
									&verdict);
	else
	{
		CompiledPolicy *policy = pin_document(fcinfo, state);

		read_job(fcinfo, 1, &job);
		policy_decide(policy, &job, PG_GETARG_TIMESTAMPTZ(2), NULL, NULL, &no_limit, &verdict);
	}
	MemoryContextSwitchTo(caller);
	result = policy_verdict_datum(&state->shape, &verdict, NULL);
	PG_RETURN_DATUM(result);
}

static void
push_key(JsonbParseState **parse, const char *name)
{
	JsonbValue	key;

	key.type = jbvString;
	key.val.string.val = unconstify(char *, name);
	key.val.string.len = strlen(name);
	pushJsonbValue(parse, WJB_KEY, &key);
}

static void
push_string(JsonbParseState **parse, const char *name, const char *string, int len)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, string);
	value.val.string.len = len;
	push_key(parse, name);
	pushJsonbValue(parse, WJB_VALUE, &value);
}

static void
push_rules(JsonbParseState **parse, const char *name, const CompiledRule **rules, int count)
{
	push_key(parse, name);
	pushJsonbValue(parse, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < count; i++)
	{
		JsonbValue	value;

		value.type = jbvString;
		value.val.string.val = unconstify(char *, rules[i]->id);
		value.val.string.len = strlen(rules[i]->id);
		pushJsonbValue(parse, WJB_ELEM, &value);
	}
	pushJsonbValue(parse, WJB_END_ARRAY, NULL);
}

/*
 * The response: decision, reason, constraints and matched_rule; matched_rules
 * where there are several, monitored_rules where there is one, retry_after_sec
 * for THROTTLE.
 */
static Jsonb *
simulate_response(const PolicyVerdict *verdict)
{
	JsonbParseState *parse = NULL;
	JsonbValue	value;
	const char *decision = policy_decision_labels[verdict->decision];

	pushJsonbValue(&parse, WJB_BEGIN_OBJECT, NULL);
	push_string(&parse, "decision", decision, strlen(decision));
	push_string(&parse, "reason", VARDATA_ANY(verdict->reason), VARSIZE_ANY_EXHDR(verdict->reason));
	push_key(&parse, "constraints");
	value.type = jbvBinary;
	value.val.binary.data = &verdict->constraints->root;
	value.val.binary.len = VARSIZE(verdict->constraints) - VARHDRSZ;
	pushJsonbValue(&parse, WJB_VALUE, &value);
	if (verdict->winner != NULL)
		push_string(&parse, "matched_rule", verdict->winner->id, strlen(verdict->winner->id));
	else
	{
		push_key(&parse, "matched_rule");
		value.type = jbvNull;
		pushJsonbValue(&parse, WJB_VALUE, &value);
	}
	if (verdict->nmatched > 1)
		push_rules(&parse, "matched_rules", verdict->matched, verdict->nmatched);
	if (verdict->nmonitored > 0)
		push_rules(&parse, "monitored_rules", verdict->monitored, verdict->nmonitored);
	if (verdict->decision == POLICY_THROTTLE)
	{
		push_key(&parse, "retry_after_sec");
		value.type = jbvNumeric;
		value.val.numeric = int64_to_numeric(verdict->retry_after_sec);
		pushJsonbValue(&parse, WJB_VALUE, &value);
	}
	return JsonbValueToJsonb(pushJsonbValue(&parse, WJB_END_OBJECT, NULL));
}

/* policy_simulate(request jsonb, snapshot text) */
Datum
policy_simulate(PG_FUNCTION_ARGS)
{
	TimestampTz at = GetCurrentStatementStartTimestamp();
	CompiledPolicy *policy;
	PolicyVerdict verdict;
	Jsonb	   *volatile response = NULL;
	ActivePolicy active;
	Job			job;

	read_job(fcinfo, 0, &job);
	if (PG_ARGISNULL(1))
	{
		policy_active(NULL, &active);
		policy_decide_active(&active, &job, at, NULL, policy_rates_read, &verdict);
		PG_RETURN_JSONB_P(simulate_response(&verdict));
	}

	policy = policy_snapshot_pin(PG_GETARG_TEXT_PP(1));
	PG_TRY();
	{
		policy_decide_in_time(policy, &job, at, NULL, policy_rates_read, &verdict);
		response = simulate_response(&verdict);
	}
	PG_FINALLY();
	{
		policy_cache_unpin(policy);
	}
	PG_END_TRY();
	PG_RETURN_JSONB_P(response);
}
