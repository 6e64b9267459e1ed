/*
 * verb.h
 *	  Which of the extension's verbs is writing the engine's columns.
 *
 * The guard asks: outside any verb nobody may.  A verb that is stopped by an error
 * ends with its (sub)transaction.
 */
#ifndef POLICY_VERB_H
#define POLICY_VERB_H

/* Verbs do not nest deeper than triggers of one update make them. */
extern void policy_verb_enter(const char *verb);
extern void policy_verb_leave(void);

/* The innermost verb; NULL outside of any. */
extern const char *policy_verb_current(void);

extern void policy_verb_init(void);

#endif							/* POLICY_VERB_H */
