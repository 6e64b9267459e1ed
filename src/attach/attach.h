/*
 * attach.h
 *	  The room of tables that were attached: initialisation.
 */
#ifndef POLICY_ATTACH_H
#define POLICY_ATTACH_H

/* Registers the room's callbacks; once a process. */
extern void policy_attach_init(void);

#endif							/* POLICY_ATTACH_H */
