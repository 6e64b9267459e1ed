/*
 * halt_scope.h
 *	  Which jobs a halt covers.
 */
#ifndef POLICY_HALT_SCOPE_H
#define POLICY_HALT_SCOPE_H

#include "engine/glob.h"
#include "engine/job.h"

/* All that is there must hold; with nothing there it covers every job. */
typedef struct HaltScope
{
	JobString	tenant_id;		/* normalised; data is NULL where it is not
								 * asked */
	JobString	actor_id;
	bool		has_topic;
	Glob		topic;
} HaltScope;

/*
 * Reads a scope into the current memory context.  Returns what is wrong with it, or
 * NULL; with *hint where that helps.
 */
extern const char *halt_scope_read(Jsonb *source, HaltScope *scope, const char **hint);

/* Whether it covers the job; an invalid one always. */
extern bool halt_scope_covers(const HaltScope *scope, const Job *job);

#endif							/* POLICY_HALT_SCOPE_H */
