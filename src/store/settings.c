/*
 * settings.c
 *	  What an operator can set for stored policies.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "engine/verdict_cache.h"
#include "store/settings.h"

int			policy_fail_mode = POLICY_FAIL_CLOSED;
int			policy_timeout_ms = 2000;

static const struct config_enum_entry fail_modes[] = {
	{"closed", POLICY_FAIL_CLOSED, false},
	{"open", POLICY_FAIL_OPEN, false},
	{NULL, 0, false}
};

PG_FUNCTION_INFO_V1(policy_get_fail_mode);

void
policy_settings_init(void)
{
	DefineCustomEnumVariable("policy_engine.fail_mode",
							 "What is decided while the active policy cannot be read.",
							 "closed denies; open allows within the built-in default constraints.",
							 &policy_fail_mode, POLICY_FAIL_CLOSED, fail_modes,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("policy_engine.timeout",
							"How long compiling a policy, or deciding one job, may take.",
							"A job that takes longer is denied; a policy that does is unavailable.",
							&policy_timeout_ms, 2000, 1, 3600 * 1000,
							PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("policy_engine.decision_cache_size",
							"How many sets of applying rules a session keeps the verdicts' parts of.",
							"They take 8 MB at most, however many they are; 0 keeps none.",
							&policy_decision_cache_size, 10000, 0, 1000000,
							PGC_USERSET, 0, NULL, NULL, NULL);
}

static bool
time_is_up(PolicyBudget *budget)
{
	PolicyTimeLimit *limit = budget->arg;
	TimestampTz now = GetCurrentTimestamp();

	if (limit->started_at == 0)
		limit->started_at = now;
	return TimestampDifferenceExceeds(limit->started_at, now, policy_timeout_ms);
}

PolicyBudget *
policy_time_limit(PolicyTimeLimit *limit)
{
	memset(limit, 0, sizeof(PolicyTimeLimit));
	limit->budget.expired = time_is_up;
	limit->budget.arg = limit;
	limit->budget.work = POLICY_BUDGET_INTERVAL;
	return &limit->budget;
}

/* policy.fail_mode(): the setting; calling it has loaded the library. */
Datum
policy_get_fail_mode(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(fail_modes[policy_fail_mode].name));
}
