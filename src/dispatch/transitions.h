/*
 * transitions.h
 *	  How a job may move from state to state.
 */
#ifndef POLICY_TRANSITIONS_H
#define POLICY_TRANSITIONS_H

/*
 * Whether a job may go there (from: NULL for an insert) by that verb (NULL: by
 * none); staying where it is is no transition, and allowed.
 */
extern bool policy_transition_allowed(const char *from, const char *to, const char *verb);

/* Where a job waits to be decided again: its content may change. */
extern bool policy_state_waits(const char *state);

/* Where policy_redecide alone leads out. */
extern bool policy_state_is_refused(const char *state);

/* Where a job neither waits nor runs. */
extern bool policy_state_has_ended(const char *state);

#endif							/* POLICY_TRANSITIONS_H */
