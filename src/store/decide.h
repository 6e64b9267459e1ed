/*
 * decide.h
 *	  A verdict under the policy in force, whatever state that is in.
 */
#ifndef POLICY_DECIDE_H
#define POLICY_DECIDE_H

#include "engine/evaluate.h"
#include "store/active.h"

/*
 * Who is asked about velocities by what only evaluates: reads and charges nothing.
 * Set by the room that has the counters when the library is loaded.
 */
extern PolicyRates *policy_rates_read;

/*
 * Decides within policy_engine.timeout; DENY where that runs out.  satisfied and
 * rates are as for policy_decide().
 */
extern void policy_decide_in_time(const CompiledPolicy *policy, Job *job, TimestampTz at,
								  PolicySatisfied *satisfied, PolicyRates *rates,
								  PolicyVerdict *verdict);

/*
 * The same under what policy_active() found: with no active policy DENY, with
 * one that cannot be read what policy_engine.fail_mode says.
 */
extern void policy_decide_active(const ActivePolicy *active, Job *job, TimestampTz at,
								 PolicySatisfied *satisfied, PolicyRates *rates,
								 PolicyVerdict *verdict);

#endif							/* POLICY_DECIDE_H */
