/*
 * decide.c
 *	  A verdict under the policy in force, whatever state that is in.
 */
#include "postgres.h"

#include "store/decide.h"
#include "store/settings.h"

PolicyRates *policy_rates_read = NULL;

void
policy_decide_in_time(const CompiledPolicy *policy, Job *job, TimestampTz at,
					  PolicySatisfied *satisfied, PolicyRates *rates, PolicyVerdict *verdict)
{
	PolicyTimeLimit limit;

	if (!policy_decide(policy, job, at, satisfied, rates, policy_time_limit(&limit), verdict))
		policy_verdict_without_rule(POLICY_DENY,
									psprintf("policy unavailable: the job took longer than policy_engine.timeout (%d ms)",
											 policy_timeout_ms),
									verdict);
}

void
policy_decide_active(const ActivePolicy *active, Job *job, TimestampTz at,
					 PolicySatisfied *satisfied, PolicyRates *rates, PolicyVerdict *verdict)
{
	if (job->invalid != NULL && active->unavailable != NULL)
		policy_verdict_of_invalid(job, verdict);
	else if (active->unavailable != NULL)
		policy_verdict_without_rule(policy_fail_mode == POLICY_FAIL_OPEN ?
									POLICY_ALLOW : POLICY_DENY,
									psprintf("policy unavailable: %s", active->unavailable),
									verdict);
	else if (active->policy == NULL)
		policy_verdict_without_rule(POLICY_DENY, "no active policy", verdict);
	else
		policy_decide_in_time(active->policy, job, at, satisfied, rates, verdict);
}
