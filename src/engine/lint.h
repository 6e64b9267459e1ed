/*
 * lint.h
 *	  Warnings about a policy without errors (docs/policy-language.md, section 13).
 */
#ifndef POLICY_LINT_H
#define POLICY_LINT_H

#include "language/policy.h"

/*
 * Adds the warnings, and sorts.  now: from when on rules are looked at; what ended
 * before counts as expired.  The work is bounded, and cancels are checked for.
 */
extern void policy_lint(const Policy *policy, TimestampTz now, PolicyDiagnostics *diags);

#endif							/* POLICY_LINT_H */
