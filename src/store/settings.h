/*
 * settings.h
 *	  What an operator can set for stored policies.
 */
#ifndef POLICY_SETTINGS_H
#define POLICY_SETTINGS_H

#include "engine/budget.h"

typedef enum PolicyFailMode
{
	POLICY_FAIL_CLOSED,
	POLICY_FAIL_OPEN
} PolicyFailMode;

/* policy_engine.fail_mode: what an unavailable policy decides. */
extern int	policy_fail_mode;

/* policy_engine.timeout: milliseconds for one compilation or evaluation. */
extern int	policy_timeout_ms;

extern void policy_settings_init(void);

/*
 * A budget of policy_engine.timeout, counted from the first time that it is
 * asked about, which is within POLICY_BUDGET_INTERVAL units of work: whatever
 * ends before that never reads the clock.
 */
typedef struct PolicyTimeLimit
{
	PolicyBudget budget;
	int64		started_at;		/* a TimestampTz; 0: not asked yet */
} PolicyTimeLimit;

extern PolicyBudget *policy_time_limit(PolicyTimeLimit *limit);

#endif							/* POLICY_SETTINGS_H */
