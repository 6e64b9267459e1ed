/*
 * verb.c
 *	  Which of the extension's verbs is writing the engine's columns.
 *
 * A stack, the backend's own.  Each entry knows the nesting level of the
 * transaction that it was made in; an abort takes away what was made inside.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "dispatch/verb.h"

#define MAX_VERBS 64
#define MAX_VERB_NAME 16

typedef struct Verb
{
	char		name[MAX_VERB_NAME];
	int			nest_level;
} Verb;

static Verb verbs[MAX_VERBS];
static int	nverbs = 0;

PG_FUNCTION_INFO_V1(policy_verb_begins);
PG_FUNCTION_INFO_V1(policy_verb_ends);

static void
at_transaction_end(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		nverbs = 0;
}

static void
at_subtransaction_end(SubXactEvent event, SubTransactionId my_subid,
					  SubTransactionId parent_subid, void *arg)
{
	if (event != SUBXACT_EVENT_ABORT_SUB && event != SUBXACT_EVENT_COMMIT_SUB)
		return;
	while (nverbs > 0 && verbs[nverbs - 1].nest_level >= GetCurrentTransactionNestLevel())
		nverbs--;
}

void
policy_verb_init(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
}

void
policy_verb_enter(const char *verb)
{
	if (nverbs == MAX_VERBS)
		ereport(ERROR,
				(errcode(ERRCODE_STATEMENT_TOO_COMPLEX),
				 errmsg("verbs of policy_engine are nested deeper than %d", MAX_VERBS),
				 errhint("A trigger of one of its tables calls them without end.")));
	strlcpy(verbs[nverbs].name, verb, MAX_VERB_NAME);
	verbs[nverbs].nest_level = GetCurrentTransactionNestLevel();
	nverbs++;
}

void
policy_verb_leave(void)
{
	Assert(nverbs > 0);
	if (nverbs > 0)
		nverbs--;
}

const char *
policy_verb_current(void)
{
	return nverbs > 0 ? verbs[nverbs - 1].name : NULL;
}

/* policy.verb_begins(verb text) */
Datum
policy_verb_begins(PG_FUNCTION_ARGS)
{
	policy_verb_enter(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_VOID();
}

/* policy.verb_ends() */
Datum
policy_verb_ends(PG_FUNCTION_ARGS)
{
	policy_verb_leave();
	PG_RETURN_VOID();
}
