/*
 * store.h
 *	  The room of stored policies: initialisation.
 */
#ifndef POLICY_STORE_H
#define POLICY_STORE_H

/* Defines the room's settings and registers its callbacks; once a process. */
extern void policy_store_init(void);

#endif							/* POLICY_STORE_H */
