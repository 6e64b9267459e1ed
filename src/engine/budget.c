/*
 * budget.c
 *	  A bound on the work of one compilation or evaluation.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "engine/budget.h"

bool
policy_budget_ask(PolicyBudget *budget)
{
	if (!budget->exhausted)
	{
		CHECK_FOR_INTERRUPTS();
		budget->work = POLICY_BUDGET_INTERVAL;
		budget->exhausted = budget->expired != NULL && budget->expired(budget);
	}
	return !budget->exhausted;
}
