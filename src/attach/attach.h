/*
 * attach.h
 *	  The room of tables that were attached: initialisation.
 */
#ifndef POLICY_ATTACH_H
#define POLICY_ATTACH_H

#include "dispatch/settle.h"

/* Registers the room's callbacks; once a process. */
extern void policy_attach_init(void);

/* Moves the job of an approval that has changed: see policy_attached_settle. */
extern void attached_approval_changed(const PolicyJobKey *key, const char *source, const char *to);

/* What a verb would decide of a job: see policy_attached_peek. */
extern bool attached_peek(const PolicyJobKey *key, Candidate *candidate);

#endif							/* POLICY_ATTACH_H */
