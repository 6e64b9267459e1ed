/*
 * transitions.c
 *	  How a job may move from state to state (docs/sql-api.md, section 4).
 */
#include "postgres.h"

#include "funcapi.h"
#include "utils/builtins.h"

#include "dispatch/transitions.h"
#include "rows.h"

typedef struct Transition
{
	const char *from;			/* NULL: an insert */
	const char *to;
	const char *only_by;		/* NULL: any verb that does such a thing */
} Transition;

static const Transition transitions[] = {
	{NULL, "ready", NULL},
	{NULL, "awaiting_approval", NULL},
	{NULL, "throttled", NULL},
	{NULL, "denied", NULL},
	{"awaiting_approval", "ready", NULL},
	{"awaiting_approval", "throttled", NULL},
	{"awaiting_approval", "rejected", NULL},
	{"awaiting_approval", "expired", NULL},
	{"awaiting_approval", "denied", NULL},
	{"awaiting_approval", "cancelled", NULL},
	{"throttled", "running", NULL},
	{"throttled", "ready", NULL},
	{"throttled", "awaiting_approval", NULL},
	{"throttled", "rejected", NULL},
	{"throttled", "denied", NULL},
	{"throttled", "cancelled", NULL},
	{"ready", "running", NULL},
	{"ready", "awaiting_approval", NULL},
	{"ready", "throttled", NULL},
	{"ready", "rejected", NULL},
	{"ready", "denied", NULL},
	{"ready", "cancelled", NULL},
	{"running", "succeeded", NULL},
	{"running", "failed", NULL},
	{"running", "timed_out", NULL},
	{"running", "ready", NULL},
	{"running", "cancelled", NULL},
	{"denied", "ready", "redecide"},
	{"denied", "awaiting_approval", "redecide"},
	{"denied", "throttled", "redecide"},
	{"rejected", "ready", "redecide"},
	{"rejected", "awaiting_approval", "redecide"},
	{"rejected", "throttled", "redecide"},
	{"expired", "ready", "redecide"},
	{"expired", "awaiting_approval", "redecide"},
	{"expired", "throttled", "redecide"},
};

PG_FUNCTION_INFO_V1(policy_transitions);

static bool
is_one_of(const char *state, const char *const *states, int count)
{
	for (int i = 0; i < count; i++)
	{
		if (strcmp(state, states[i]) == 0)
			return true;
	}
	return false;
}

bool
policy_state_waits(const char *state)
{
	static const char *const waiting[] = {"ready", "awaiting_approval", "throttled"};

	return is_one_of(state, waiting, lengthof(waiting));
}

bool
policy_state_is_refused(const char *state)
{
	static const char *const refused[] = {"denied", "rejected", "expired"};

	return is_one_of(state, refused, lengthof(refused));
}

bool
policy_state_has_ended(const char *state)
{
	return !policy_state_waits(state) && strcmp(state, "running") != 0;
}

static bool
same_state(const char *a, const char *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return strcmp(a, b) == 0;
}

bool
policy_transition_allowed(const char *from, const char *to, const char *verb)
{
	if (same_state(from, to))
		return true;
	for (int i = 0; i < (int) lengthof(transitions); i++)
	{
		const Transition *transition = &transitions[i];

		if (same_state(from, transition->from) && strcmp(to, transition->to) == 0)
			return transition->only_by == NULL ||
				(verb != NULL && strcmp(verb, transition->only_by) == 0);
	}
	return false;
}

/* policy.transitions() */
Datum
policy_transitions(PG_FUNCTION_ARGS)
{
	TupleDesc	tupdesc;
	Tuplestorestate *rows = policy_begin_rows(fcinfo, &tupdesc);

	for (int i = 0; i < (int) lengthof(transitions); i++)
	{
		const char *strings[3] = {transitions[i].from, transitions[i].to, transitions[i].only_by};
		Datum		values[3] = {0};
		bool		nulls[3];

		for (int j = 0; j < 3; j++)
		{
			nulls[j] = strings[j] == NULL;
			if (strings[j] != NULL)
				values[j] = CStringGetTextDatum(strings[j]);
		}
		tuplestore_putvalues(rows, tupdesc, values, nulls);
	}
	PG_RETURN_NULL();
}
