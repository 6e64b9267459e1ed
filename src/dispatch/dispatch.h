/*
 * dispatch.h
 *	  The room of jobs: initialisation.
 */
#ifndef POLICY_DISPATCH_H
#define POLICY_DISPATCH_H

/* Registers the room's callbacks; once a process. */
extern void policy_dispatch_init(void);

extern int64 policy_next_job_id(void);

/* Raises invalid_parameter_value where one of the topics' patterns is bad. */
struct ArrayType;
extern void policy_check_topics(struct ArrayType *topics);

#endif							/* POLICY_DISPATCH_H */
