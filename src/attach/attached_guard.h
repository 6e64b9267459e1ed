/*
 * attached_guard.h
 *	  What the triggers of attached tables share with the verbs that move their rows.
 */
#ifndef POLICY_ATTACHED_GUARD_H
#define POLICY_ATTACHED_GUARD_H

#include "attach/attached_row.h"
#include "attach/attached_statement.h"
#include "compat.h"

/*
 * The trigger's data; raises trigger_protocol_violated where it is called at another
 * time, or (attached_check_event) for another event, than its own.
 */
extern TriggerData *attached_trigger(FunctionCallInfo fcinfo, TriggerEvent when);
extern void attached_check_event(bool expected);

/* The form that a decision puts a row in. */
extern AttachedFormKind attached_form_of(PolicyDecision decision);

/* Whether a decision lets a job run. */
extern bool attached_admits(PolicyDecision decision);

/* The key of the row that is shown, as evidence and approvals have it. */
extern PolicyJobKey attached_job_key(AttachedTable *table);

/*
 * The constraints that reach a worker: NULL where the decision is a plain ALLOW, whose
 * bounds are the defaults.
 */
extern Jsonb *attached_told_constraints(const PolicyEnforced *enforced);

/* Sets the names of forms; *retry_at must stay as long as they are evaluated. */
extern void attached_set_decision_names(AttachedTable *table, const PolicyEnforced *enforced,
										TimestampTz *retry_at);

/* Raises PE017. */
POLICY_NORETURN extern void attached_raise_denied(const AttachedTable *table,
												  const PolicyEnforced *enforced);

#endif							/* POLICY_ATTACHED_GUARD_H */
