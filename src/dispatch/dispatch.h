/*
 * dispatch.h
 *	  The room of jobs: initialisation.
 */
#ifndef POLICY_DISPATCH_H
#define POLICY_DISPATCH_H

/* Registers the room's callbacks; once a process. */
extern void policy_dispatch_init(void);

extern int64 policy_next_job_id(void);

#endif							/* POLICY_DISPATCH_H */
