/*
 * language.h
 *	  What the language needs of a server process.
 */
#ifndef POLICY_LANGUAGE_H
#define POLICY_LANGUAGE_H

/* policy_engine.max_document_bytes: what policy_stage and policy_validate take. */
extern int	policy_max_document_bytes;

/* Defines the setting; once, from _PG_init. */
extern void policy_language_init(void);

#endif							/* POLICY_LANGUAGE_H */
