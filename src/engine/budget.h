/*
 * budget.h
 *	  A bound on the work of one compilation or evaluation, checked
 *	  cooperatively.
 *
 * The engine counts units of work (about a pattern comparison each) and asks
 * expired() once in a while; what a limit is and what the time is are its
 * caller's business.  Once exhausted, it stays so.
 */
#ifndef POLICY_BUDGET_H
#define POLICY_BUDGET_H

typedef struct PolicyBudget
{
	bool		(*expired) (struct PolicyBudget *budget);	/* NULL: no limit */
	void	   *arg;			/* the caller's */
	int			work;			/* units until the next question */
	bool		exhausted;
} PolicyBudget;

#define POLICY_BUDGET_INTERVAL 1024

/* Asks whether the time is over; returns false where it is. */
extern bool policy_budget_ask(PolicyBudget *budget);

/* Spends units of work; returns false once the budget is exhausted. */
static inline bool
policy_budget_spend(PolicyBudget *budget, int units)
{
	budget->work -= units;
	return budget->work >= 0 ? !budget->exhausted : policy_budget_ask(budget);
}

#endif							/* POLICY_BUDGET_H */
